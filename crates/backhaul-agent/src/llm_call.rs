//! A finished call of a model.

use backhaul_store::Timestamp;
use serde_json::{Map, Value};

use crate::fields::{FieldError, Fields, Spelling};
use crate::shape::{Node, Shape};
use crate::{id, time};

/// A finished call of a model, as it stands in a run record.
///
/// ```
/// use backhaul_agent::LlmCall;
/// use serde_json::json;
///
/// let messages = vec![json!({"role": "user", "content": "Is it warm?"})];
/// let call = LlmCall::new("gemma3:4b", messages, "Yes.").tokens(12, 2).duration_ms(340.0);
/// assert_eq!(call.total_tokens(), 14);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LlmCall {
    /// `llm_` and hex digits.
    pub id: String,
    /// The name of the model.
    pub model: String,
    /// The messages that went in, as objects with `role` and `content`.
    pub input_messages: Vec<Value>,
    /// The text that came out.
    pub output: String,
    /// Tokens that went in.
    pub input_tokens: u64,
    /// Tokens that came out.
    pub output_tokens: u64,
    /// How long it took, in milliseconds. May be NaN, which Python writes too.
    pub duration_ms: f64,
    /// When, by the wall clock of the device.
    pub timestamp: Timestamp,
    /// What ties it to other events; empty for nothing.
    pub correlation_id: String,
    /// The node of the DAG that made the call.
    pub node_id: Option<String>,
    /// The agent that made the call.
    pub agent_id: Option<String>,
    /// Ids of the sources that were put into the context of the call.
    pub context_sources_used: Vec<String>,
    /// A hash of that context.
    pub context_hash: String,
    /// How much of the token budget was used: 1.0 is all of it.
    pub budget_utilization: f64,
    /// What the call cost, in US dollars.
    pub cost_usd: f64,
    /// The [`ProvenanceLink`](crate::ProvenanceLink) of the call.
    pub provenance_link_id: Option<String>,
    /// What went wrong. Upstream has this field but leaves it out of its JSON; here it is
    /// written as an extra key when it is set, so that it is not lost.
    pub error: Option<String>,
    /// Keys that this version does not know.
    pub extra: Map<String, Value>,
    spelling: Spelling,
}

impl LlmCall {
    /// A call, now, in no time, of no tokens.
    pub fn new(
        model: impl Into<String>,
        input_messages: Vec<Value>,
        output: impl Into<String>,
    ) -> Self {
        Self {
            id: id::generate("llm"),
            model: model.into(),
            input_messages,
            output: output.into(),
            input_tokens: 0,
            output_tokens: 0,
            duration_ms: 0.0,
            timestamp: time::now(),
            correlation_id: String::new(),
            node_id: None,
            agent_id: None,
            context_sources_used: Vec::new(),
            context_hash: String::new(),
            budget_utilization: 0.0,
            cost_usd: 0.0,
            provenance_link_id: None,
            error: None,
            extra: Map::new(),
            spelling: Spelling::default(),
        }
    }

    /// Says how many tokens went in and came out.
    #[must_use]
    pub fn tokens(mut self, input_tokens: u64, output_tokens: u64) -> Self {
        self.input_tokens = input_tokens;
        self.output_tokens = output_tokens;
        self
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

    /// Says what the call cost, in US dollars.
    #[must_use]
    pub fn cost_usd(mut self, cost_usd: f64) -> Self {
        self.cost_usd = cost_usd;
        self
    }

    /// Says what went wrong.
    #[must_use]
    pub fn error(mut self, error: impl Into<String>) -> Self {
        self.error = Some(error.into());
        self
    }

    /// Tokens in and out together; at most `u64::MAX`.
    pub fn total_tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }

    /// The call as JSON in upstream's order; what came with G2 only when it is not the
    /// default, and `error`, which upstream leaves out, when it is set.
    pub fn to_value(&self) -> Value {
        self.shape().into_value()
    }

    /// Reads a call; only `model` is required, a missing time is now.
    ///
    /// # Errors
    /// When `model` is missing or a field holds something unexpected.
    pub fn from_value(value: Value) -> Result<Self, FieldError> {
        Self::read(Fields::of_document(value, time::now())?)
    }

