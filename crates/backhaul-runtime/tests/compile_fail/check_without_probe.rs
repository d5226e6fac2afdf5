use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(on_unknown = check_first)]
fn read() {}

fn main() {}
