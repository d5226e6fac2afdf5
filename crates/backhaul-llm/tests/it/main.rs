//! What the crate gives, seen from outside.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

mod forms;
