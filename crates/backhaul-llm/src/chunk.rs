//! A piece of an answer.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{LlmError, LlmErrorKind};
use crate::finish_reason::FinishReason;
use crate::usage::Usage;

/// Where servers put what a model thinks before it speaks.
const REASONING: [&str; 2] = ["reasoning_content", "reasoning"];

/// A piece of an answer: the JSON object of a chat completion chunk, with typed views.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct StreamChunk(Map<String, Value>);

impl StreamChunk {
    /// Reads a chunk.
    ///
    /// # Errors
    /// [`LlmErrorKind::Garbled`] where it is no object.
    pub fn from_json(chunk: Value) -> Result<Self, LlmError> {
        match chunk {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(LlmError::new(
                LlmErrorKind::Garbled,
                "a piece of the answer is no JSON object: expected a chat completion chunk",
            )),
        }
    }

    /// Its fields.
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Its fields, to be changed.
    pub fn as_json_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.0
    }

    /// What it adds to the first choice.
    pub fn delta(&self) -> Option<&Map<String, Value>> {
        self.choice()?.get("delta")?.as_object()
    }

    /// The text that it adds.
    pub fn content(&self) -> &str {
        self.text_of("content")
    }

    /// What it adds to what the model thinks before it speaks.
    pub fn reasoning(&self) -> &str {
        REASONING.iter().map(|name| self.text_of(name)).find(|it| !it.is_empty()).unwrap_or("")
    }

    /// Why the model stopped, where it has.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.choice()?.get("finish_reason")?.as_str().map(FinishReason::named)
    }

    /// How many tokens it all took, which a last chunk says.
    pub fn usage(&self) -> Option<Usage> {
        Usage::of(&self.0)
    }

    /// The model that answers, as it calls itself.
    pub fn model(&self) -> Option<&str> {
        self.0.get("model")?.as_str()
    }

    /// Whether the model says something with it: text, thought, a refusal, a call of a tool,
    /// or that it is done. A role alone is nothing.
    pub fn is_meaningful(&self) -> bool {
        let choices = self.0.get("choices").and_then(Value::as_array);
        choices.into_iter().flatten().any(|choice| {
            let is_done = choice.get("finish_reason").is_some_and(|reason| !reason.is_null());
            let delta = choice.get("delta").and_then(Value::as_object);
            is_done || delta.is_some_and(|delta| delta.iter().any(|(k, v)| k != "role" && says(v)))
        })
    }

    fn choice(&self) -> Option<&Value> {
        self.0.get("choices")?.get(0)
    }

    fn text_of(&self, name: &str) -> &str {
        self.delta().and_then(|delta| delta.get(name)?.as_str()).unwrap_or("")
    }
}

/// Whether there is anything in a value.
fn says(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}
