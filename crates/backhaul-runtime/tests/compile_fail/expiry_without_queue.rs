use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(expires_after = 60)]
fn read() {}

fn main() {}
