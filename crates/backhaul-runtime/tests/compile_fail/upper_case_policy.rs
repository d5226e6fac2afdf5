use backhaul_runtime::tools::tool;

use backhaul_runtime::tools::OfflinePolicy;

/// Reads it.
#[tool(offline_policy = OfflinePolicy::QUEUE)]
fn read() {}

fn main() {}
