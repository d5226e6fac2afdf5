//! What is the matter with the disk.

use std::sync::{Mutex, PoisonError};

use crate::error::TraceError;

/// Why the disk takes nothing, between the one who stores and those who ask.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    last: Mutex<Option<TraceError>>,
}

impl Trouble {
    /// What is the matter, where something is.
    pub(crate) fn last(&self) -> Option<TraceError> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what is the matter, and tells it when that changes.
    pub(crate) fn note(&self, error: Option<TraceError>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*last, &error) {
            (None, Some(error)) => {
                let source = std::error::Error::source(error).map(ToString::to_string);
                tracing::error!(%error, source, "calls cannot be stored: they are kept in memory while there is room");
            }
            (Some(_), None) => tracing::warn!("calls are stored again"),
            _ => {}
        }
        *last = error;
    }
}
