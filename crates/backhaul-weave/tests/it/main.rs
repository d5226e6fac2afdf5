//! Weave's data beside what real servers and CPython make of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy.toml allows these in test functions, but not in what they share"
)]

mod client;
mod digests;
mod forms;
mod http;
mod naming;
mod offline;
mod projects;
mod reads;
mod reference;
mod salvage;
mod sync;
