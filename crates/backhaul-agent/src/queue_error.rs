//! The error type of the queue and of what is built on it.

use std::error::Error;
use std::fmt;

use backhaul_sync::OptionError;

/// What went wrong with a queue, in the terms a caller acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueueErrorKind {
    /// An option makes no sense. Nothing was opened.
    InvalidOption,
    /// The record is larger than the queue ever takes. Nothing was stored.
    TooLarge,
    /// There is no room. The same call may succeed later.
    Full,
    /// Another process delivers from this queue, and alone may change what waits.
    Busy,
    /// The disk refused. The same call may succeed later.
    Storage,
    /// What was asked for is not in the queue.
    NotFound,
    /// What is stored is not a run record.
    NotARecord,
    /// The queue has no destination.
    NoDestination,
}

/// Why a queue could not do what it was asked for.
#[derive(Debug, Clone)]
pub struct QueueError {
    kind: QueueErrorKind,
    message: String,
    source: Option<backhaul_store::Error>,
}

impl QueueError {
    pub(crate) fn new(kind: QueueErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn option(error: &OptionError) -> Self {
        Self::new(QueueErrorKind::InvalidOption, error.to_string())
    }

    /// What went wrong.
    pub fn kind(&self) -> QueueErrorKind {
        self.kind
    }

    /// Whether the same call can succeed later without being changed.
    pub fn is_transient(&self) -> bool {
        use QueueErrorKind::{Busy, Full, Storage};
        matches!(self.kind, Full | Busy | Storage)
    }

    /// The error of the store below, where it came from there.
    pub fn store_error(&self) -> Option<&backhaul_store::Error> {
        self.source.as_ref()
    }
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for QueueError {}

impl From<backhaul_store::Error> for QueueError {
    fn from(error: backhaul_store::Error) -> Self {
        use backhaul_store::ErrorKind;
        let kind = match error.kind() {
            ErrorKind::TooLarge => QueueErrorKind::TooLarge,
            ErrorKind::Full => QueueErrorKind::Full,
            ErrorKind::Busy => QueueErrorKind::Busy,
            ErrorKind::NotFound => QueueErrorKind::NotFound,
            ErrorKind::InvalidInput => QueueErrorKind::InvalidOption,
            _ => QueueErrorKind::Storage,
        };
        Self { kind, message: error.to_string(), source: Some(error) }
    }
}
