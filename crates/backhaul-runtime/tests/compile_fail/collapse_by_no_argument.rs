use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(offline_policy = queue, collapse_by(sensor, place))]
fn read(sensor: u8) -> u8 {
    sensor
}

fn main() {}
