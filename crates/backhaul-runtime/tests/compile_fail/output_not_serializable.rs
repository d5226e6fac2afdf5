use backhaul_runtime::tools::tool;

struct Reading;

/// Reads it.
#[tool]
fn read() -> Reading {
    Reading
}

fn main() {}
