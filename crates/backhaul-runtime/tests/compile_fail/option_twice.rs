use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(max_retries = 1, max_retries = 2)]
fn read() {}

fn main() {}
