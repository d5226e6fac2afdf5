use backhaul_runtime::tools::tool;

/// Adds.
#[tool]
fn add(_: u8) {}

fn main() {}
