//! Programs in Rust that log.

mod beside_python;
mod kills;
mod misuse;
mod nesting;
mod online;
mod ops;
mod orders;
mod scenario;
mod support;
mod trouble;
