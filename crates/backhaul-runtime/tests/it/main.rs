//! The runtime of agents, as its users meet it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy.toml allows these in test functions, but not in what they share"
)]

mod dag;
mod executor;
mod persistence;
mod tool_nodes;
mod tool_queue;
mod tool_runner;
mod tools;
