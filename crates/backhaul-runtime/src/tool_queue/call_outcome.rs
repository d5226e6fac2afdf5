//! What came of a call in the end.

use std::fmt;

use serde_json::Value;

use crate::tools::{ToolError, ToolRequest};

/// What came of a call in the end, as callbacks are told.
#[derive(Debug, Clone)]
pub struct CallOutcome {
    /// Its name in the queue.
    pub id: String,
    /// The call.
    pub call: ToolRequest,
    /// Attempts that were made.
    pub attempts: u32,
    /// What it gave, or why it will not be done.
    pub result: Result<Value, ToolError>,
}

impl fmt::Display for CallOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, call: ToolRequest { tool, .. }, attempts, result } = self;
        match result {
            Ok(value) => write!(f, "{tool} ({id}) gave {value}"),
            Err(error) => write!(f, "{tool} ({id}) after {attempts} attempts: {error}"),
        }
    }
}
