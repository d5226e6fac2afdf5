use backhaul_runtime::tools::tool;

/// Adds.
#[tool]
fn add(#[default = "one"] number: u8) {
    let _ = number;
}

fn main() {}
