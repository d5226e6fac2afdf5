use backhaul_runtime::tools::tool;

/// Adds.
#[tool]
fn add(numbers: impl Iterator<Item = u8>) {
    drop(numbers);
}

fn main() {}
