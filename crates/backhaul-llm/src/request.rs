//! What a model is asked.

use std::time::Duration;

use backhaul_sync::header::HeaderMap;
use serde_json::{Map, Value, json};

use crate::api_key::ApiKey;
use crate::error::{LlmError, LlmErrorKind};
use crate::message::Message;
use crate::token_budget::TokenBudget;
use crate::tool::ToolDefinition;

const MESSAGES: &str = "messages";
/// The two names of the most tokens of the answer, the newer one first.
const MAX_TOKENS: [&str; 2] = ["max_completion_tokens", "max_tokens"];

/// What a model is asked: the messages and all other fields of a request for a chat
/// completion. Fields that this version does not know are kept.
///
/// ```
/// use backhaul_llm::{ChatRequest, Message};
/// let request = ChatRequest::new(vec![Message::user("Is it warm?")]).max_tokens(50);
/// assert_eq!(request.to_json()["messages"][0]["role"], "user");
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChatRequest {
    /// The conversation.
    pub messages: Vec<Message>,
    /// All other fields.
    pub fields: Map<String, Value>,
    /// How many tokens it may take. Not sent: what is too much for a smaller model is cut.
    pub token_budget: Option<TokenBudget>,
    /// What goes to the primary and to nobody else.
    pub forwarded: Forwarded,
    /// How long the caller waits for the answer, or for the beginning of one in pieces. Not
    /// sent: where another model may answer, the primary has at most half of it.
    pub patience: Option<Duration>,
}

/// What comes with a request and is meant for the primary alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Forwarded {
    /// The caller's own key, which is used in place of the client's.
    pub api_key: Option<ApiKey>,
    /// Headers, such as `OpenAI-Project`.
    pub headers: HeaderMap,
}

impl From<Vec<Message>> for ChatRequest {
    fn from(messages: Vec<Message>) -> Self {
        Self::new(messages)
    }
}

impl From<(Vec<Message>, TokenBudget)> for ChatRequest {
    fn from((messages, budget): (Vec<Message>, TokenBudget)) -> Self {
        Self::new(messages).token_budget(budget)
    }
}

impl ChatRequest {
    /// A conversation, with no other field.
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages, ..Self::default() }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`LlmErrorKind::Invalid`] where it is no object with messages.
    pub fn from_json(value: Value) -> Result<Self, LlmError> {
        let invalid = |message: &str| LlmError::new(LlmErrorKind::Invalid, message);
        let Value::Object(mut fields) = value else {
            return Err(invalid("the request is no JSON object: expected {\"messages\": […]}"));
        };
        let Some(Value::Array(messages)) = fields.remove(MESSAGES) else {
            return Err(invalid("the request has no list of messages: expected \"messages\": […]"));
        };
        let messages = messages.into_iter().map(Message::from_json).collect::<Result<_, _>>()?;
        Ok(Self { messages, fields, ..Self::default() })
    }

    /// The request as it is sent.
    pub fn to_json(&self) -> Map<String, Value> {
        let messages = self.messages.iter().map(|it| Value::Object(it.as_json().clone()));
        let mut all = self.fields.clone();
        all.insert(MESSAGES.to_owned(), messages.collect());
        all
    }

    /// With a field, or with another value of one.
    #[must_use]
    pub fn field(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(name.to_owned(), value);
        self
    }

    /// With the model that is to answer. Without one it is the client's own.
    #[must_use]
    pub fn model(self, model: &str) -> Self {
        self.field("model", model.into())
    }

    /// With tools that the model may call.
    #[must_use]
    pub fn tools(self, tools: &[ToolDefinition]) -> Self {
        self.field("tools", tools.iter().map(ToolDefinition::to_openai).collect())
    }

    /// With the most tokens of the answer.
    #[must_use]
    pub fn max_tokens(self, tokens: u64) -> Self {
        self.field("max_tokens", tokens.into())
    }

    /// With a schema that the answer has to follow.
    #[must_use]
    pub fn json_schema(self, name: &str, schema: Value) -> Self {
        let json_schema = json!({ "name": name, "strict": true, "schema": schema });
        self.field("response_format", json!({ "type": "json_schema", "json_schema": json_schema }))
    }

    /// With a budget of tokens.
    #[must_use]
    pub fn token_budget(self, budget: TokenBudget) -> Self {
        Self { token_budget: Some(budget), ..self }
    }

    /// With how long the caller waits.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
    }

    /// With what goes to the primary alone.
    #[must_use]
    pub fn forwarding(self, forwarded: Forwarded) -> Self {
        Self { forwarded, ..self }
    }

    /// The model that is to answer, where the request names one.
    pub fn model_name(&self) -> Option<&str> {
        self.fields.get("model")?.as_str()
    }

    /// The most tokens of the answer, where the request says so.
    pub fn most_tokens(&self) -> Option<u64> {
        MAX_TOKENS.iter().find_map(|name| self.fields.get(*name)?.as_u64())
    }
}
