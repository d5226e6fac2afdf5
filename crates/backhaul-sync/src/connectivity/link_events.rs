//! The seam between the monitor and the machine's network interfaces.

use std::io;
use std::pin::Pin;

/// What happened to an interface, an address or a default route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkChange {
    /// One is there that was not.
    Up,
    /// One is there no more.
    Down,
}

/// Comes back only when nothing more can be heard, with the reason.
pub type Listen<'a> = Pin<Box<dyn Future<Output = io::Error> + Send + 'a>>;

/// Tells when the machine's network changes. Devices use [`SystemLinkEvents`].
///
/// ```
/// use backhaul_sync::{LinkChange, LinkEvents, Listen};
///
/// /// A machine whose network never changes.
/// struct Still;
///
/// impl LinkEvents for Still {
///     fn listen<'a>(&'a self, _: &'a (dyn Fn(LinkChange) + Send + Sync)) -> Listen<'a> {
///         Box::pin(std::future::pending())
///     }
/// }
/// ```
pub trait LinkEvents: Send + Sync {
    /// Calls `tell` at each change, until it is dropped.
    ///
    /// # Errors
    /// The only way to come back. The monitor says so once, and goes on with checks alone.
    fn listen<'a>(&'a self, tell: &'a (dyn Fn(LinkChange) + Send + Sync)) -> Listen<'a>;
}

/// The machine's own events: netlink on Linux, nothing elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLinkEvents;

impl LinkEvents for SystemLinkEvents {
    #[cfg(target_os = "linux")]
    fn listen<'a>(&'a self, tell: &'a (dyn Fn(LinkChange) + Send + Sync)) -> Listen<'a> {
        Box::pin(super::netlink::listen(tell))
    }

    #[cfg(not(target_os = "linux"))]
    fn listen<'a>(&'a self, _: &'a (dyn Fn(LinkChange) + Send + Sync)) -> Listen<'a> {
        Box::pin(async { io::ErrorKind::Unsupported.into() })
    }
}
