//! Behaviour of the public API, against stored records and the real CPython.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy.toml allows these in test functions, but not in what they share"
)]

mod cap;
mod cloud;
mod contexts;
mod cpython;
mod crashes;
mod delivery;
mod device;
mod fixtures;
mod http_server;
mod journal_room;
mod journey;
mod link;
mod loggers;
mod offline_logger;
mod priorities;
mod properties;
mod queue;
mod queue_folder;
mod reading;
mod storage_trouble;
mod summaries;
mod support;
mod verdicts;
