//! What is answered in the forms beside chat completions: text and figures, without tools.

use serde_json::{Value, json};

use super::events::{Events, data, named};
use super::form::Asked;
use super::{CLOUD_TEXT, CLOUD_TOKENS};

/// What every text is embedded as: numbers that have no rest in 32 bits.
const EMBEDDING: [f32; 4] = [0.25, -0.5, 0.75, 1.5];
/// The same in base64, as little-endian floats of 32 bits.
const EMBEDDING_BASE64: &str = "AACAPgAAAL8AAEA/AADAPw==";

pub(super) fn completion(asked: &Asked) -> Value {
    completion_part(asked, CLOUD_TEXT, json!("stop"))
}

pub(super) fn completion_events(asked: &Asked) -> Events {
    let part = |text: &str, finish: Value| data(&completion_part(asked, text, finish));
    Events {
        opening: Vec::new(),
        tokens: CLOUD_TOKENS.iter().map(|token| part(token, Value::Null)).collect(),
        finish: vec![part("", json!("stop"))],
        done: vec!["data: [DONE]\n\n".to_owned()],
        error: data(
            &json!({"error": {"message": "The server had an error.", "type": "server_error"}}),
        ),
    }
}

fn completion_part(asked: &Asked, text: &str, finish: Value) -> Value {
    json!({
        "id": "cmpl-cloud",
        "object": "text_completion",
        "created": 1_700_000_000,
        "model": asked.model(),
        "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": finish}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
    })
}

pub(super) fn response(asked: &Asked) -> Value {
    let usage = json!({
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 16,
    });
    let mut response = response_in_state(asked, "completed", json!([output_item("completed")]));
    response["usage"] = usage;
    response
}

pub(super) fn response_events(asked: &Asked) -> Events {
    let mut number = 0;
    let mut event = |name: &str, rest: Value| {
        let mut value = json!({"type": name, "sequence_number": number});
        number += 1;
        if let (Some(into), Value::Object(rest)) = (value.as_object_mut(), rest) {
            into.extend(rest);
        }
        named(&value)
    };
    let begun = response_in_state(asked, "in_progress", json!([]));
    let mut item = output_item("in_progress");
    item["content"] = json!([]);
    let place = |rest: Value| {
        let mut value = json!({"item_id": "msg_cloud", "output_index": 0, "content_index": 0});
        if let (Some(into), Value::Object(rest)) = (value.as_object_mut(), rest) {
            into.extend(rest);
        }
        value
    };
    let opening = vec![
        event("response.created", json!({"response": begun})),
        event("response.in_progress", json!({"response": begun})),
        event("response.output_item.added", json!({"output_index": 0, "item": item})),
        event("response.content_part.added", place(json!({"part": output_text("")}))),
    ];
    let delta = |token: &&str| place(json!({"delta": token, "logprobs": []}));
    let tokens = CLOUD_TOKENS.iter();
    let tokens = tokens.map(|it| event("response.output_text.delta", delta(it))).collect();
    let whole = json!({"text": CLOUD_TEXT, "logprobs": []});
    let item = output_item("completed");
    let finish = vec![
        event("response.output_text.done", place(whole)),
        event("response.content_part.done", place(json!({"part": output_text(CLOUD_TEXT)}))),
        event("response.output_item.done", json!({"output_index": 0, "item": item})),
    ];
    let done = vec![event("response.completed", json!({"response": response(asked)}))];
    let error =
        json!({"code": "server_error", "message": "The server had an error.", "param": null});
    Events { opening, tokens, finish, done, error: event("error", error) }
}

fn response_in_state(asked: &Asked, status: &str, output: Value) -> Value {
    json!({
        "id": "resp_cloud",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "metadata": {},
        "model": asked.model(),
        "output": output,
        "parallel_tool_calls": true,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    })
}

fn output_item(status: &str) -> Value {
    json!({
        "id": "msg_cloud",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [output_text(CLOUD_TEXT)],
    })
}

fn output_text(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

pub(super) fn message(asked: &Asked) -> Value {
    let content = json!([{"type": "text", "text": CLOUD_TEXT}]);
    message_with(asked, content, json!("end_turn"), 7)
}

pub(super) fn message_events(asked: &Asked) -> Events {
    let begun = message_with(asked, json!([]), Value::Null, 1);
    let block = json!({"type": "text", "text": ""});
    let token = |text: &&str| {
        let delta = json!({"type": "text_delta", "text": text});
        named(&json!({"type": "content_block_delta", "index": 0, "delta": delta}))
    };
    let error = json!({"type": "overloaded_error", "message": "Overloaded"});
    let delta = json!({"stop_reason": "end_turn", "stop_sequence": null});
    Events {
        opening: vec![
            named(&json!({"type": "message_start", "message": begun})),
            named(&json!({"type": "content_block_start", "index": 0, "content_block": block})),
            named(&json!({"type": "ping"})),
        ],
        tokens: CLOUD_TOKENS.iter().map(token).collect(),
        finish: vec![
            named(&json!({"type": "content_block_stop", "index": 0})),
            named(&json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 7}})),
        ],
        done: vec![named(&json!({"type": "message_stop"}))],
        error: named(&json!({"type": "error", "error": error})),
    }
}

fn message_with(asked: &Asked, content: Value, stop_reason: Value, output_tokens: u32) -> Value {
    json!({
        "id": "msg_cloud",
        "type": "message",
        "role": "assistant",
        "model": asked.model(),
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": null,
        "usage": {"input_tokens": 9, "output_tokens": output_tokens},
    })
}

pub(super) fn embeddings(asked: &Asked) -> Value {
    let embedding = match asked.wants_base64() {
        true => json!(EMBEDDING_BASE64),
        false => json!(EMBEDDING),
    };
    let one = |index| json!({"object": "embedding", "index": index, "embedding": embedding});
    let data: Vec<Value> = (0..asked.inputs()).map(one).collect();
    let usage = json!({"prompt_tokens": 5, "total_tokens": 5});
    json!({"object": "list", "data": data, "model": asked.model(), "usage": usage})
}

pub(super) fn models() -> Value {
    json!({"object": "list", "data": [model("cloud-model")]})
}

pub(super) fn model(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "cloud"})
}
