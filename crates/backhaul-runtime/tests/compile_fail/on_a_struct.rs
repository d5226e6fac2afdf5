use backhaul_runtime::tools::tool;

#[tool]
struct Sensor;

fn main() {}
