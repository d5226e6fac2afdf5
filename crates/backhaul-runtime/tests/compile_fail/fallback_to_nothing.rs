use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(offline_policy = local_fallback)]
fn read() {}

fn main() {}
