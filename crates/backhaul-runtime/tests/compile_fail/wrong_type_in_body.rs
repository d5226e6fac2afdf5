use backhaul_runtime::tools::tool;

/// Reads it.
#[tool]
fn read() -> u8 {
    "five"
}

fn main() {}
