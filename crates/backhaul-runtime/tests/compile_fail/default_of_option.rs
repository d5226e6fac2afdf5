use backhaul_runtime::tools::tool;

/// Adds.
#[tool]
fn add(#[default = Some(1)] number: Option<u8>) {
    let _ = number;
}

fn main() {}
