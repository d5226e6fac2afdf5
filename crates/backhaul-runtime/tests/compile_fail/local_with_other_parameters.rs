use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(offline_policy = local_fallback, local = read_here)]
fn read(sensor: u8) -> u8 {
    sensor
}

fn read_here() -> u8 {
    0
}

fn main() {}
