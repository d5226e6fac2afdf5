use backhaul_runtime::tools::tool;

/// Reads it.
#[tool(offline_policy = skip, collapse_by(sensor))]
fn read(sensor: u8) -> u8 {
    sensor
}

fn main() {}
