//! The kit's servers and links, over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy.toml allows these in test functions, but not in what they share"
)]

mod ask;
mod black_hole;
mod client;
mod hub;
mod link;
mod link_faults;
mod link_speed;
mod llama;
mod llm;
mod oracle;
mod probe;
mod server;
mod tls;
