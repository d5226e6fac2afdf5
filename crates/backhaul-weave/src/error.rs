//! Why something could not be logged, read or synced.

use std::fmt;

/// What went wrong, in the terms a caller acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TraceErrorKind {
    /// The caller gave something that can never be stored. Nothing was.
    InvalidInput,
    /// What was asked for is not here.
    NotFound,
    /// Bytes on disk are not what they should be.
    Damaged,
    /// No API key is known for the server.
    NoCredentials,
    /// The store: its own error is the [source](std::error::Error::source). Nothing was
    /// acknowledged; the same call may succeed later.
    Store,
}

/// An error of this crate: a kind to act on, and a message that says what was found, what was
/// expected and what to do.
#[derive(Debug, Clone)]
pub struct TraceError {
    kind: TraceErrorKind,
    message: String,
    store: Option<backhaul_store::Error>,
}

impl TraceError {
    pub(crate) fn new(kind: TraceErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), store: None }
    }

    /// What went wrong.
    pub fn kind(&self) -> TraceErrorKind {
        self.kind
    }

    /// What the store said, where it was the store.
    pub fn store_kind(&self) -> Option<backhaul_store::ErrorKind> {
        self.store.as_ref().map(backhaul_store::Error::kind)
    }
}

impl From<backhaul_store::Error> for TraceError {
    fn from(error: backhaul_store::Error) -> Self {
        let message = "Weave's data could not be stored or read".to_owned();
        Self { kind: TraceErrorKind::Store, message, store: Some(error) }
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TraceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.store.as_ref().map(|error| error as _)
    }
}
