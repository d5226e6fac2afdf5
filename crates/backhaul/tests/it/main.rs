//! The binary from outside: real processes, real TCP, and the stores counted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "clippy.toml allows these in test functions, but not in what they share"
)]

mod agent;
mod cables;
mod carrying;
mod cli;
mod config;
mod control;
mod control_of_agent;
mod dedupe;
mod demo;
mod doctor;
mod examples;
mod faulty_links;
mod fleet;
mod intake;
mod journey;
mod keys;
mod limits;
mod link;
mod metrics;
mod models;
mod models_capabilities;
mod models_faults;
#[cfg(feature = "llama-cpp")]
mod models_in_process;
mod operator_tasks;
mod oversized;
mod reserve;
mod run;
mod run_weave;
mod sensor_agent;
mod size_for;
mod spool_check;
mod state_of_devices;
mod support;
mod sync;
mod three_days;
mod tool_calls;
mod traces;
mod weave;
mod weave_outages;
mod weave_said;
mod weave_spools;
