//! Requests that are made to fit models which only count.

mod calls;
mod downgrading;
mod properties;
mod shortening;

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value, json};

use super::{Fitted, fit};
use crate::{
    ChatRequest, ChunkStream, CompletionResult, LlmClient, LlmError, LlmErrorKind, LlmFuture,
    Message, ModelCapabilities, TokenCount, ToolCall, ToolDefinition,
};

/// A model that counts, by default a byte of the JSON as a token.
struct Counter {
    can: ModelCapabilities,
    tokens: fn(&ChatRequest) -> u64,
    counts: AtomicUsize,
}

impl Counter {
    fn new(can: ModelCapabilities) -> Self {
        Self { can, tokens, counts: AtomicUsize::new(0) }
    }

    fn of(context: u64) -> Self {
        Self::new(ModelCapabilities::ALL.with_context_tokens(context))
    }

    fn counts(&self) -> usize {
        self.counts.load(Ordering::Relaxed)
    }
}

impl LlmClient for Counter {
    fn name(&self) -> &str {
        "counter"
    }

    fn complete<'a>(&'a self, _: &'a ChatRequest) -> LlmFuture<'a, CompletionResult> {
        Box::pin(async { Err(LlmError::new(LlmErrorKind::Unsupported, "it only counts")) })
    }

    fn stream<'a>(&'a self, _: &'a ChatRequest) -> LlmFuture<'a, ChunkStream> {
        Box::pin(async { Err(LlmError::new(LlmErrorKind::Unsupported, "it only counts")) })
    }

    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, TokenCount> {
        self.counts.fetch_add(1, Ordering::Relaxed);
        let tokens = (self.tokens)(request);
        Box::pin(async move { Ok(TokenCount { tokens, is_exact: true }) })
    }

    fn capabilities(&self) -> LlmFuture<'_, ModelCapabilities> {
        Box::pin(async { Ok(self.can) })
    }
}

fn tokens(request: &ChatRequest) -> u64 {
    Value::Object(request.to_json()).to_string().len() as u64
}

/// What llama-server, Ollama and their like can do with a model that knows tools.
const LOCAL: ModelCapabilities =
    ModelCapabilities { vision: true, tools: true, json_schema: true, ..ModelCapabilities::TEXT };

async fn fitted(request: &ChatRequest, can: ModelCapabilities) -> Fitted {
    fit(request, &Counter::new(can)).await.unwrap()
}

/// The messages, and what was done, in a context of so many tokens.
async fn within(context: u64, messages: &[Message]) -> (Vec<Message>, Vec<String>) {
    let fitted = fit(&ChatRequest::new(messages.to_vec()), &Counter::of(context)).await.unwrap();
    (fitted.request.messages, fitted.changes.notes().to_vec())
}

fn turns(count: usize) -> Vec<Message> {
    let turn = |at: usize| {
        [Message::user(format!("question {at}")), Message::assistant(format!("answer {at}"))]
    };
    let last = Message::user("the last question");
    let turns = (0..count).flat_map(turn);
    [Message::system("Be brief.")].into_iter().chain(turns).chain([last]).collect()
}

fn calling(ids: &[&str]) -> Message {
    let calls: Vec<_> = ids.iter().map(|id| ToolCall::new(*id, "read", Map::new())).collect();
    Message::assistant("").with_tool_calls(&calls)
}

fn called(id: &str, result: &str) -> [Message; 2] {
    [calling(&[id]), Message::tool_result(id, result)]
}

fn tool(name: &str) -> ToolDefinition {
    let place = json!({ "type": "string", "description": "Where." });
    ToolDefinition::new(name, "Reads.").parameters(json!({
        "type": "object",
        "properties": { "place": place, "description": { "$ref": "#/$defs/text" } },
        "$defs": { "text": { "type": "string", "description": "A text." } },
    }))
}

fn forcing(choice: Value) -> ChatRequest {
    ChatRequest::new(turns(1)).tools(&[tool("read"), tool("write")]).field("tool_choice", choice)
}

fn named(name: &str) -> Value {
    json!({ "type": "function", "function": { "name": name } })
}
