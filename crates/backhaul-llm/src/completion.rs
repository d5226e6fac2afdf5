//! A whole answer.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::{LlmError, LlmErrorKind};
use crate::finish_reason::FinishReason;
use crate::message::Message;
use crate::metadata::Metadata;
use crate::tool::ToolCall;
use crate::usage::Usage;

/// A whole answer: the JSON object of a chat completion, with typed views, and who gave it.
#[derive(Debug, Clone)]
pub struct CompletionResult {
    body: Map<String, Value>,
    message: Message,
    /// Who answered, why, and what it took.
    pub metadata: Metadata,
    /// How long it took, from the call to the end of the answer.
    pub latency: Duration,
}

impl CompletionResult {
    /// Reads an answer.
    ///
    /// # Errors
    /// [`LlmErrorKind::Garbled`] where it is no chat completion with a message.
    pub fn from_json(body: Value, metadata: Metadata) -> Result<Self, LlmError> {
        let garbled = |what: &str| {
            let message = format!("the answer is {what}: expected a chat completion");
            LlmError::new(LlmErrorKind::Garbled, message)
        };
        let Value::Object(body) = body else { return Err(garbled("no JSON object")) };
        let choice = body.get("choices").and_then(|choices| choices.get(0));
        let message = choice.and_then(|choice| choice.get("message"));
        let Some(message) = message.cloned() else { return Err(garbled("without a message")) };
        let message = Message::from_json(message).map_err(|_| garbled("without a message"))?;
        Ok(Self { body, message, metadata, latency: Duration::ZERO })
    }

    /// The answer as the server gave it.
    pub fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    /// The answer, without a copy.
    pub fn into_body(self) -> Map<String, Value> {
        self.body
    }

    /// What the model said, of several choices the first.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Its text; empty where it only calls tools.
    pub fn content(&self) -> String {
        self.message.text()
    }

    /// The tools that it calls.
    pub fn tool_calls(&self) -> Vec<ToolCall> {
        self.message.tool_calls()
    }

    /// Why it stopped, as it said itself.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        let choice = self.body.get("choices")?.get(0)?;
        choice.get("finish_reason")?.as_str().map(FinishReason::named)
    }

    /// The model that answered, as it calls itself.
    pub fn model(&self) -> &str {
        self.body.get("model").and_then(Value::as_str).unwrap_or_default()
    }

    /// How many tokens it took.
    pub fn usage(&self) -> Usage {
        Usage::of(&self.body).unwrap_or_default()
    }
}
