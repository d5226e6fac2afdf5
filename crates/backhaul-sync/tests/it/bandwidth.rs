//! The data cap: what may be sent, by whom, and when again.

mod budget;
mod campaign;
mod clocks;
mod damage;
mod failing;
mod keeping;
mod processes;
mod rate;
pub(crate) mod support;
mod world;
