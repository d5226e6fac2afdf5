//! The control socket: how commands reach the process that a spool belongs to.
//!
//! HTTP/1.1 with JSON bodies over a Unix socket in the spool's folder, for its owner and root
//! alone. Where nobody listens, the commands do the same work themselves, on the resting
//! spool. The routes are described in `docs/control.md`, and nowhere else.

#[cfg(feature = "cli")]
mod client;
mod desk;
mod keeper;
pub(crate) mod message;
#[cfg(feature = "cli")]
mod owner;
mod refused;
mod routes;
mod server;
mod socket;

#[cfg(feature = "cli")]
pub(crate) use self::client::{Client, unless_absent};
#[cfg(feature = "cli")]
pub(crate) use self::desk::{Desk, Forwarding};
#[cfg(feature = "cli")]
pub(crate) use self::keeper::Keeper;
#[cfg(feature = "cli")]
pub(crate) use self::owner::Owner;
pub use self::server::ControlSocket;
