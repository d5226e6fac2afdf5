//! What a request asks for.

use serde_json::Value;

use crate::Request;

/// The form in which a model is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Completions,
    /// `/v1/responses`.
    Responses,
    /// `/v1/messages`, which is Anthropic's.
    Messages,
    /// `/v1/embeddings`.
    Embeddings,
    /// `/v1/models`.
    Models,
    /// `/v1/models/{id}`.
    Model(String),
}

impl Form {
    pub(super) fn of(request: &Request) -> Option<Self> {
        let path = request.path().split('?').next().unwrap_or_default();
        match (request.method(), path.strip_prefix("/v1/")?) {
            ("POST", "chat/completions") => Some(Self::Chat),
            ("POST", "completions") => Some(Self::Completions),
            ("POST", "responses") => Some(Self::Responses),
            ("POST", "messages") => Some(Self::Messages),
            ("POST", "embeddings") => Some(Self::Embeddings),
            ("GET", "models") => Some(Self::Models),
            ("GET", path) => Some(Self::Model(path.strip_prefix("models/")?.to_owned())),
            _ => None,
        }
    }
}

/// What a request says.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) form: Form,
    body: Value,
}

impl Asked {
    /// `None`: nothing that a model's server knows.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let form = Form::of(request)?;
        let body = match request.body() {
            [] => Value::Null,
            body => serde_json::from_slice(body).ok()?,
        };
        Some(Self { form, body })
    }

    /// The model it names; that of [`Form::Model`] stands in the path.
    pub(super) fn model(&self) -> &str {
        match &self.form {
            Form::Model(id) => id,
            _ => self.field("/model").as_str().unwrap_or("cloud-model"),
        }
    }

    pub(super) fn is_streamed(&self) -> bool {
        self.field("/stream") == &Value::Bool(true)
    }

    pub(super) fn wants_usage(&self) -> bool {
        self.field("/stream_options/include_usage") == &Value::Bool(true)
    }

    pub(super) fn wants_base64(&self) -> bool {
        self.field("/encoding_format") == "base64"
    }

    /// The first tool that is offered.
    pub(super) fn tool(&self) -> &str {
        self.field("/tools/0/function/name").as_str().unwrap_or("look_up")
    }

    /// How many texts are to be embedded.
    pub(super) fn inputs(&self) -> usize {
        match self.field("/input") {
            Value::Array(inputs) if !inputs.iter().all(Value::is_number) => inputs.len(),
            _ => 1,
        }
    }

    fn field(&self, pointer: &str) -> &Value {
        self.body.pointer(pointer).unwrap_or(&Value::Null)
    }
}
