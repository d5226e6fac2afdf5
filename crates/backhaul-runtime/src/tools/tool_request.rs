//! What is asked of a tool.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::idempotency_key::IdempotencyKey;

/// What is asked of a tool, and what the effect is known by.
///
/// ```
/// use backhaul_runtime::tools::ToolRequest;
/// use serde_json::json;
/// let arguments = json!({"message": "hot"}).as_object().unwrap().clone();
/// let call = ToolRequest::new("notify", arguments, "run_001/alert").node("alert");
/// assert_eq!(call.run_id, None);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolRequest {
    /// The tool.
    pub tool: String,
    /// What it is called with.
    pub arguments: Map<String, Value>,
    /// What the effect is known by.
    pub key: IdempotencyKey,
    /// The run that asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The node of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
}

impl ToolRequest {
    /// A call at a step of a run: the same step asks for the same effect, however often.
    pub fn new(tool: impl Into<String>, arguments: Map<String, Value>, step: &str) -> Self {
        let tool = tool.into();
        let key = IdempotencyKey::of(&tool, &arguments, step);
        Self { tool, arguments, key, run_id: None, node_id: None }
    }

    /// Under a key of one's own.
    #[must_use]
    pub fn key(self, key: IdempotencyKey) -> Self {
        Self { key, ..self }
    }

    /// Says which run asks for it.
    #[must_use]
    pub fn run(self, run_id: impl Into<String>) -> Self {
        Self { run_id: Some(run_id.into()), ..self }
    }

    /// Says which node of it.
    #[must_use]
    pub fn node(self, node_id: impl Into<String>) -> Self {
        Self { node_id: Some(node_id.into()), ..self }
    }
}
