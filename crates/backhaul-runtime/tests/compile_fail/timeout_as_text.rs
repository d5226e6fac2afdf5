use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(timeout = "30s")]
fn read() {}

fn main() {}
