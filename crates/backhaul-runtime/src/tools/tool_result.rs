//! What came of a call of a tool.

use std::time::Duration;

use serde_json::{Map, Value, json};

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
        /// How long ago it was given. [`Duration::MAX`]: nobody knows.
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

impl ToolResult {
    /// Whether the run goes on as if all were well: anything but [`Failed`](ToolResult::Failed).
    ///
    /// ```
    /// use backhaul_runtime::tools::{ToolError, ToolResult};
    /// assert!(ToolResult::Skipped.is_success());
    /// assert!(!ToolResult::Failed(ToolError::failed("out of paper")).is_success());
    /// ```
    pub fn is_success(&self) -> bool {
        !matches!(self, ToolResult::Failed(_))
    }

    /// What the tool gave, now or earlier. `None`: it waits, was left out, or failed.
    ///
    /// ```
    /// use backhaul_runtime::tools::ToolResult;
    /// use serde_json::json;
    /// assert_eq!(ToolResult::Done(json!(21.5)).data(), Some(&json!(21.5)));
    /// assert_eq!(ToolResult::Skipped.data(), None);
    /// ```
    pub fn data(&self) -> Option<&Value> {
        match self {
            ToolResult::Done(value) | ToolResult::Local(value) => Some(value),
            ToolResult::Cached { value, .. } => Some(value),
            ToolResult::Queued { .. } | ToolResult::Skipped | ToolResult::Failed(_) => None,
        }
    }

    /// How it came about. Empty where it was simply done.
    ///
    /// | result | metadata |
    /// |---|---|
    /// | cached | `cached` (true), `age_seconds` (`null`: nobody knows), `stale` |
    /// | local | `local` (true) |
    /// | queued | `queued` (true), `queue_id`, `idempotency_key` |
    /// | skipped | `skipped` (true) |
    /// | failed | `error_kind`, as [`ToolErrorKind::name`](super::ToolErrorKind::name) has it |
    ///
    /// ```
    /// use backhaul_runtime::tools::ToolResult;
    /// use serde_json::json;
    /// use std::time::Duration;
    /// let age = Duration::from_secs(90);
    /// let result = ToolResult::Cached { value: json!(21.5), age, is_stale: false };
    /// let expected = json!({"cached": true, "age_seconds": 90.0, "stale": false});
    /// assert_eq!(serde_json::Value::Object(result.metadata()), expected);
    /// ```
    pub fn metadata(&self) -> Map<String, Value> {
        let metadata = match self {
            ToolResult::Done(_) => return Map::new(),
            ToolResult::Cached { age, is_stale, .. } => {
                let age = (*age != Duration::MAX).then_some(age.as_secs_f64());
                json!({ "cached": true, "age_seconds": age, "stale": is_stale })
            }
            ToolResult::Local(_) => json!({ "local": true }),
            ToolResult::Queued { id, key } => {
                json!({ "queued": true, "queue_id": id, "idempotency_key": key })
            }
            ToolResult::Skipped => json!({ "skipped": true }),
            ToolResult::Failed(error) => json!({ "error_kind": error.kind().name() }),
        };
        match metadata {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }

    /// All of it as JSON: `success`, `data`, `error` (its message and causes) and `metadata`.
    ///
    /// ```
    /// use backhaul_runtime::tools::{ToolError, ToolResult};
    /// use serde_json::json;
    /// let result = ToolResult::Failed(ToolError::permanent("no such sensor: `mast-9`"));
    /// assert_eq!(result.to_value(), json!({
    ///     "success": false, "data": null, "error": "no such sensor: `mast-9`",
    ///     "metadata": {"error_kind": "permanent"},
    /// }));
    /// ```
    pub fn to_value(&self) -> Value {
        let error = match self {
            ToolResult::Failed(error) => Some(format!("{error:#}")),
            _ => None,
        };
        json!({
            "success": self.is_success(), "data": self.data(), "error": error,
            "metadata": self.metadata(),
        })
    }
}
