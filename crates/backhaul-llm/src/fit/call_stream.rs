//! A stream of JSON that becomes one of a call.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use serde_json::{Map, Value, json};

use super::forced_call::{ForcedCall, begins, finish};
use crate::chunk::StreamChunk;
use crate::chunk_stream::ChunkStream;
use crate::error::LlmError;

/// Pieces of arguments as they come, where it is known of which tool; else the call as a whole
/// when the model has said why it stopped.
pub(super) struct CallStream {
    stream: ChunkStream,
    forced: ForcedCall,
    /// What each choice is saying.
    said: BTreeMap<u64, Said>,
}

enum Said {
    /// Text that is held back: it may be a call as a whole.
    Held(String),
    Call,
    /// Something else.
    Text,
}

impl CallStream {
    pub(super) fn new(stream: ChunkStream, forced: ForcedCall) -> Self {
        Self { stream, forced, said: BTreeMap::new() }
    }

    fn turn(&mut self, mut chunk: StreamChunk) -> StreamChunk {
        let choices = chunk.as_json_mut().get_mut("choices").and_then(Value::as_array_mut);
        for choice in choices.into_iter().flatten() {
            self.turn_choice(choice);
        }
        chunk
    }

    fn turn_choice(&mut self, choice: &mut Value) {
        let place = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
        let is_end = choice.get("finish_reason").is_some_and(Value::is_string);
        let delta = choice.get_mut("delta").and_then(Value::as_object_mut);
        let text = delta.and_then(|delta| delta.remove("content"));
        let text = text.as_ref().and_then(Value::as_str).unwrap_or_default();
        let said = self.said.entry(place).or_insert_with(|| Said::Held(String::new()));
        match said {
            Said::Text if !text.is_empty() => set(choice, "content", text.into()),
            Said::Call if !text.is_empty() => set(choice, "tool_calls", json!([more(text)])),
            Said::Text | Said::Call => {}
            Said::Held(held) => {
                held.push_str(text);
                // Of one tool it is known by the first character; of several at the end.
                let is_known = self.forced.only().is_some() && !held.trim_start().is_empty();
                if is_known || (is_end && !held.is_empty()) {
                    *said = let_go(&self.forced, choice, place, held);
                }
            }
        }
        if is_end && matches!(said, Said::Call) {
            finish(choice);
        }
    }
}

/// Says what was held back, as a call where it is one.
fn let_go(forced: &ForcedCall, choice: &mut Value, place: u64, held: &str) -> Said {
    let held = if begins(held) { held.trim_start() } else { held };
    let Some(Value::Object(mut call)) = forced.call(place, held) else {
        set(choice, "content", held.into());
        return Said::Text;
    };
    call.insert("index".to_owned(), 0.into());
    set(choice, "tool_calls", json!([call]));
    Said::Call
}

/// A piece of arguments after the first.
fn more(arguments: &str) -> Value {
    json!({ "index": 0, "function": { "arguments": arguments } })
}

/// Sets a field of what a piece adds.
fn set(choice: &mut Value, field: &str, value: Value) {
    let Some(choice) = choice.as_object_mut() else { return };
    let delta = choice.entry("delta").or_insert_with(|| Value::Object(Map::new()));
    if let Some(delta) = delta.as_object_mut() {
        delta.insert(field.to_owned(), value);
    }
}

impl Stream for CallStream {
    type Item = Result<StreamChunk, LlmError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = Pin::new(&mut self.stream).poll_next(context);
        polled.map(|next| next.map(|chunk| chunk.map(|chunk| self.turn(chunk))))
    }
}
