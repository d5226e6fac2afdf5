//! One message of a conversation.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::content::Content;
use crate::error::{LlmError, LlmErrorKind};
use crate::tool::ToolCall;

/// Who a message is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// What the model is told to be.
    System,
    /// The same, as newer models of OpenAI call it.
    Developer,
    /// Who asks.
    User,
    /// The model.
    Assistant,
    /// The result of a tool.
    Tool,
    /// A role that this version does not know.
    Other,
}

impl Role {
    /// The role of a name.
    pub fn named(name: &str) -> Self {
        match name {
            "system" => Role::System,
            "developer" => Role::Developer,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "tool" | "function" => Role::Tool,
            _ => Role::Other,
        }
    }

    /// Whether it says what the model is told to be.
    pub fn is_instruction(self) -> bool {
        matches!(self, Role::System | Role::Developer)
    }
}

/// One message, as a JSON object of chat completions. Fields that this version does not know
/// are kept.
///
/// ```
/// use backhaul_llm::{Message, Role};
/// use serde_json::json;
/// let message = Message::user("Is it warm?");
/// assert_eq!(message.role(), Role::User);
/// assert_eq!(message.as_json()["content"], json!("Is it warm?"));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Message(Map<String, Value>);

impl Message {
    /// What the model is told to be.
    pub fn system(content: impl Into<Content>) -> Self {
        Self::of("system", content)
    }

    /// What somebody asks.
    pub fn user(content: impl Into<Content>) -> Self {
        Self::of("user", content)
    }

    /// What a model said.
    pub fn assistant(content: impl Into<Content>) -> Self {
        Self::of("assistant", content)
    }

    /// What a model said when it called tools.
    #[must_use]
    pub fn with_tool_calls(self, calls: &[ToolCall]) -> Self {
        self.with("tool_calls", calls.iter().map(ToolCall::to_json).collect())
    }

    /// The result of a tool call.
    pub fn tool_result(tool_call_id: impl Into<String>, content: impl Into<Content>) -> Self {
        Self::of("tool", content).with("tool_call_id", Value::String(tool_call_id.into()))
    }

    /// The same with another field, or with another value of one.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.0.insert(field.to_owned(), value);
        self
    }

    fn of(role: &str, content: impl Into<Content>) -> Self {
        let fields = [("role", role.into()), ("content", content.into().0)];
        Self(fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`LlmErrorKind::Invalid`] where it is no object with a `role`.
    pub fn from_json(value: Value) -> Result<Self, LlmError> {
        let found = match value {
            Value::Object(fields) if fields.get("role").is_some_and(Value::is_string) => {
                return Ok(Self(fields));
            }
            Value::Object(_) => "an object without a role",
            _ => "no object",
        };
        Err(LlmError::new(
            LlmErrorKind::Invalid,
            format!("a message is {found}: expected {{\"role\": …, \"content\": …}}"),
        ))
    }

    /// Its fields.
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Its fields, to be changed. One without `role` is a message of [`Role::Other`].
    pub fn as_json_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.0
    }

    /// Who it is of.
    pub fn role(&self) -> Role {
        self.0.get("role").and_then(Value::as_str).map_or(Role::Other, Role::named)
    }

    /// The text in it; that of several parts one after the other.
    pub fn text(&self) -> String {
        match self.0.get("content") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => {
                parts.iter().filter_map(|part| part.get("text")?.as_str()).collect()
            }
            _ => String::new(),
        }
    }

    /// The tools that the model called. Those that cannot be read are left out.
    pub fn tool_calls(&self) -> Vec<ToolCall> {
        let calls = self.0.get("tool_calls").and_then(Value::as_array);
        calls.into_iter().flatten().filter_map(ToolCall::from_json).collect()
    }

    /// Which call a result is that of.
    pub fn tool_call_id(&self) -> Option<&str> {
        self.0.get("tool_call_id")?.as_str()
    }
}
