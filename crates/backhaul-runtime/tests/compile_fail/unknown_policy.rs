use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(offline_policy = later)]
fn read() {}

fn main() {}
