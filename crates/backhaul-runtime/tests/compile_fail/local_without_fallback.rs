use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(local = read)]
fn read() {}

fn main() {}
