//! The store's one error type.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What went wrong, in the terms a caller acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller gave something that can never work. Nothing was stored.
    InvalidInput,
    /// The record is larger than the store takes. Nothing was stored.
    TooLarge,
    /// The cap, the free-space floor or the disk itself leaves no room. Nothing
    /// was stored; the same call may succeed once room was made.
    Full,
    /// Another process holds what this call needs.
    Busy,
    /// The process was forked after the spool was opened; only the parent may use it.
    Forked,
    /// What was asked for is not in the store.
    NotFound,
    /// Bytes on disk are not what the format says. The message names file and offset.
    Damaged,
    /// The files were written by a newer format than this program knows.
    Unsupported,
    /// The disk refused: read-only, an I/O error, no permission. Nothing was
    /// acknowledged; the call may succeed later.
    Io,
}

/// An error of the store: a kind to act on, and a message that names the path,
/// what was found, what was expected and what to do.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    path: Option<PathBuf>,
    source: Option<io::Error>,
}

/// The result of a call into the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), path: None, source: None }))
    }

    pub(crate) fn at(kind: ErrorKind, path: &Path, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            path: Some(path.to_owned()),
            source: None,
        }))
    }

    /// What an error of the operating system comes to, met while `doing` something to `path`:
    /// [`ErrorKind::Full`], [`ErrorKind::NotFound`] or [`ErrorKind::Io`], here, for everybody.
    pub fn io(doing: &str, path: &Path, source: io::Error) -> Self {
        const ENOSPC: i32 = 28;
        const EDQUOT: i32 = 122;
        const EFBIG: i32 = 27;
        let kind = match source.raw_os_error() {
            Some(ENOSPC | EDQUOT | EFBIG) => ErrorKind::Full,
            _ => match source.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                // Said by our own readers of formats; the system has a code for its own.
                io::ErrorKind::Unsupported if source.raw_os_error().is_none() => {
                    ErrorKind::Unsupported
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
                _ => ErrorKind::Io,
            },
        };
        Self(Arc::new(Inner {
            kind,
            message: format!("cannot {doing}"),
            path: Some(path.to_owned()),
            source: Some(source),
        }))
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file or folder concerned, where there is one.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Whether the same call can succeed later without being changed: room is
    /// made, the disk comes back, another process lets go.
    pub fn is_transient(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Full | ErrorKind::Busy | ErrorKind::Io)
    }

    /// Whether the medium could not give what is stored on it. Other errors of the
    /// system (no handles, no memory, no permission) say nothing of the stored bytes.
    pub fn is_of_the_medium(&self) -> bool {
        const EIO: i32 = 5;
        const ENODATA: i32 = 61; // What a disk's driver says of a critical medium error.
        const EBADMSG: i32 = 74;
        const EUCLEAN: i32 = 117;
        const EREMOTEIO: i32 = 121;
        let code = self.0.source.as_ref().and_then(io::Error::raw_os_error);
        matches!(code, Some(EIO | ENODATA | EBADMSG | EUCLEAN | EREMOTEIO))
    }

    /// Whether there is no room: the cap, the free-space floor or the disk.
    pub fn is_full(&self) -> bool {
        self.0.kind == ErrorKind::Full
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(path) = &self.0.path {
            write!(f, " ({})", path.display())?;
        }
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        None
    }
}

/// Adds what was being done, and to what, to an operating system error.
pub(crate) trait IoContext<T> {
    fn doing(self, doing: &str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn doing(self, doing: &str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::io(doing, path, source))
    }
}
