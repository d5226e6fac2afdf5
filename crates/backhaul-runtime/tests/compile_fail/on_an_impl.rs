use backhaul_runtime::tools::tool;

struct Sensor;

#[tool]
impl Sensor {}

fn main() {}
