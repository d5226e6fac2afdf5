//! Behaviour of the public API, against stored records and the real CPython.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy.toml allows these in test functions, but not in what they share"
)]

mod cpython;
mod fixtures;
mod loggers;
mod properties;
mod reading;
mod support;
