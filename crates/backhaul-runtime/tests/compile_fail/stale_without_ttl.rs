use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(offline_policy = local_fallback, local = read, stale_allowed)]
fn read() {}

fn main() {}
