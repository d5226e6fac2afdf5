use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(offline_policy = queue, local_cache_ttl = 3600)]
fn read() {}

fn main() {}
