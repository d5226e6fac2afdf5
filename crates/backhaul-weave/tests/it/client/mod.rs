//! Programs in Rust that log.

mod ops;
mod support;
