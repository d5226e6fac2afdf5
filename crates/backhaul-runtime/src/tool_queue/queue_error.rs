//! Why a call could not be stored, or a queue not opened.

use std::error::Error;
use std::fmt;

/// What went wrong, in the terms a caller acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ToolQueueErrorKind {
    /// An option makes no sense.
    InvalidOption,
    /// As many calls wait as may. Nothing was stored.
    Full,
    /// The call is larger than the queue ever takes. Nothing was stored.
    TooLarge,
    /// Another process does what waits in this queue, and alone may decide.
    Busy,
    /// The disk refused. The same call may succeed later.
    Storage,
    /// There is no such call.
    NotFound,
    /// There is no runtime of tokio to work on.
    NoRuntime,
}

/// Why a call could not be stored, or a queue not opened.
#[derive(Debug, Clone)]
pub struct ToolQueueError {
    kind: ToolQueueErrorKind,
    message: String,
    source: Option<backhaul_store::Error>,
}

impl ToolQueueError {
    pub(super) fn new(kind: ToolQueueErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// What went wrong.
    pub fn kind(&self) -> ToolQueueErrorKind {
        self.kind
    }

    /// The error of the store below, where it came from there.
    pub fn store_error(&self) -> Option<&backhaul_store::Error> {
        self.source.as_ref()
    }
}

impl fmt::Display for ToolQueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ToolQueueError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().and_then(Error::source)
    }
}

impl From<backhaul_store::Error> for ToolQueueError {
    fn from(error: backhaul_store::Error) -> Self {
        use backhaul_store::ErrorKind;
        let kind = match error.kind() {
            ErrorKind::TooLarge => ToolQueueErrorKind::TooLarge,
            ErrorKind::Full => ToolQueueErrorKind::Full,
            ErrorKind::Busy => ToolQueueErrorKind::Busy,
            ErrorKind::NotFound => ToolQueueErrorKind::NotFound,
            ErrorKind::InvalidInput => ToolQueueErrorKind::InvalidOption,
            _ => ToolQueueErrorKind::Storage,
        };
        Self { kind, message: error.to_string(), source: Some(error) }
    }
}
