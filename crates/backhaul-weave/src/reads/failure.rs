//! Why something could not be read by way of the index.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{TraceError, TraceErrorKind};

/// What went wrong: in the index, which can be made again, or elsewhere.
#[derive(Debug)]
pub(super) enum Failure {
    /// The index is not what was written, or tells of another spool.
    Damaged(String),
    /// The database of the index: most often its disk.
    Database(redb::Error),
    /// Anything else: to be told to who asked.
    Other(TraceError),
}

pub(super) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// That a request makes no sense.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::Other(TraceError::new(TraceErrorKind::InvalidInput, message))
    }

    /// That what was asked for is not here.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::Other(TraceError::new(TraceErrorKind::NotFound, message))
    }

    /// What is told to who asked, where nothing helped.
    pub(super) fn into_error(self) -> TraceError {
        let message = match self {
            Self::Other(error) => return error,
            Self::Damaged(what) => format!("the index of Weave's data is damaged: {what}"),
            Self::Database(error) => format!("the index of Weave's data cannot be used: {error}"),
        };
        TraceError::new(TraceErrorKind::Store, message)
    }
}

/// What was read; `None`: it is not there, any more perhaps.
pub(super) fn if_there<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Err(Failure::Other(error)) if error.kind() == TraceErrorKind::NotFound => {
            tracing::debug!(%error, "something is not shown");
            Ok(None)
        }
        read => read.map(Some),
    }
}

impl From<TraceError> for Failure {
    fn from(error: TraceError) -> Self {
        Self::Other(error)
    }
}

impl From<backhaul_store::Error> for Failure {
    fn from(error: backhaul_store::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<redb::Error> for Failure {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Corrupted(what) => Self::Damaged(what),
            // Of another version of this program, or nothing of ours.
            redb::Error::TableTypeMismatch { .. } | redb::Error::UpgradeRequired(_) => {
                Self::Damaged(error.to_string())
            }
            redb::Error::Io(io) if io.kind() == std::io::ErrorKind::InvalidData => {
                Self::Damaged(io.to_string())
            }
            error => Self::Database(error),
        }
    }
}

macro_rules! from_database {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        })*
    };
}

from_database!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError
);

/// What the database does, with its panics as damage: it trusts its files, and a damaged
/// one has it reach beyond its arrays.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
        Err(Failure::Damaged(format!("the database panicked: {text}")))
    })
}
