use backhaul_runtime::tools::tool;

use std::rc::Rc;

/// Reads it.
#[tool]
async fn read() {
    let held = Rc::new(1);
    std::future::ready(()).await;
    drop(held);
}

fn main() {}
