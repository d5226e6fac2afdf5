use backhaul_runtime::tools::tool;

/// Adds.
#[tool]
fn add(numbers: &mut Vec<u8>) {
    numbers.clear();
}

fn main() {}
