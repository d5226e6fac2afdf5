//! Whether there is a link: the monitor on a clock that stands still, its probe on real
//! connections, and both on a real interface that goes down and comes up.

mod callbacks;
mod interface;
mod monitor;
mod over_http;
pub(crate) mod support;
