//! The forms in which clients ask, and what the clients of OpenAI and Anthropic make of them.

mod anthropic;
mod openai;
mod probe;
mod properties;
mod responses;

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use backhaul_llm::{
    ChunkStream, CompletionResult, FormRequest, LlmError, LlmErrorKind, Metadata, Stamp,
    StreamChunk,
};
use futures_core::Stream;
use serde_json::{Value, json};

type Piece = Result<StreamChunk, LlmError>;

/// Pieces that are there already.
struct Pieces(VecDeque<Piece>);

impl Stream for Pieces {
    type Item = Piece;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Piece>> {
        Poll::Ready(self.0.pop_front())
    }
}

fn stamp() -> Stamp {
    Stamp { id: "0b7e".to_owned(), created: 1_795_000_000 }
}

/// A whole answer of a model that only knows chat.
fn chat_answer(message: Value, finish: &str) -> CompletionResult {
    let body = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "tiny",
        "choices": [{ "index": 0, "message": message, "finish_reason": finish }],
        "usage": { "prompt_tokens": 18, "completion_tokens": 9, "total_tokens": 27,
            "prompt_tokens_details": { "cached_tokens": 4 } },
    });
    CompletionResult::from_json(body, Metadata::of_model("tiny")).unwrap()
}

/// A chunk of one.
fn chunk(delta: Value, finish: Option<&str>) -> Piece {
    StreamChunk::from_json(json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "tiny",
        "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }],
    }))
}

/// The last chunk, which says how many tokens it took.
fn usage_chunk() -> Piece {
    StreamChunk::from_json(json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "tiny",
        "choices": [], "usage": { "prompt_tokens": 18, "completion_tokens": 9, "total_tokens": 27 },
    }))
}

/// An answer that says some words and calls two tools, in pieces.
fn words_and_calls() -> Vec<Piece> {
    let call = |index: u64, id: &str, name: &str| {
        json!({ "tool_calls": [{ "index": index, "id": id, "type": "function",
            "function": { "name": name, "arguments": "" } }] })
    };
    let more = |index: u64, text: &str| json!({ "tool_calls": [{ "index": index, "function": { "arguments": text } }] });
    vec![
        chunk(json!({ "role": "assistant", "content": null }), None),
        chunk(json!({ "content": "I look" }), None),
        chunk(json!({ "content": " it up." }), None),
        chunk(call(0, "a1", "look_up"), None),
        chunk(more(0, "{\"name\":"), None),
        chunk(more(0, "\"né\"}"), None),
        chunk(call(1, "a2", "now"), None),
        chunk(json!({}), Some("tool_calls")),
        usage_chunk(),
    ]
}

/// The same as a whole.
fn words_and_calls_as_one() -> CompletionResult {
    let call = |id: &str, name: &str, arguments: &str| {
        json!({ "id": id, "type": "function",
            "function": { "name": name, "arguments": arguments } })
    };
    let calls = [call("a1", "look_up", "{\"name\":\"né\"}"), call("a2", "now", "")];
    let message = json!({
        "role": "assistant", "content": "I look it up.", "tool_calls": calls,
    });
    chat_answer(message, "tool_calls")
}

fn broken_off() -> Piece {
    Err(LlmError::new(LlmErrorKind::BrokenOff, "the server went away"))
}

/// The body of an answer in pieces.
fn events_of(request: &FormRequest, pieces: Vec<Piece>) -> String {
    let chunks = ChunkStream::new(Pieces(pieces.into()), Metadata::of_model("tiny"));
    let mut events = request.events(chunks, &stamp());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut body = String::new();
        while let Some(text) = events.next().await {
            body.push_str(std::str::from_utf8(&text).unwrap());
        }
        body
    })
}
