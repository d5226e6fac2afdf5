//! How the delivery of a whole batch fails.

use std::fmt;
use std::time::Duration;

use crate::bandwidth::Denied;

/// The longest wait that a server can ask for. A device that was told to come back
/// next year would otherwise look dead to its owner.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// What kept a batch from being delivered, in the terms a courier acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkErrorKind {
    /// No answer of the destination came: no network, no route, a broken connection, a
    /// captive portal in its place. The batch waits for the link.
    Unreachable,
    /// The answer took too long. The batch waits, and is offered in smaller parts.
    Timeout,
    /// The destination answered that it cannot serve now: 408, 429, 5xx, and what means
    /// nothing here. The batch waits for as long as it asked for, or as the backoff says.
    Busy,
    /// Address or credentials are wrong (401, 403, 404, 405, 407, 410). Somebody has to act:
    /// the destination is paused, and no record fails for it.
    Refused,
    /// The batch is larger than the destination takes (413). It is offered in smaller parts.
    TooLarge,
    /// Something in a batch of several is wrong (400, 422). The courier finds out what.
    BadBatch,
    /// The device's data cap is in the way: nothing was sent. Smaller parts are tried, and
    /// critical records where the reserve is left.
    OverBudget,
}

impl LinkErrorKind {
    /// The kind's name, lower case with underscores.
    pub fn name(self) -> &'static str {
        match self {
            LinkErrorKind::Unreachable => "unreachable",
            LinkErrorKind::Timeout => "timeout",
            LinkErrorKind::Busy => "busy",
            LinkErrorKind::Refused => "refused",
            LinkErrorKind::TooLarge => "too_large",
            LinkErrorKind::BadBatch => "bad_batch",
            LinkErrorKind::OverBudget => "over_budget",
        }
    }
}

impl fmt::Display for LinkErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a batch as a whole was not delivered. It says nothing of any record in it.
///
/// ```
/// use backhaul_sync::{LinkError, LinkErrorKind};
/// use std::time::Duration;
///
/// let error = LinkError::busy("the hub makes room").with_status(503)
///     .with_retry_after(Duration::from_secs(30));
/// assert_eq!(error.kind(), LinkErrorKind::Busy);
/// assert_eq!(error.to_string(), "the destination is busy: the hub makes room (HTTP 503)");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkError {
    kind: LinkErrorKind,
    reason: String,
    status: Option<u16>,
    retry_after: Option<Duration>,
    index: Option<usize>,
    denied: Option<Denied>,
    is_doubtful: bool,
    is_relayed: bool,
}

impl From<Denied> for LinkError {
    fn from(denied: Denied) -> Self {
        let error = Self::new(LinkErrorKind::OverBudget, denied.to_string());
        Self { denied: Some(denied), ..error }
    }
}

impl LinkError {
    /// No answer of the destination came.
    pub fn unreachable(reason: impl Into<String>) -> Self {
        Self::new(LinkErrorKind::Unreachable, reason)
    }

    /// The answer took too long.
    pub fn timeout(reason: impl Into<String>) -> Self {
        Self::new(LinkErrorKind::Timeout, reason)
    }

    /// The destination cannot serve now.
    pub fn busy(reason: impl Into<String>) -> Self {
        Self::new(LinkErrorKind::Busy, reason)
    }

