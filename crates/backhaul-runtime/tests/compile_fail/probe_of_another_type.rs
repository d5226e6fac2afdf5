use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(on_unknown = check_first, probe = was_read)]
fn read() {}

fn was_read() -> bool {
    true
}

fn main() {}
