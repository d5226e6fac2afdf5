use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(probe = read)]
fn read() {}

fn main() {}
