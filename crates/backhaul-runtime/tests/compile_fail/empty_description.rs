use backhaul_runtime::tools::tool;

#[tool(description = "")]
fn read() {}

fn main() {}
