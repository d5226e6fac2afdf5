//! The gateway of models, beside direct calls and LiteLLM's proxy.

mod call;
mod faults;
mod gateway;
mod healthy;
mod latencies;
mod primary;

/// What is measured, each by itself.
pub fn measure(part: &str, rounds: u64) {
    match part {
        "healthy" => healthy::measure(rounds),
        "faults" => faults::measure(rounds),
        _ => panic!("expected healthy or faults: found {part}"),
    }
}

/// The process that the above need: the cloud's model.
pub fn run_child() {
    primary::run_child();
}
