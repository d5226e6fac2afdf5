use backhaul_runtime::tools::tool;

struct Sensor;

impl Sensor {
    /// Reads it.
    #[tool]
    fn read(&self) {}
}

fn main() {}
