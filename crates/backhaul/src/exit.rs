//! What the process ends with, decided here and nowhere else.

use std::io;
use std::process::ExitCode;

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything was done.
    Done,
    /// Something was not, or not wholly, done, and was said.
    LeftBehind,
    /// Another program was run, and ended with this code.
    Code(u8),
}

/// Wrong usage or configuration: trying again as it is cannot help.
#[derive(Debug)]
pub(crate) struct UsageError(anyhow::Error);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for UsageError {}

/// Marks errors as of usage or configuration.
pub(crate) trait OrUsage<T> {
    fn or_usage(self) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> OrUsage<T> for Result<T, E> {
    fn or_usage(self) -> anyhow::Result<T> {
        self.map_err(|error| UsageError(error.into()).into())
    }
}

/// An error of the store with what was tried: of configuration where the folder can be
/// read or written by others only, or by a newer backhaul.
pub(crate) fn of_store(error: backhaul_store::Error, tried: String) -> anyhow::Error {
    use io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
    let is_configuration = error.kind() == backhaul_store::ErrorKind::Unsupported
        || cause.is_some_and(|cause: &io::Error| {
            matches!(cause.kind(), NotADirectory | PermissionDenied | ReadOnlyFilesystem)
        });
    let error = anyhow::Error::new(error).context(tried);
    if is_configuration { UsageError(error).into() } else { error }
}

/// 0 done, 1 not wholly done, 2 wrong usage or configuration. A reader that has gone
/// away (`backhaul queue list | head`) has what it wanted.
pub(crate) fn code(outcome: &anyhow::Result<Outcome>) -> ExitCode {
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::LeftBehind) => ExitCode::FAILURE,
        Ok(Outcome::Code(code)) => ExitCode::from(*code),
        Err(error) if is_broken_pipe(error) => ExitCode::SUCCESS,
        Err(error) if error.downcast_ref::<UsageError>().is_some() => ExitCode::from(2),
        Err(_) => ExitCode::FAILURE,
    }
}

/// Whether an error is this one, of usage or not.
pub(crate) fn is<E: std::error::Error + Send + Sync + 'static>(error: &anyhow::Error) -> bool {
    let of_usage = || error.downcast_ref::<UsageError>().is_some_and(|usage| usage.0.is::<E>());
    error.is::<E>() || of_usage()
}

pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
