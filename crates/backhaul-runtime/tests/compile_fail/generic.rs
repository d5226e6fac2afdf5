use backhaul_runtime::tools::tool;

/// Reads it.
#[tool]
fn read<T>(sensor: T) {
    drop(sensor);
}

fn main() {}
