use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(blocking)]
async fn read() {}

fn main() {}
