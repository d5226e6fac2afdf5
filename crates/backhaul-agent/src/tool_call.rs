//! A finished call of a tool.

use backhaul_store::Timestamp;
use serde_json::{Map, Value};

use crate::fields::{FieldError, Fields, Spelling};
use crate::shape::{Node, Shape};
use crate::{id, time};

/// A finished call of a tool, as it stands in a run record.
///
/// ```
/// use backhaul_agent::ToolCall;
/// use serde_json::json;
///
/// let call = ToolCall::new("thermometer", json!({"room": 3}), json!({"celsius": 21.5}))
///     .duration_ms(12.5)
///     .correlation_id("run_001");
/// assert!(call.success);
///
/// let failed = ToolCall::failed("thermometer", json!({"room": 4}), "no such room");
/// assert_eq!(failed.output, json!({}));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// `call_` and hex digits.
    pub id: String,
    /// Which tool.
    pub tool_id: String,
    /// What went in; upstream always has an object here.
    pub input: Value,
    /// What came out; an empty object for a failed call.
    pub output: Value,
    /// How long it took, in milliseconds. May be NaN, which Python writes too.
    pub duration_ms: f64,
    /// When, by the wall clock of the device.
    pub timestamp: Timestamp,
    /// What ties it to other events; empty for nothing.
    pub correlation_id: String,
    /// Whether it succeeded.
    pub success: bool,
    /// What went wrong.
    pub error: Option<String>,
    /// The node of the DAG that made the call.
    pub node_id: Option<String>,
    /// The agent that made the call.
    pub agent_id: Option<String>,
    /// Keys that this version does not know.
    pub extra: Map<String, Value>,
    spelling: Spelling,
}

impl ToolCall {
    /// A call that succeeded, now, in no time.
    pub fn new(
        tool_id: impl Into<String>,
        input: impl Into<Value>,
        output: impl Into<Value>,
    ) -> Self {
        Self {
            id: id::generate("call"),
            tool_id: tool_id.into(),
            input: input.into(),
            output: output.into(),
            duration_ms: 0.0,
            timestamp: time::now(),
            correlation_id: String::new(),
            success: true,
            error: None,
            node_id: None,
            agent_id: None,
            extra: Map::new(),
            spelling: Spelling::default(),
        }
    }

    /// A call that failed with `error`, now, in no time.
    pub fn failed(
        tool_id: impl Into<String>,
        input: impl Into<Value>,
        error: impl Into<String>,
    ) -> Self {
        let call = Self::new(tool_id, input, Map::new());
        Self { success: false, error: Some(error.into()), ..call }
    }

    /// Says how long it took, in milliseconds.
    #[must_use]
    pub fn duration_ms(mut self, duration_ms: f64) -> Self {
        self.duration_ms = duration_ms;
        self
    }

    /// Says when; without it, now by the clock of the machine.
    #[must_use]
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// Ties the call to other events.
    #[must_use]
    pub fn correlation_id(mut self, correlation_id: impl Into<String>) -> Self {
        self.correlation_id = correlation_id.into();
        self
    }

    /// Says which node of the DAG made the call.
    #[must_use]
    pub fn node_id(mut self, node_id: impl Into<String>) -> Self {
        self.node_id = Some(node_id.into());
        self
    }

    /// Says which agent made the call.
    #[must_use]
    pub fn agent_id(mut self, agent_id: impl Into<String>) -> Self {
        self.agent_id = Some(agent_id.into());
        self
    }

    /// The call as JSON in upstream's order; `node_id` and `agent_id` only when set.
    pub fn to_value(&self) -> Value {
        self.shape().into_value()
    }

    /// Reads a call; only `tool_id` is required, a missing time is now.
    ///
    /// # Errors
    /// When `tool_id` is missing or a field holds something unexpected.
    pub fn from_value(value: Value) -> Result<Self, FieldError> {
        Self::read(Fields::of_document(value, time::now())?)
    }

    pub(crate) fn read(mut fields: Fields) -> Result<Self, FieldError> {
        let empty = || Value::Object(Map::new());
        let mut call = Self {
            id: fields.text_or_else("id", || id::generate("call"))?,
            tool_id: fields.required_text("tool_id")?,
            input: fields.take("input").unwrap_or_else(empty),
            output: fields.take("output").unwrap_or_else(empty),
            duration_ms: fields.float("duration_ms")?,
            timestamp: fields.time("timestamp")?,
            correlation_id: fields.text("correlation_id")?,
            success: fields.flag_or("success", true)?,
            error: fields.optional_text("error")?,
            node_id: fields.sparse("node_id", Fields::optional_text)?,
            agent_id: fields.sparse("agent_id", Fields::optional_text)?,
            extra: Map::new(),
            spelling: Spelling::default(),
        };
        (call.extra, call.spelling) = fields.finish();
        Ok(call)
    }

    pub(crate) fn shape(&self) -> Node<'_> {
        let mut shape = Shape::new(&self.spelling);
        shape
            .text("id", &self.id)
            .text("tool_id", &self.tool_id)
            .node("input", Node::Value(&self.input))
            .node("output", Node::Value(&self.output))
            .float("duration_ms", self.duration_ms)
            .time("timestamp", self.timestamp)
            .text("correlation_id", &self.correlation_id)
            .flag("success", self.success)
            .optional_text("error", self.error.as_deref())
            .sparse("node_id", self.node_id.as_deref().map(Node::Text))
            .sparse("agent_id", self.agent_id.as_deref().map(Node::Text));
        shape.finish(&self.extra)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn writes_node_and_agent_only_when_set() {
        let call = ToolCall::new("t", json!({}), json!({}));
        let keys = |call: &ToolCall| call.to_value().as_object().unwrap().len();
        assert_eq!(keys(&call), 9);
        assert_eq!(keys(&call.node_id("n").agent_id("a")), 11);
    }

    #[test]
    fn changed_fields_are_written_in_our_spelling() {
        let document = json!({
            "tool_id": "t", "duration_ms": 5, "timestamp": "2024-01-15T10:30:00Z", "node_id": null
        });
        let mut call = ToolCall::from_value(document).unwrap();
        assert_eq!(call.to_value()["duration_ms"].to_string(), "5");
        assert_eq!(call.to_value()["timestamp"], "2024-01-15T10:30:00Z");
        assert_eq!(call.to_value()["node_id"], Value::Null);
        call.duration_ms = 6.0;
        call.node_id = Some("n".into());
        assert_eq!(call.to_value()["duration_ms"].to_string(), "6.0");
        assert_eq!(call.to_value()["node_id"], "n");
    }

    #[test]
    fn spelling_does_not_make_calls_unequal() {
        let read = |duration: &str| {
            let document = format!(
                r#"{{"id":"c","tool_id":"t","duration_ms":{duration},"timestamp":"2024-01-15"}}"#
            );
            ToolCall::from_value(crate::json::from_slice(document.as_bytes()).unwrap()).unwrap()
        };
        assert_eq!(read("5"), read("5.0"));
        assert_ne!(read("5"), read("5.1"));
    }
}
