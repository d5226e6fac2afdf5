use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(max_retries = -1)]
fn read() {}

fn main() {}
