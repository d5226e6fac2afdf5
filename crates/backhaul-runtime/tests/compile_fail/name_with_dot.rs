use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(name = "sensor.read")]
fn read() {}

fn main() {}
