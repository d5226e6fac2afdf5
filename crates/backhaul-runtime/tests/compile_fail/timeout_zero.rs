use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(timeout = 0)]
fn read() {}

fn main() {}
