//! Programs in Rust that log.

mod beside_python;
mod ops;
mod scenario;
mod support;
