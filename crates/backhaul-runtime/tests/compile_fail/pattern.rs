use backhaul_runtime::tools::tool;

/// Adds.
#[tool]
fn add((a, b): (u8, u8)) -> u8 {
    a + b
}

fn main() {}
