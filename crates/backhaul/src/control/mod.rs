//! The control socket: how commands reach the process that has a data dir's spools open.
//!
//! HTTP/1.1 with JSON bodies over a Unix socket in the data dir, for its owner and root
//! alone. Where nobody listens, the commands do the same work themselves, on the resting
//! spool. The routes are described in `docs/control.md`, and nowhere else.

mod client;
mod desk;
mod keeper;
pub(crate) mod message;
mod routes;
mod server;
mod socket;

pub(crate) use self::client::{Client, unless_absent};
pub(crate) use self::desk::{Desk, Forwarding};
pub(crate) use self::keeper::{Keeper, open_spool};
pub(crate) use self::server::Control;
