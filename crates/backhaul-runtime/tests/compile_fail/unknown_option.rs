use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(policy = queue)]
fn read() {}

fn main() {}
