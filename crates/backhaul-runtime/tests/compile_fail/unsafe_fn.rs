use backhaul_runtime::tools::tool;

/// Reads it.
#[tool]
unsafe fn read() {}

fn main() {}
