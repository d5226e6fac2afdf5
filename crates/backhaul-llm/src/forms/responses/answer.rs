//! A chat completion as a response.

use serde_json::{Map, Value, json};

use super::super::blocks::{Block, Blocks, Sort};
use super::super::stamp::Stamp;
use crate::completion::CompletionResult;
use crate::error::LlmError;
use crate::finish_reason::FinishReason;

/// What the answer repeats of the request, and what it says where the request does not.
fn defaults() -> Value {
    json!({
        "background": false, "instructions": null, "max_output_tokens": null,
        "max_tool_calls": null, "metadata": {}, "parallel_tool_calls": true,
        "previous_response_id": null, "reasoning": { "effort": null, "summary": null },
        "service_tier": "default", "store": false, "temperature": null,
        "text": { "format": { "type": "text" } }, "tool_choice": "auto", "tools": [],
        "top_logprobs": 0, "top_p": null, "truncation": "disabled", "user": null,
    })
}

pub(in super::super) fn answer(
    told: &Map<String, Value>,
    answer: &CompletionResult,
    stamp: &Stamp,
) -> Result<Value, LlmError> {
    let blocks = Blocks::new(&stamp.id, false).of_message(answer.message().as_json())?;
    let finish = answer.finish_reason();
    let last = blocks.len().saturating_sub(1);
    let output = blocks.iter().enumerate().map(|(index, block)| {
        // Only the last one can have been cut short.
        let finish = finish.as_ref().filter(|_| index == last);
        item(block, index, stamp, status(finish))
    });
    let mut response = Response::new(told, stamp);
    response.model = answer.model().to_owned();
    response.output = output.collect();
    response.usage = usage(answer.body());
    Ok(response.ended(finish.as_ref()))
}

/// A response, so far.
pub(super) struct Response {
    told: Map<String, Value>,
    stamp: Stamp,
    /// The model that answers.
    pub(super) model: String,
    /// The items that are whole.
    pub(super) output: Vec<Value>,
    pub(super) usage: Value,
}

impl Response {
    pub(super) fn new(told: &Map<String, Value>, stamp: &Stamp) -> Self {
        let told = told.clone();
        let model = told.get("model").and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { told, stamp: stamp.clone(), model, output: Vec::new(), usage: Value::Null }
    }

    pub(super) fn in_progress(&self) -> Value {
        self.to_json("in_progress", &Value::Null, &Value::Null)
    }

    /// The model has stopped.
    pub(super) fn ended(&self, finish: Option<&FinishReason>) -> Value {
        let details = match finish {
            Some(FinishReason::Length) => json!({ "reason": "max_output_tokens" }),
            Some(FinishReason::ContentFilter) => json!({ "reason": "content_filter" }),
            _ => Value::Null,
        };
        self.to_json(status(finish), &details, &Value::Null)
    }

    /// The answer broke off.
    pub(super) fn failed(&self, error: &LlmError) -> Value {
        let error = json!({ "code": "server_error", "message": error.message() });
        self.to_json("failed", &Value::Null, &error)
    }

    fn to_json(&self, status: &str, incomplete_details: &Value, error: &Value) -> Value {
        let head = json!({
            "id": format!("resp_{}", self.stamp.id), "object": "response",
            "created_at": self.stamp.created, "status": status, "error": error,
            "incomplete_details": incomplete_details, "model": self.model,
            "output": self.output, "usage": self.usage,
        });
        let (Value::Object(mut all), Value::Object(told)) = (head, defaults()) else {
            return Value::Null;
        };
        all.extend(told);
        let said = self.told.iter().filter(|(name, value)| {
            // Which model has answered, and that nothing is kept, is not the request's to say.
            *name != "model" && *name != "store" && !value.is_null()
        });
        all.extend(said.map(|(name, value)| (name.clone(), value.clone())));
        Value::Object(all)
    }
}

/// The status of a response, and of its items.
pub(super) fn status(finish: Option<&FinishReason>) -> &'static str {
    match finish {
        Some(FinishReason::Length | FinishReason::ContentFilter) => "incomplete",
        _ => "completed",
    }
}

/// What the model said, as an item of the output.
pub(super) fn item(block: &Block, index: usize, stamp: &Stamp, status: &str) -> Value {
    let id = item_id(block.sort, index, stamp);
    match part(block.sort, &block.text) {
        None => json!({
            "id": id, "type": "function_call", "status": status, "call_id": block.id,
            "name": block.name, "arguments": block.text,
        }),
        Some(part) => {
            // One that has just begun has no part yet.
            let content = if status == "in_progress" { Vec::new() } else { vec![part] };
            json!({
                "id": id, "type": "message", "status": status, "role": "assistant",
                "content": content,
            })
        }
    }
}

pub(super) fn item_id(sort: Sort, index: usize, stamp: &Stamp) -> String {
    let kind = if sort == Sort::Call { "fc" } else { "msg" };
    format!("{kind}_{}_{index}", stamp.id)
}

/// The part of a message. `None`: it is a call.
pub(super) fn part(sort: Sort, text: &str) -> Option<Value> {
    match sort {
        Sort::Call => None,
        Sort::Refusal => Some(json!({ "type": "refusal", "refusal": text })),
        Sort::Text | Sort::Thought => Some(json!({
            "type": "output_text", "text": text, "annotations": [], "logprobs": [],
        })),
    }
}

/// How many tokens it took, of an answer or of a chunk. `null`: it does not say.
pub(super) fn usage(body: &Map<String, Value>) -> Value {
    let Some(usage) = body.get("usage").filter(|it| it.is_object()) else { return Value::Null };
    let tokens = |path: &str| usage.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let (input, output) = (tokens("/prompt_tokens"), tokens("/completion_tokens"));
    json!({
        "input_tokens": input,
        "input_tokens_details": {
            "cached_tokens": tokens("/prompt_tokens_details/cached_tokens"),
            "cache_write_tokens": 0,
        },
        "output_tokens": output,
        "output_tokens_details": {
            "reasoning_tokens": tokens("/completion_tokens_details/reasoning_tokens"),
        },
        "total_tokens": input.saturating_add(output),
    })
}