    /// Address or credentials are wrong.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::new(LinkErrorKind::Refused, reason)
    }

    /// The batch is larger than the destination takes.
    pub fn too_large(reason: impl Into<String>) -> Self {
        Self::new(LinkErrorKind::TooLarge, reason)
    }

    /// Something in the batch is wrong.
    pub fn bad_batch(reason: impl Into<String>) -> Self {
        Self::new(LinkErrorKind::BadBatch, reason)
    }

    /// An error of a kind.
    pub fn new(kind: LinkErrorKind, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self {
            kind,
            reason,
            status: None,
            retry_after: None,
            index: None,
            denied: None,
            is_doubtful: false,
            is_relayed: false,
        }
    }

    /// What an HTTP status that is none of success means for a batch. A redirection, and 511,
    /// are a captive portal's; what is not known passes until it is: nobody has to act on a
    /// guess.
    ///
    /// ```
    /// use backhaul_sync::{LinkError, LinkErrorKind};
    /// assert_eq!(LinkError::of_status(422, "no such field").kind(), LinkErrorKind::BadBatch);
    /// assert_eq!(LinkError::of_status(503, "full").kind(), LinkErrorKind::Busy);
    /// ```
    pub fn of_status(status: u16, reason: impl Into<String>) -> Self {
        let kind = match status {
            300..=399 | 511 => LinkErrorKind::Unreachable,
            400 | 422 => LinkErrorKind::BadBatch,
            413 => LinkErrorKind::TooLarge,
            401 | 403 | 404 | 405 | 407 | 410 => LinkErrorKind::Refused,
            _ => LinkErrorKind::Busy,
        };
        Self::new(kind, reason).with_status(status)
    }

    /// Adds the HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Adds how long the destination asked to wait: at most a day counts.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait.min(LONGEST_WAIT));
        self
    }

    /// Adds the place in the batch of the record that the destination blames. It is a
    /// hint: the record is offered alone before anything is said of it.
    #[must_use]
    pub fn with_index(mut self, index: usize) -> Self {
        self.index = Some(index);
        self
    }

    /// Says that it may come from something in the destination's place, such as a proxy that
    /// refuses everything: no record is rejected for it before another one got through.
    #[must_use]
    pub fn doubtful(mut self) -> Self {
        self.is_doubtful = true;
        self
    }

    /// Says that another courier met it, and has logged it: the reason is in that one's words,
    /// and nothing is put before it.
    ///
    /// ```
    /// use backhaul_sync::LinkError;
    /// let error = LinkError::refused("no such key").with_status(401);
    /// let again = LinkError::refused(error.to_string()).relayed();
    /// assert_eq!(again.to_string(), error.to_string());
    /// ```
    #[must_use]
    pub fn relayed(mut self) -> Self {
        self.is_relayed = true;
        self
    }

    /// What to do about it.
    pub fn kind(&self) -> LinkErrorKind {
        self.kind
    }

    /// Why, in words.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The HTTP status, where there was one.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// How long the destination asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The place in the batch of the record that the destination blames.
    pub fn index(&self) -> Option<usize> {
        self.index
    }

    /// What of the data cap is in the way.
    pub fn denied(&self) -> Option<&Denied> {
        self.denied.as_ref()
    }

    /// Whether the destination answered at all.
    pub fn is_answer(&self) -> bool {
        use LinkErrorKind::{OverBudget, Timeout, Unreachable};
        !matches!(self.kind, Unreachable | Timeout | OverBudget)
    }

    /// Whether it may come from something in the destination's place.
    pub fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }

    /// Whether another courier has said so.
    pub(crate) fn is_relayed(&self) -> bool {
        self.is_relayed
    }

    /// Whether it says, of a batch of one, that the record will never be taken.
    pub(crate) fn is_refusal_of_a_record(&self) -> bool {
        matches!(self.kind, LinkErrorKind::TooLarge | LinkErrorKind::BadBatch)
    }

    /// Whether one record of the batch may be what the destination stumbles over: a
    /// refusal, a failure of the server itself, or an answer that did not come in time.
    pub(crate) fn may_be_a_records_fault(&self) -> bool {
        match self.kind {
            LinkErrorKind::Timeout | LinkErrorKind::TooLarge | LinkErrorKind::BadBatch => true,
            LinkErrorKind::Busy => {
                self.retry_after.is_none() && self.status.is_some_and(|status| status >= 500)
            }
            _ => false,
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_relayed {
            return f.write_str(&self.reason);
        }
        let what = match self.kind {
            LinkErrorKind::Unreachable => "the destination cannot be reached",
            LinkErrorKind::Timeout => "the destination did not answer in time",
            LinkErrorKind::Busy => "the destination is busy",
            LinkErrorKind::Refused => "the destination refuses this sender",
            LinkErrorKind::TooLarge => "the batch is too large",
            LinkErrorKind::BadBatch => "the batch was not accepted",
            LinkErrorKind::OverBudget => "nothing was sent",
        };
        write!(f, "{what}: {}", self.reason)?;
        match self.status {
            Some(status) => write!(f, " (HTTP {status})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LinkError {}
