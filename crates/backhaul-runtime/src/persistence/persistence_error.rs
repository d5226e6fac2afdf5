//! Why a run could not be kept or recovered.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use backhaul_agent::ContextError;

/// What went wrong, in the terms a caller acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PersistenceErrorKind {
    /// An option makes no sense.
    InvalidOption,
    /// The disk refused. The same call may succeed later.
    Storage,
    /// A newer version wrote it. Nothing was touched.
    Newer,
    /// There is no such run.
    NotFound,
    /// The run has ended, and does not go on.
    NotResumable,
    /// The run goes on in another process, or elsewhere in this one.
    Busy,
    /// A patch cannot be applied. The run is as it was.
    Patch,
    /// It nests more than 1,000 levels, and could not be read again. The run is as it was.
    TooDeep,
}

/// Why a run could not be kept or recovered.
#[derive(Debug, Clone)]
pub struct PersistenceError {
    kind: PersistenceErrorKind,
    message: String,
    source: Option<Arc<io::Error>>,
}

impl PersistenceError {
    pub(crate) fn new(kind: PersistenceErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(super) fn storage(what: &str, path: &Path, error: io::Error) -> Self {
        let message = format!("{what} {}: {error}", path.display());
        let source = Some(Arc::new(error));
        Self { kind: PersistenceErrorKind::Storage, message, source }
    }

    /// Somebody has the run.
    pub(super) fn busy(run_id: &str) -> Self {
        let message = format!("run {run_id:?} goes on, in this process or another one");
        Self::new(PersistenceErrorKind::Busy, message)
    }

    /// Whether the disk said this.
    pub(super) fn is_of(&self, kind: io::ErrorKind) -> bool {
        self.source.as_ref().is_some_and(|source| source.kind() == kind)
    }

    /// What went wrong.
    pub fn kind(&self) -> PersistenceErrorKind {
        self.kind
    }
}

impl fmt::Display for PersistenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for PersistenceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

impl From<ContextError> for PersistenceError {
    fn from(error: ContextError) -> Self {
        Self::new(PersistenceErrorKind::Patch, error.to_string())
    }
}
