//! What an error of any library means for those who would try again. It is decided here alone.

use std::error::Error;
use std::io;
use std::iter;

use backhaul_llm::{LlmError, LlmErrorKind};
use backhaul_sync::{LinkError, LinkErrorKind};

use super::tool_error::{Boxed, ToolErrorKind};

/// How the standard library begins what it says when a name was not found. It gives that error
/// no kind and no number of the system's: there is nothing else to tell it by.
const NAME_NOT_FOUND: &str = "failed to lookup address information";

/// The kind of an error: that of the first in its chain of causes that says something of it.
pub(super) fn kind_of(error: &(dyn Error + 'static)) -> ToolErrorKind {
    chain(Some(error)).find_map(kind_of_one).unwrap_or(ToolErrorKind::Failed)
}

/// An error and its causes.
pub(super) fn chain<'a>(
    error: Option<&'a (dyn Error + 'static)>,
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(error, |&error| error.source())
}

fn kind_of_one(error: &(dyn Error + 'static)) -> Option<ToolErrorKind> {
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        return Some(of_reqwest(error));
    }
    if let Some(error) = error.downcast_ref::<LlmError>() {
        return Some(of_llm(error.kind()));
    }
    if let Some(error) = error.downcast_ref::<LinkError>() {
        return Some(of_link(error.kind()));
    }
    if let Some(Boxed(error)) = error.downcast_ref() {
        return Some(error.kind());
    }
    // A task that panicked may have done something before.
    if error.is::<tokio::time::error::Elapsed>() || error.is::<tokio::task::JoinError>() {
        return Some(ToolErrorKind::Unclear);
    }
    of_io(error.downcast_ref()?)
}

fn of_reqwest(error: &reqwest::Error) -> ToolErrorKind {
    if let Some(status) = error.status().filter(|_| error.is_status()) {
        return match status.as_u16() {
            429 | 500.. => ToolErrorKind::Failed,
            _ => ToolErrorKind::Permanent,
        };
    }
    if error.is_connect() {
        ToolErrorKind::Unreachable
    } else if error.is_builder() {
        ToolErrorKind::Permanent
    } else if error.is_redirect() {
        ToolErrorKind::Failed
    } else {
        // It was being sent, or its answer was being read. A timeout while connecting is among
        // them unless the client has one for that alone: the error does not tell.
        ToolErrorKind::Unclear
    }
}

/// Asking a model changes nothing: a connection that broke before the answer began leaves no
/// doubt whether anything was done.
fn of_llm(kind: LlmErrorKind) -> ToolErrorKind {
    match kind {
        LlmErrorKind::Unreachable | LlmErrorKind::Unavailable => ToolErrorKind::Unreachable,
        LlmErrorKind::Timeout | LlmErrorKind::BrokenOff | LlmErrorKind::Garbled => {
            ToolErrorKind::Unclear
        }
        LlmErrorKind::Credentials
        | LlmErrorKind::ContextLength
        | LlmErrorKind::NotFound
        | LlmErrorKind::Invalid
        | LlmErrorKind::Unsupported => ToolErrorKind::Permanent,
        _ => ToolErrorKind::Failed,
    }
}

fn of_link(kind: LinkErrorKind) -> ToolErrorKind {
    match kind {
        LinkErrorKind::OverBudget => ToolErrorKind::Unreachable,
        LinkErrorKind::Unreachable | LinkErrorKind::Timeout => ToolErrorKind::Unclear,
        LinkErrorKind::Refused | LinkErrorKind::TooLarge | LinkErrorKind::BadBatch => {
            ToolErrorKind::Permanent
        }
        _ => ToolErrorKind::Failed,
    }
}

fn of_io(error: &io::Error) -> Option<ToolErrorKind> {
    use io::ErrorKind as Io;
    match error.kind() {
        Io::ConnectionRefused
        | Io::HostUnreachable
        | Io::NetworkUnreachable
        | Io::NetworkDown
        | Io::NotConnected
        | Io::AddrNotAvailable => Some(ToolErrorKind::Unreachable),
        // A socket with a timeout that it was given says that it would block.
        Io::TimedOut
        | Io::WouldBlock
        | Io::ConnectionReset
        | Io::ConnectionAborted
        | Io::BrokenPipe
        | Io::UnexpectedEof => Some(ToolErrorKind::Unclear),
        _ => {
            // What an `io::Error` was made of is not among its causes.
            let inside = error.get_ref()?;
            if inside.to_string().starts_with(NAME_NOT_FOUND) {
                return Some(ToolErrorKind::Unreachable);
            }
            kind_of_one(inside)
        }
    }
}
