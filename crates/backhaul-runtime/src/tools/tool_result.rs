//! What came of a call of a tool.

use std::time::Duration;

use serde_json::Value;

use super::idempotency_key::IdempotencyKey;
use super::tool_error::ToolError;

/// What came of a call of a tool. Nothing is ever made up: a call that waits has no data.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ToolResult {
    /// It was done.
    Done(Value),
    /// There was no network: what the tool gave earlier.
    Cached {
        /// The kept result.
        value: Value,
        /// How long ago it was given.
        age: Duration,
        /// Whether it is older than the tool allows.
        is_stale: bool,
    },
    /// There was no network: what the tool did on the device itself.
    Local(Value),
    /// It is stored, and will be done when there is a network.
    Queued {
        /// Its name in the queue.
        id: String,
        /// What the effect is known by.
        key: IdempotencyKey,
    },
    /// There was no network, and it was left out.
    Skipped,
    /// It was not done.
    Failed(ToolError),
}
