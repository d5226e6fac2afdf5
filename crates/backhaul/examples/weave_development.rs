//! Development and tests without a login: ops are logged to a folder of their own, and looked
//! at without a server.

#![allow(clippy::print_stdout, reason = "it says what it does")]

use backhaul::weave;

#[weave::op]
fn experimental_function(x: i64) -> i64 {
    if x > 1 { x * experimental_function(x - 1) } else { 1 }
}

fn main() -> Result<(), weave::TraceError> {
    weave::init("dev_project").offline(true).offline_dir("./dev_data").start()?;

    let (result, call) = weave::with_call(|| experimental_function(4));
    println!("experimental_function(4) = {result}");

    let trace = call.map(|call| call.trace_id()).unwrap_or_default();
    show(&weave::trace_tree(&trace)?, 0);
    // `backhaul traces list --weave-dir ./dev_data` lists the same.
    Ok(())
}

fn show(trees: &[weave::CallTree], depth: usize) {
    for tree in trees {
        let call = &tree.call;
        println!(
            "{}{}({}) -> {}",
            "  ".repeat(depth),
            call.op_name(),
            call.inputs(),
            call.output()
        );
        show(&tree.children, depth + 1);
    }
}
