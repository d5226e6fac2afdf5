use backhaul_runtime::tools::tool;

#[tool]
fn read() {}

fn main() {}
