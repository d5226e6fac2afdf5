//! Tests of the store from the outside.
#![allow(missing_docs, reason = "nobody reads the documentation of tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed"
)]

mod any_content;
mod basics;
mod carrying;
mod choosing;
mod crash;
mod damage;
mod examining;
mod expiry;
mod failed_flushes;
mod failing_calls;
mod file_room;
mod fixtures;
mod forms;
mod found;
mod handovers;
mod hooked;
mod identity;
mod keeping;
mod kills;
mod looking;
mod lookup;
mod members;
mod model;
mod operating;
mod picking;
mod predecessors;
mod processes;
mod readers;
mod readers_of_files;
mod room_alerts;
mod several;
mod small_disks;
mod support;
mod vanished;