    pub(crate) fn read(mut fields: Fields) -> Result<Self, FieldError> {
        let mut call = Self {
            id: fields.text_or_else("id", || id::generate("llm"))?,
            model: fields.required_text("model")?,
            input_messages: fields.list("input_messages")?,
            output: fields.text("output")?,
            input_tokens: fields.count("input_tokens")?,
            output_tokens: fields.count("output_tokens")?,
            duration_ms: fields.float("duration_ms")?,
            timestamp: fields.time("timestamp")?,
            correlation_id: fields.text("correlation_id")?,
            node_id: fields.sparse("node_id", Fields::optional_text)?,
            agent_id: fields.sparse("agent_id", Fields::optional_text)?,
            context_sources_used: fields.sparse("context_sources_used", Fields::texts)?,
            context_hash: fields.sparse("context_hash", Fields::text)?,
            budget_utilization: fields.sparse("budget_utilization", Fields::float)?,
            cost_usd: fields.sparse("cost_usd", Fields::float)?,
            provenance_link_id: fields.sparse("provenance_link_id", Fields::optional_text)?,
            error: fields.sparse("error", Fields::optional_text)?,
            extra: Map::new(),
            spelling: Spelling::default(),
        };
        (call.extra, call.spelling) = fields.finish();
        Ok(call)
    }

    pub(crate) fn shape(&self) -> Node<'_> {
        let sources = &self.context_sources_used;
        let mut shape = Shape::new(&self.spelling);
        shape
            .text("id", &self.id)
            .text("model", &self.model)
            .node("input_messages", Node::values(&self.input_messages))
            .text("output", &self.output)
            .count("input_tokens", self.input_tokens)
            .count("output_tokens", self.output_tokens)
            .float("duration_ms", self.duration_ms)
            .time("timestamp", self.timestamp)
            .text("correlation_id", &self.correlation_id)
            .sparse("node_id", self.node_id.as_deref().map(Node::Text))
            .sparse("agent_id", self.agent_id.as_deref().map(Node::Text))
            .sparse("context_sources_used", (!sources.is_empty()).then(|| Node::texts(sources)))
            .sparse_text("context_hash", &self.context_hash)
            .sparse_float("budget_utilization", self.budget_utilization)
            .sparse_float("cost_usd", self.cost_usd)
            .sparse("provenance_link_id", self.provenance_link_id.as_deref().map(Node::Text))
            .sparse("error", self.error.as_deref().map(Node::Text));
        shape.finish(&self.extra)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn writes_later_keys_only_when_not_the_default() {
        let mut call = LlmCall::new("m", vec![], "out");
        assert_eq!(call.to_value().as_object().unwrap().len(), 9);
        call.context_sources_used = vec!["doc".into()];
        call.context_hash = "h".into();
        call.budget_utilization = 0.5;
        call.provenance_link_id = Some("p".into());
        let call = call.node_id("n").agent_id("a").cost_usd(0.1).error("cut off");
        let value = call.to_value();
        let keys: Vec<_> = value.as_object().unwrap().keys().skip(9).collect();
        assert_eq!(
            keys,
            [
                "node_id",
                "agent_id",
                "context_sources_used",
                "context_hash",
                "budget_utilization",
                "cost_usd",
                "provenance_link_id",
                "error"
            ]
        );
        assert_eq!(LlmCall::from_value(value), Ok(call));
    }

    #[test]
    fn a_default_that_was_written_is_written_again() {
        let document = json!({
            "id": "l", "model": "m", "input_messages": [], "output": null, "input_tokens": 0,
            "output_tokens": 7, "duration_ms": 0.5, "timestamp": "2024-01-15T10:30:00+00:00",
            "correlation_id": "", "context_sources_used": [], "context_hash": "", "cost_usd": 0,
        });
        let call = LlmCall::from_value(document.clone()).unwrap();
        assert_eq!(call.output, "");
        assert_eq!(call.to_value().to_string(), document.to_string());
    }

    #[test]
    fn refuses_a_count_that_is_none() {
        for tokens in [json!(-1), json!(1.5), json!("7"), json!(true)] {
            let document = json!({"model": "m", "input_tokens": tokens});
            let error = LlmCall::from_value(document).unwrap_err();
            assert_eq!(error.path(), "input_tokens");
        }
        let call = LlmCall::from_value(json!({"model": "m", "input_tokens": 12.0})).unwrap();
        assert_eq!(call.input_tokens, 12);
    }
}
