//! A model that is loaded: its template and its tokens.

use std::path::Path;

use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::model::{LlamaChatMessage, LlamaChatTemplate, LlamaModel};
use llama_cpp_2::token::LlamaToken;

use crate::error::{LlmError, LlmErrorKind};
use crate::llama_cpp::backend::{backend, with_errors};
use crate::llama_cpp::gguf;
use crate::llama_cpp::options::LlamaCppOptions;
use crate::message::{Message, Role};
use crate::request::ChatRequest;

/// A model that is loaded, and may be asked from any thread.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) weights: LlamaModel,
    template: LlamaChatTemplate,
    /// How many tokens prompt and answer may have together.
    pub(super) context_tokens: usize,
}

impl Model {
    /// Loads a model.
    pub(super) fn load(path: &Path, options: &LlamaCppOptions) -> Result<Self, LlmError> {
        let failed = |what: String| {
            let message = format!("the model {} {what}", path.display());
            LlmError::new(LlmErrorKind::Engine, message)
        };
        let architecture = gguf::architecture(path)?;
        let backend = backend()?;
        let parameters = LlamaModelParams::default().with_n_gpu_layers(0);
        let (weights, errors) =
            with_errors(|| LlamaModel::load_from_file(backend, path, &parameters));
        let weights = weights.map_err(|error| {
            let reason = if errors.is_empty() { error.to_string() } else { errors };
            failed(format!(
                "of architecture {architecture} cannot be loaded by this version of llama.cpp: \
                 {reason}; expected a whole GGUF file of a language model that it knows"
            ))
        })?;
        let template = match &options.chat_template {
            Some(given) => LlamaChatTemplate::new(given)
                .map_err(|_| failed("was given a chat template with a NUL in it".into()))?,
            None => weights.chat_template(None).map_err(|_| {
                failed(
                    "has no chat template: expected a model that was made for conversations; \
                     give the template that it was trained with, such as chatml"
                        .into(),
                )
            })?,
        };
        let context_tokens = options.context_for(weights.n_ctx_train()).get() as usize;
        let model = Self { weights, template, context_tokens };
        model.templated(&chat_of(&[Message::user("?")])?).map_err(|_| {
            failed(
                "has a chat template that llama.cpp does not recognise, or was given one: \
                 give the name of one that it knows and that the model was trained with, such \
                 as chatml"
                    .into(),
            )
        })?;
        Ok(model)
    }

    /// The tokens of a conversation, up to where the model's answer begins.
    pub(super) fn tokens(&self, chat: &[LlamaChatMessage]) -> Result<Vec<LlamaToken>, LlmError> {
        let text = self.templated(chat)?;
        Ok(self.weights.vocab().tokenize(text.as_bytes(), true, true))
    }

    fn templated(&self, chat: &[LlamaChatMessage]) -> Result<String, LlmError> {
        let text = self.weights.apply_chat_template(&self.template, chat, true);
        text.map_err(|error| {
            let message = format!("the chat template cannot be applied to the messages: {error}");
            LlmError::new(LlmErrorKind::Engine, message)
        })
    }
}

/// The conversation of a request.
///
/// # Errors
/// [`LlmErrorKind::Unsupported`] where the request asks for what a text model without tools
/// cannot do, [`LlmErrorKind::Invalid`] where there is nothing to say.
pub(super) fn conversation(request: &ChatRequest) -> Result<Vec<LlamaChatMessage>, LlmError> {
    let unsupported = |what: &str| {
        let message = format!("the model in this process {what}");
        Err(LlmError::new(LlmErrorKind::Unsupported, message))
    };
    let tools = request.fields.get("tools").and_then(|tools| tools.as_array());
    let choice = request.fields.get("tool_choice").and_then(|choice| choice.as_str());
    if tools.is_some_and(|tools| !tools.is_empty()) && choice != Some("none") {
        return unsupported("calls no tools: expected a request without `tools`");
    }
    if request.fields.get("n").is_some_and(|count| count.as_u64() != Some(1)) {
        return unsupported("gives one answer: expected `n` to be 1");
    }
    let parts = request.messages.iter().filter_map(|it| it.as_json().get("content")?.as_array());
    let types = parts.flatten().map(|part| part.get("type").and_then(|kind| kind.as_str()));
    if let Some(kind) = types.into_iter().find(|kind| *kind != Some("text")) {
        let kind = kind.unwrap_or("no type");
        return unsupported(&format!("reads text alone: found a part of type {kind}"));
    }
    chat_of(&request.messages)
}

/// In the three roles that each template knows.
fn chat_of(messages: &[Message]) -> Result<Vec<LlamaChatMessage>, LlmError> {
    let invalid = |message: &str| LlmError::new(LlmErrorKind::Invalid, message);
    if messages.is_empty() {
        return Err(invalid("the request has no message: expected at least one"));
    }
    let chat = messages.iter().map(|message| {
        let role = match message.role() {
            Role::System | Role::Developer => "system",
            Role::Assistant => "assistant",
            Role::User | Role::Tool | Role::Other => "user",
        };
        LlamaChatMessage::new(role.to_owned(), message.text())
            .map_err(|_| invalid("a message has a NUL in it: expected text without"))
    });
    chat.collect()
}
