//! An answer in the form of chat completions.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_core::Stream;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::chunk::StreamChunk;
use crate::error::{LlmError, LlmErrorKind};
use crate::llama_cpp::event::{End, Event};

/// The fields that an answer and all its pieces share.
#[derive(Debug)]
pub(super) struct Heading {
    model: String,
    created: u64,
    id: String,
}

impl Heading {
    /// Of an answer that begins now.
    pub(super) fn new(model: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = format!("chatcmpl-{:x}", now.as_nanos());
        Self { model: model.to_owned(), created: now.as_secs(), id }
    }

    /// The answer as a whole.
    pub(super) fn completion(&self, text: String, end: &End) -> Value {
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created,
            "model": self.model, "usage": end.usage(), "choices": [{
                "index": 0, "finish_reason": end.reason.name(), "logprobs": null,
                "message": { "role": "assistant", "content": text },
            }],
        })
    }

    fn piece(&self, choices: Value, usage: Option<Value>) -> Result<StreamChunk, LlmError> {
        let mut piece = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created,
            "model": self.model, "choices": choices,
        });
        if let (Some(usage), Some(fields)) = (usage, piece.as_object_mut()) {
            fields.insert("usage".to_owned(), usage);
        }
        StreamChunk::from_json(piece)
    }
}

/// An answer in pieces. Dropping it stops the model.
pub(super) struct Pieces {
    heading: Heading,
    with_usage: bool,
    events: UnboundedReceiver<Result<Event, LlmError>>,
    ready: VecDeque<Result<StreamChunk, LlmError>>,
    is_over: bool,
}

impl Pieces {
    /// An answer that begins with an event.
    pub(super) fn new(
        heading: Heading,
        with_usage: bool,
        first: Event,
        events: UnboundedReceiver<Result<Event, LlmError>>,
    ) -> Self {
        let ready = VecDeque::new();
        let mut pieces = Self { heading, with_usage, events, ready, is_over: false };
        pieces.push_delta(json!({ "role": "assistant", "content": "" }), None);
        pieces.take(Some(Ok(first)));
        pieces
    }

    fn take(&mut self, event: Option<Result<Event, LlmError>>) {
        match event.unwrap_or_else(|| Err(ended())) {
            Ok(Event::Text(text)) => self.push_delta(json!({ "content": text }), None),
            Ok(Event::End(end)) => {
                self.is_over = true;
                self.push_delta(json!({}), Some(end.reason.name()));
                if self.with_usage {
                    let piece = self.heading.piece(json!([]), Some(end.usage()));
                    self.ready.push_back(piece);
                }
            }
            Err(error) => {
                self.is_over = true;
                self.ready.push_back(Err(error));
            }
        }
    }

    fn push_delta(&mut self, delta: Value, finish_reason: Option<&str>) {
        let choice = json!([{ "index": 0, "delta": delta, "finish_reason": finish_reason }]);
        let piece = self.heading.piece(choice, None);
        self.ready.push_back(piece);
    }
}

impl Stream for Pieces {
    type Item = Result<StreamChunk, LlmError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ready.is_empty() && !self.is_over {
            let event = ready!(self.events.poll_recv(context));
            self.take(event);
        }
        Poll::Ready(self.ready.pop_front())
    }
}

/// The error of a call that the model's thread has dropped.
pub(super) fn ended() -> LlmError {
    LlmError::new(LlmErrorKind::Engine, "the model's thread has ended: open the model again")
}
