use backhaul_runtime::tools::tool;

struct Trouble;

/// Reads it.
#[tool]
fn read() -> Result<(), Trouble> {
    Err(Trouble)
}

fn main() {}
