//! A chat completion as a message.

use serde_json::{Map, Value, json};

use super::super::blocks::{Block, Blocks, Sort};
use super::super::stamp::Stamp;
use crate::completion::CompletionResult;
use crate::error::LlmError;
use crate::finish_reason::FinishReason;
use crate::tool::ToolCall;

pub(in super::super) fn answer(
    told: &Map<String, Value>,
    answer: &CompletionResult,
    stamp: &Stamp,
) -> Result<Value, LlmError> {
    let blocks = Blocks::new(&stamp.id, wants_thoughts(told));
    let blocks = blocks.of_message(answer.message().as_json())?;
    let has_calls = blocks.iter().any(|block| block.sort == Sort::Call);
    let content = blocks.iter().map(content_block).collect();
    let finish = answer.finish_reason();
    let stop_reason = finish.map(|finish| stop_reason(&finish, has_calls).to_owned());
    Ok(message(answer.model(), stamp, content, stop_reason.as_deref(), &usage(answer.body())))
}

/// Whether a request asks for what the model thinks before it speaks.
pub(super) fn wants_thoughts(told: &Map<String, Value>) -> bool {
    let thinking = told.get("thinking").and_then(|it| it.get("type")?.as_str());
    thinking.is_some_and(|it| it != "disabled")
}

pub(super) fn message(
    model: &str,
    stamp: &Stamp,
    content: Vec<Value>,
    stop_reason: Option<&str>,
    usage: &Value,
) -> Value {
    json!({
        "id": format!("msg_{}", stamp.id), "type": "message", "role": "assistant",
        "model": model, "content": content, "stop_reason": stop_reason,
        "stop_sequence": null, "usage": usage,
    })
}

/// A block of the content.
pub(super) fn content_block(block: &Block) -> Value {
    match block.sort {
        Sort::Text | Sort::Refusal => json!({ "type": "text", "text": block.text }),
        // Only Anthropic can sign it.
        Sort::Thought => json!({ "type": "thinking", "thinking": block.text, "signature": "" }),
        Sort::Call => {
            let call = json!({ "function": { "name": block.name, "arguments": block.text } });
            let input = ToolCall::from_json(&call).map(|call| call.arguments).unwrap_or_default();
            json!({ "type": "tool_use", "id": block.id, "name": block.name, "input": input })
        }
    }
}

/// Why the model stopped. Chat does not tell a stop sequence from an end.
pub(super) fn stop_reason(finish: &FinishReason, has_calls: bool) -> &str {
    match finish {
        // Some servers say so of an answer that calls tools, and a client acts on the reason.
        FinishReason::Stop if has_calls => "tool_use",
        FinishReason::Stop => "end_turn",
        FinishReason::Length => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::ContentFilter => "refusal",
        FinishReason::Other(name) => name,
    }
}

/// How many tokens it took, of an answer or of a chunk.
pub(super) fn usage(body: &Map<String, Value>) -> Value {
    let usage = body.get("usage").unwrap_or(&Value::Null);
    let tokens = |path: &str| usage.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let cached = tokens("/prompt_tokens_details/cached_tokens");
    json!({
        // Without what was read from a cache.
        "input_tokens": tokens("/prompt_tokens").saturating_sub(cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": tokens("/completion_tokens"),
    })
}
