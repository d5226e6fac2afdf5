use backhaul_runtime::tools::tool;

/// Reads it.
#[tool]
fn größe() {}

fn main() {}
