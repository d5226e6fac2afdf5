//! An answer in pieces, as servers of OpenAI's protocol give it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::chunk::StreamChunk;
use crate::chunk_stream::Pieces;
use crate::endpoint::Events;
use crate::error::LlmError;

const DONE: &str = "[DONE]";

/// The pieces of an answer. It is whole when the model has said of each choice why it stopped,
/// whatever becomes of the body then.
pub(super) struct ChatPieces {
    events: Events,
    /// Choices of which something came.
    begun: BTreeSet<u64>,
    /// Choices of which the model has said why it stopped.
    finished: BTreeSet<u64>,
}

impl ChatPieces {
    pub(super) fn new(events: Events) -> Self {
        Self { events, begun: BTreeSet::new(), finished: BTreeSet::new() }
    }

    fn is_whole(&self) -> bool {
        !self.finished.is_empty() && self.begun.is_subset(&self.finished)
    }

    fn take(&mut self, chunk: Value) -> Result<StreamChunk, LlmError> {
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            return Err(self.events.reply.error_in_band(&chunk));
        }
        let chunk = StreamChunk::from_json(chunk)?;
        let choices = chunk.as_json().get("choices").and_then(Value::as_array);
        for choice in choices.into_iter().flatten() {
            let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
            self.begun.insert(index);
            if choice.get("finish_reason").is_some_and(Value::is_string) {
                self.finished.insert(index);
            }
        }
        if chunk.is_meaningful() {
            self.events.reply.has_spoken();
        }
        Ok(chunk)
    }
}

impl Pieces for ChatPieces {
    async fn next(mut self) -> Result<Option<(StreamChunk, Self)>, LlmError> {
        let event = match self.events.next().await {
            Ok(Some(event)) => event,
            _ if self.is_whole() => return Ok(None),
            Ok(None) => return Err(self.events.broken_off()),
            Err(error) => return Err(error),
        };
        if event.data.trim() == DONE {
            let is_whole = self.is_whole();
            let broken_off = self.events.broken_off();
            self.events.finish();
            return if is_whole { Ok(None) } else { Err(broken_off) };
        }
        let chunk = self.events.json(&event)?;
        if event.name == "error" && chunk.get("error").is_none() {
            return Err(self.events.reply.error_in_band(&chunk));
        }
        let chunk = self.take(chunk)?;
        Ok(Some((chunk, self)))
    }
}
