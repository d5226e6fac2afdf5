//! Chat completions, whole and streamed.

use serde_json::{Value, json};

use super::events::{Events, data};
use super::form::Asked;
use super::scenario::LlmScenario;
use super::{CLOUD_TEXT, CLOUD_TOKENS};

/// The pieces of what a tool is called with.
const ARGUMENTS: [&str; 3] = ["{\"city\"", ": \"Be", "rn\"}"];
/// The pieces of what is thought.
const REASONING: [&str; 2] = ["The network", " is up."];

/// A chat completion.
pub(super) fn whole(scenario: LlmScenario, asked: &Asked) -> Value {
    let choice = json!({
        "index": 0,
        "message": message(scenario, asked),
        "logprobs": null,
        "finish_reason": finish_reason(scenario),
    });
    let mut completion = envelope("chat.completion", asked);
    completion["choices"] = json!([choice]);
    completion["usage"] = usage();
    completion
}

/// The same as a stream.
pub(super) fn events(scenario: LlmScenario, asked: &Asked) -> Events {
    let part = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
        chunk(asked, json!([choice]))
    };
    let mut finish = vec![part(json!({}), json!(finish_reason(scenario)))];
    if asked.wants_usage() || scenario == LlmScenario::UsageLast {
        let mut last = envelope("chat.completion.chunk", asked);
        last["choices"] = json!([]);
        last["usage"] = usage();
        finish.push(data(&last));
    }
    let error = json!({"error": {
        "message": "The server had an error while it answered.",
        "type": "server_error",
        "param": null,
        "code": null,
    }});
    Events {
        opening: vec![part(json!({"role": "assistant", "content": ""}), Value::Null)],
        tokens: deltas(scenario, asked).into_iter().map(|it| part(it, Value::Null)).collect(),
        finish,
        done: vec!["data: [DONE]\n\n".to_owned()],
        error: data(&error),
    }
}

/// A chunk that has no choices, and a field of its own, as some clouds send them.
pub(super) fn empty_chunk(asked: &Asked) -> String {
    chunk(asked, json!([]))
}

fn chunk(asked: &Asked, choices: Value) -> String {
    let mut chunk = envelope("chat.completion.chunk", asked);
    chunk["choices"] = choices;
    data(&chunk)
}

fn message(scenario: LlmScenario, asked: &Asked) -> Value {
    match scenario {
        LlmScenario::Refusal => json!({"role": "assistant", "content": "", "refusal": null}),
        LlmScenario::ToolCall => {
            let call = tool_call(asked, &ARGUMENTS.concat());
            json!({"role": "assistant", "content": null, "tool_calls": [call]})
        }
        LlmScenario::Reasoning => json!({
            "role": "assistant",
            "content": CLOUD_TEXT,
            "reasoning_content": REASONING.concat(),
        }),
        _ => json!({"role": "assistant", "content": CLOUD_TEXT, "refusal": null}),
    }
}

fn deltas(scenario: LlmScenario, asked: &Asked) -> Vec<Value> {
    let text = CLOUD_TOKENS.iter().map(|token| json!({"content": token}));
    match scenario {
        LlmScenario::Refusal => Vec::new(),
        LlmScenario::ToolCall => {
            let mut call = tool_call(asked, "");
            call["index"] = json!(0);
            let arguments =
                ARGUMENTS.iter().map(|it| json!({"index": 0, "function": {"arguments": it}}));
            let calls = std::iter::once(call).chain(arguments);
            calls.map(|call| json!({"tool_calls": [call]})).collect()
        }
        LlmScenario::Reasoning => {
            let thought = REASONING.iter().map(|token| json!({"reasoning_content": token}));
            thought.chain(text).collect()
        }
        _ => text.collect(),
    }
}

fn tool_call(asked: &Asked, arguments: &str) -> Value {
    json!({
        "id": "call_cloud",
        "type": "function",
        "function": {"name": asked.tool(), "arguments": arguments},
    })
}

fn finish_reason(scenario: LlmScenario) -> &'static str {
    match scenario {
        LlmScenario::Refusal => "content_filter",
        LlmScenario::ToolCall => "tool_calls",
        _ => "stop",
    }
}

/// What is outside of the choices. The fingerprint is no ASCII, so that a cut may fall into
/// a character.
fn envelope(object: &str, asked: &Asked) -> Value {
    json!({
        "id": "chatcmpl-cloud",
        "object": object,
        "created": 1_700_000_000,
        "model": asked.model(),
        "system_fingerprint": "fp_\u{e9}\u{1f600}",
    })
}

fn usage() -> Value {
    json!({"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16})
}
