//! A call on its way to the owner of a model.

use llama_cpp_2::token::LlamaToken;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use crate::error::{LlmError, LlmErrorKind};
use crate::llama_cpp::event::Event;
use crate::llama_cpp::model::Model;
use crate::llama_cpp::sampling::Sampling;
use crate::offline::slots::Slot;
use crate::request::ChatRequest;

/// What is to be computed.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) prompt: Vec<LlamaToken>,
    pub(super) sampling: Sampling,
    pub(super) stops: Vec<String>,
    /// The most tokens of the answer.
    pub(super) most_tokens: usize,
}

impl Work {
    /// What a request asks for, with its prompt.
    pub(super) fn of(
        request: &ChatRequest,
        prompt: Vec<LlamaToken>,
        model: &Model,
    ) -> Result<Self, LlmError> {
        let most_tokens = most_tokens(request)?;
        let (found, fits) = (prompt.len(), model.context_tokens);
        if found >= fits {
            return Err(LlmError::new(
                LlmErrorKind::ContextLength,
                format!(
                    "the prompt has {found} tokens, and the context {fits}: expected at least one \
                     token less, to answer in; send less, or open the model with a larger context"
                ),
            ));
        }
        let sampling = Sampling::of(request, &model.weights)?;
        Ok(Self { prompt, sampling, stops: stops(request)?, most_tokens })
    }
}

/// Where an answer goes. It is closed where nobody waits for it any more.
pub(super) type Events = UnboundedSender<Result<Event, LlmError>>;

/// A call whose turn it is.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) work: Work,
    pub(super) events: Events,
    /// That it is the call's turn.
    pub(super) slot: Slot,
}

fn most_tokens(request: &ChatRequest) -> Result<usize, LlmError> {
    match request.most_tokens() {
        Some(0) => Err(LlmError::new(
            LlmErrorKind::Invalid,
            "the most tokens of the answer are 0: expected at least 1",
        )),
        most => Ok(most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX)),
    }
}

/// The texts before which the answer ends.
fn stops(request: &ChatRequest) -> Result<Vec<String>, LlmError> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let stops = match request.fields.get("stop") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(stops)) => stops.iter().map(text).collect(),
        Some(stop) => text(stop).map(|stop| vec![stop]),
    };
    let stops = stops.filter(|stops| stops.iter().all(|stop| !stop.is_empty()));
    stops.ok_or_else(|| {
        let message = "`stop` is no text: expected one that is not empty, or a list of such";
        LlmError::new(LlmErrorKind::Invalid, message)
    })
}
