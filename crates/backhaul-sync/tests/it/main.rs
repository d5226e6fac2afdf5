//! Behaviour of the courier: a real spool on a simulated disk, a destination in
//! memory, and a clock that stands still until everybody waits.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy.toml allows these in test functions, but not in what they share"
)]

mod allowance;
mod bandwidth;
mod blocked;
mod connectivity;
mod draining;
mod fleet;
mod life;
mod link;
mod linked;
mod outage;
mod oversized;
mod poison;
mod priorities;
mod prioritizer;
mod reading_ahead;
mod retries;
mod support;
mod transport;
mod watching;
