use backhaul_runtime::tools::tool;

const TIMEOUT: u32 = 30;

/// Reads it.
#[tool(timeout = TIMEOUT)]
fn read() {}

fn main() {}
