//! The kit's servers and links, over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy.toml allows these in test functions, but not in what they share"
)]

mod client;
mod hub;
mod link;
mod link_faults;
mod link_speed;
mod oracle;
mod server;
mod tls;
