//! Why a run does not go on.

use std::error::Error;
use std::fmt;

use crate::dag::ScheduleError;
use crate::persistence::{PersistenceError, PersistenceErrorKind};

/// Why a run does not go on. Nothing has happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ResumeError {
    /// The executor keeps no runs.
    NotKept,
    /// A node of the graph cannot be run by this executor: which, and why.
    CannotRun(String),
    /// It could not be read, or does not go on.
    Persistence(PersistenceError),
    /// It began with another graph.
    ChangedGraph {
        /// The run.
        run_id: String,
        /// The digest of the graph that it began with.
        began_with: String,
        /// The digest of the graph at hand.
        found: String,
    },
    /// What has ended of it is not part of the graph.
    History {
        /// The run.
        run_id: String,
        /// What is not.
        error: ScheduleError,
    },
}

impl ResumeError {
    /// Whether somebody else goes on with the run, or has ended it.
    pub(super) fn is_taken(&self) -> bool {
        use PersistenceErrorKind::{Busy, NotFound, NotResumable};
        matches!(self, Self::Persistence(error) if matches!(error.kind(), Busy | NotFound | NotResumable))
    }
}

impl fmt::Display for ResumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotKept => f.write_str(
                "this executor keeps no runs: give it a `context_persistence` before a run is to \
                 survive",
            ),
            Self::CannotRun(why) => f.write_str(why),
            Self::Persistence(error) => error.fmt(f),
            Self::ChangedGraph { run_id, began_with, found } => write!(
                f,
                "run {run_id:?} began with the graph {began_with:.12} and this one is {found:.12}: \
                 go on with the graph that it began with, run the new one anew, or say \
                 `allow_changed_graph`"
            ),
            Self::History { run_id, error } => {
                write!(f, "run {run_id:?} cannot go on with this graph: {error}")
            }
        }
    }
}

impl Error for ResumeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Persistence(error) => error.source(),
            _ => None,
        }
    }
}

impl From<PersistenceError> for ResumeError {
    fn from(error: PersistenceError) -> Self {
        Self::Persistence(error)
    }
}
