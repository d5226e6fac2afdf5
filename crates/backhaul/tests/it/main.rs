//! The binary from outside: real processes, real TCP, and the stores counted.

mod cli;
mod dedupe;
mod intake;
mod keys;
mod limits;
mod support;
