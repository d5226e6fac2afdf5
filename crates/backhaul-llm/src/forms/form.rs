//! The forms, and a request in one of them.

use serde_json::{Map, Value, json};

use super::conversation::{invalid, take};
use super::events::{EventWriter, FormEvents};
use super::stamp::Stamp;
use super::{chat, completions, errors, messages, responses};
use crate::chunk_stream::ChunkStream;
use crate::completion::CompletionResult;
use crate::error::LlmError;
use crate::request::ChatRequest;

/// A form in which a client asks a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// OpenAI's chat completions: `POST /v1/chat/completions`.
    ChatCompletions,
    /// OpenAI's responses: `POST /v1/responses`.
    Responses,
    /// Anthropic's messages: `POST /v1/messages`.
    Messages,
    /// OpenAI's completions from before there were chats: `POST /v1/completions`.
    Completions,
}

/// A request in one of the forms, as a chat, and what is needed to answer in that form.
///
/// ```
/// use backhaul_llm::{CompletionResult, Form, Metadata, Stamp};
/// use serde_json::json;
/// let body = json!({ "model": "gpt-5", "input": "Is it warm?", "max_output_tokens": 50 });
/// let request = Form::Responses.read(body).unwrap();
/// assert_eq!(request.chat.to_json()["messages"][0]["content"], "Is it warm?");
///
/// let answer = json!({ "model": "tiny", "choices": [{
///     "message": { "role": "assistant", "content": "Yes." }, "finish_reason": "stop",
/// }]});
/// let answer = CompletionResult::from_json(answer, Metadata::of_model("tiny")).unwrap();
/// let stamp = Stamp { id: "0b7e".to_owned(), created: 1_795_000_000 };
/// let response = request.answer(&answer, &stamp).unwrap();
/// assert_eq!(response["output"][0]["content"][0]["text"], "Yes.");
/// assert_eq!(response["model"], "tiny");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FormRequest {
    form: Form,
    /// What the model is asked.
    pub chat: ChatRequest,
    /// Whether the answer is to come in pieces.
    pub wants_stream: bool,
    /// What a chat has no place for, and the model is not told, such as `reasoning items`.
    pub left_out: Vec<String>,
    /// What the answer takes from the request.
    told: Map<String, Value>,
}

impl Form {
    /// The form of a path, such as `/v1/responses`.
    pub fn of_path(path: &str) -> Option<Self> {
        match path {
            "/v1/chat/completions" => Some(Form::ChatCompletions),
            "/v1/responses" => Some(Form::Responses),
            "/v1/messages" => Some(Form::Messages),
            "/v1/completions" => Some(Form::Completions),
            _ => None,
        }
    }

    /// Reads a request. Fields that the form does not know go to the model as they are.
    ///
    /// # Errors
    /// [`LlmErrorKind::Invalid`](crate::LlmErrorKind::Invalid) where it is not of this form, or
    /// wants what only the cloud can do, such as going on from a response that the cloud keeps.
    pub fn read(self, body: Value) -> Result<FormRequest, LlmError> {
        let Value::Object(mut fields) = body else {
            return Err(invalid("the request is no JSON object"));
        };
        let wants_stream = take(&mut fields, "stream") == Some(Value::Bool(true));
        let mut request = match self {
            Form::ChatCompletions => {
                let chat = ChatRequest::from_json(Value::Object(fields))?;
                FormRequest::new(self, chat, Map::new(), Vec::new())
            }
            Form::Responses => responses::read(fields)?,
            Form::Messages => messages::read(fields)?,
            Form::Completions => completions::read(fields)?,
        };
        request.wants_stream = wants_stream;
        if wants_stream && self != Form::ChatCompletions {
            let options = json!({ "include_usage": true });
            request.chat = request.chat.field("stream_options", options);
        }
        Ok(request)
    }

    /// A request without what a model here has said earlier and the cloud refuses: thoughts
    /// that Anthropic has not signed. `None`: it has nothing of that, and can go on as it is.
    pub fn cleaned_for_cloud(self, body: &Map<String, Value>) -> Option<Map<String, Value>> {
        match self {
            Form::Messages => messages::without_unsigned_thoughts(body),
            Form::ChatCompletions | Form::Responses | Form::Completions => None,
        }
    }

    /// An error in this form: the status and the body.
    pub fn error(self, error: &LlmError) -> (u16, Value) {
        match self {
            Form::Messages => (errors::anthropic_status(error), errors::anthropic(error)),
            _ => (errors::status(error), error.to_json()),
        }
    }
}

impl FormRequest {
    pub(super) fn new(
        form: Form,
        chat: ChatRequest,
        told: Map<String, Value>,
        left_out: Vec<String>,
    ) -> Self {
        Self { form, chat, wants_stream: false, left_out, told }
    }

    /// The form it is in.
    pub fn form(&self) -> Form {
        self.form
    }

    /// A whole answer in the form of the request.
    ///
    /// # Errors
    /// [`LlmErrorKind::Garbled`](crate::LlmErrorKind::Garbled) where the model calls a tool
    /// without a name.
    pub fn answer(&self, answer: &CompletionResult, stamp: &Stamp) -> Result<Value, LlmError> {
        match self.form {
            Form::ChatCompletions => Ok(Value::Object(answer.body().clone())),
            Form::Responses => responses::answer(&self.told, answer, stamp),
            Form::Messages => messages::answer(&self.told, answer, stamp),
            Form::Completions => Ok(completions::answer(&self.told, answer, stamp)),
        }
    }

    /// An answer in pieces in the form of the request, as the body that goes out.
    pub fn events(&self, chunks: ChunkStream, stamp: &Stamp) -> FormEvents {
        let (told, stamp) = (self.told.clone(), stamp.clone());
        let writer: Box<dyn EventWriter> = match self.form {
            Form::ChatCompletions => Box::new(chat::Writer),
            Form::Responses => Box::new(responses::Writer::new(told, stamp)),
            Form::Messages => Box::new(messages::Writer::new(&told, stamp)),
            Form::Completions => Box::new(completions::Writer::new(told, stamp)),
        };
        FormEvents::new(chunks, writer)
    }
}
