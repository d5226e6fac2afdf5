//! That something of a project cannot be stored is said once, and once that it can again.

use std::error::Error as _;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::TraceError;
use crate::project::ProjectId;

/// Whether something failed the last time. What a spool that is open cannot store, it says itself.
#[derive(Debug, Default)]
pub(super) struct Trouble(AtomicBool);

impl Trouble {
    pub(super) fn note<T>(
        &self,
        project: &ProjectId,
        tried: Result<T, TraceError>,
    ) -> Result<T, TraceError> {
        match (&tried, self.0.swap(tried.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => {
                let cause = error.source().map(ToString::to_string);
                tracing::error!(%project, %error, cause, "what is logged for a project cannot be stored");
            }
            (Ok(_), true) => {
                tracing::info!(%project, "what is logged for a project is stored again")
            }
            _ => {}
        }
        tried
    }
}
