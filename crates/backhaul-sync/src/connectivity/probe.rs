//! The seam between the monitor and the network: one question, one answer.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::check_url::CheckUrl;

/// The answer of an address, once it is there.
pub type Check<'a> = Pin<Box<dyn Future<Output = Result<(), ProbeError>> + Send + 'a>>;

/// Asks an address whether there is a link. Devices use [`HttpProbe`](crate::HttpProbe).
///
/// ```
/// use backhaul_sync::{Check, CheckUrl, Probe, ProbeBytes};
/// use std::sync::Arc;
///
/// /// A link that is never down.
/// struct Cable;
///
/// impl Probe for Cable {
///     fn check<'a>(&'a self, _: &'a CheckUrl, _: &'a Arc<ProbeBytes>) -> Check<'a> {
///         Box::pin(async { Ok(()) })
///     }
/// }
/// ```
pub trait Probe: Send + Sync {
    /// Asks `url` over a connection of its own, and counts what goes over the network as it
    /// goes. The future is dropped when the deadline has passed or the network changes.
    ///
    /// # Errors
    /// Why it was no good answer, or none.
    fn check<'a>(&'a self, url: &'a CheckUrl, bytes: &'a Arc<ProbeBytes>) -> Check<'a>;
}

/// Bytes that probes put on the wire, both ways together.
#[derive(Debug, Default)]
pub struct ProbeBytes(AtomicU64);

impl ProbeBytes {
    /// Counts more.
    pub fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// All so far.
    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The kinds of what keeps a probe from getting a good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProbeErrorKind {
    /// The name was not found.
    Dns,
    /// There was no connection, or it broke.
    Connect,
    /// The other side showed no certificate that is to be trusted, or the handshake failed.
    Tls,
    /// The certificate does not count yet, or any more, by this device's clock, and that is
    /// likely to be wrong: set the clock.
    ClockNotSet,
    /// It took too long.
    Timeout,
    /// Somebody else answered, such as a captive portal: log in there.
    Portal,
    /// The answer was an error.
    Status,
    /// Nobody was asked: an outage was asked for.
    Outage,
    /// Nobody was asked: the data cap has no room for it. That says nothing of the link.
    Cap,
}

impl ProbeErrorKind {
    /// The kind's name, lower case with underscores.
    pub fn name(self) -> &'static str {
        match self {
            ProbeErrorKind::Dns => "dns",
            ProbeErrorKind::Connect => "connect",
            ProbeErrorKind::Tls => "tls",
            ProbeErrorKind::ClockNotSet => "clock_not_set",
            ProbeErrorKind::Timeout => "timeout",
            ProbeErrorKind::Portal => "portal",
            ProbeErrorKind::Status => "status",
            ProbeErrorKind::Outage => "outage",
            ProbeErrorKind::Cap => "cap",
        }
    }
}

impl fmt::Display for ProbeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a probe got no good answer.
///
/// ```
/// use backhaul_sync::{ProbeError, ProbeErrorKind};
/// let error = ProbeError::new(ProbeErrorKind::Portal, "redirected to login.example.com");
/// assert_eq!(
///     error.to_string(),
///     "somebody else answered (is there a captive portal?): redirected to login.example.com"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeError {
    kind: ProbeErrorKind,
    reason: String,
}

impl ProbeError {
    /// An error of a kind.
    pub fn new(kind: ProbeErrorKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }

    /// What to do about it.
    pub fn kind(&self) -> ProbeErrorKind {
        self.kind
    }

    /// Why, in words.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ProbeErrorKind::Dns => "the name was not found",
            ProbeErrorKind::Connect => "no connection",
            ProbeErrorKind::Tls => "no connection that can be trusted",
            ProbeErrorKind::ClockNotSet => "the clock of this device is not set",
            ProbeErrorKind::Timeout => "no answer in time",
            ProbeErrorKind::Portal => "somebody else answered (is there a captive portal?)",
            ProbeErrorKind::Status => "the answer is an error",
            ProbeErrorKind::Outage => "an outage was asked for",
            ProbeErrorKind::Cap => "the data cap leaves no room for a check",
        };
        write!(f, "{what}: {}", self.reason)
    }
}

impl std::error::Error for ProbeError {}
