//! What a queue of calls says of itself.

use std::time::Duration;

use backhaul_store::Books;

use crate::tools::ToolRequest;

/// A queue of calls at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ToolQueueStatus {
    /// Calls that wait, unknown ones among them.
    pub pending: u64,
    /// Calls at work.
    pub running: u64,
    /// Calls of which nobody knows whether they were done, and that wait for a person.
    pub unknown: u64,
    /// Calls that will not be done, and are kept with the reason.
    pub failed: u64,
    /// What became of all calls that were ever accepted.
    pub books: Books,
    /// The age of the oldest that waits.
    pub oldest_age: Option<Duration>,
    /// Whether there is a network, as far as is known.
    pub is_online: Option<bool>,
    /// What the last attempt that came to nothing said.
    pub last_error: Option<String>,
}

/// A call that waits for a person.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct UnknownCall {
    /// Its name in the queue.
    pub id: String,
    /// The call.
    pub call: ToolRequest,
    /// How old it is.
    pub age: Duration,
    /// Attempts that were begun.
    pub attempts: u32,
    /// Why nobody knows.
    pub reason: Option<String>,
}

/// What a drain came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Drained {
    /// Calls that were done.
    pub done: u64,
    /// Calls that will not be done.
    pub failed: u64,
    /// Calls that were begun and came to nothing this time.
    pub put_off: u64,
    /// Calls that wait for a person since.
    pub unknown: u64,
    /// Calls in whose place a newer one is done.
    pub superseded: u64,
    /// Calls that still wait.
    pub remaining: u64,
}
