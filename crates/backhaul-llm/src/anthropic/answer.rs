//! Answers of Anthropic's messages as chat completions.

use serde_json::{Map, Value, json};

use super::stop_reason::finish_reason;

/// A message as a chat completion. `created`: when it came, in seconds since 1970.
///
/// Text is one text, thoughts become `reasoning_content`; other blocks are left out.
pub(crate) fn completion_of(message: &Value, created: u64) -> Value {
    let blocks = message.get("content").and_then(Value::as_array);
    let blocks: Vec<&Value> = blocks.into_iter().flatten().collect();
    let text = joined(&blocks, "text", "text");
    let reasoning = joined(&blocks, "thinking", "thinking");
    let calls: Vec<Value> = of_type(&blocks, "tool_use").map(tool_call).collect();
    let mut said = Map::new();
    said.insert("role".to_owned(), "assistant".into());
    said.insert("content".to_owned(), text.map_or(Value::Null, Value::String));
    if let Some(reasoning) = reasoning {
        said.insert("reasoning_content".to_owned(), reasoning.into());
    }
    if !calls.is_empty() {
        said.insert("tool_calls".to_owned(), calls.into());
    }
    let stop = message.get("stop_reason").and_then(Value::as_str).map(finish_reason);
    let choice = json!({
        "index": 0, "message": said, "finish_reason": stop.as_ref().map(|stop| stop.name()),
    });
    json!({
        "id": message.get("id"), "object": "chat.completion", "created": created,
        "model": message.get("model"), "choices": [choice],
        "usage": usage_of(message.get("usage").unwrap_or(&Value::Null)),
    })
}

/// How many tokens it took. What came from the server's cache went in all the same.
pub(super) fn usage_of(usage: &Value) -> Value {
    let tokens = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
    let cached = tokens("cache_read_input_tokens");
    let prompt = tokens("input_tokens") + cached + tokens("cache_creation_input_tokens");
    let completion = tokens("output_tokens");
    json!({
        "prompt_tokens": prompt, "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": { "cached_tokens": cached },
    })
}

fn tool_call(block: &Value) -> Value {
    let input = block.get("input").cloned().unwrap_or_else(|| json!({}));
    json!({ "id": block.get("id"), "type": "function", "function": {
        "name": block.get("name"), "arguments": input.to_string(),
    }})
}

fn of_type<'a>(blocks: &[&'a Value], class: &str) -> impl Iterator<Item = &'a Value> {
    blocks.iter().copied().filter(move |block| block.get("type").is_some_and(|it| it == class))
}

/// The texts of all blocks of a type. `None`: there is no such block.
fn joined(blocks: &[&Value], class: &str, field: &str) -> Option<String> {
    let mut texts =
        of_type(blocks, class).filter_map(|block| block.get(field)?.as_str()).peekable();
    texts.peek().is_some().then(|| texts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CompletionResult, FinishReason, Metadata};

    fn completion(message: Value) -> CompletionResult {
        CompletionResult::from_json(completion_of(&message, 7), Metadata::default()).unwrap()
    }

    #[test]
    fn text_thoughts_and_calls_have_their_places() {
        let answer = completion(json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
            "content": [
                { "type": "thinking", "thinking": "hm", "signature": "s" },
                { "type": "text", "text": "I " }, { "type": "text", "text": "look." },
                { "type": "tool_use", "id": "t1", "name": "look", "input": { "at": [1] } },
            ],
            "stop_reason": "tool_use", "stop_sequence": null,
            "usage": { "input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 2 },
        }));
        assert_eq!((answer.content().as_str(), answer.model()), ("I look.", "claude-x"));
        assert_eq!(answer.message().as_json()["reasoning_content"], "hm");
        let calls = answer.tool_calls();
        assert_eq!((calls[0].id.as_str(), calls[0].name.as_str()), ("t1", "look"));
        assert_eq!(calls[0].arguments["at"], json!([1]));
        assert_eq!(answer.finish_reason(), Some(FinishReason::ToolCalls));
        assert_eq!((answer.usage().prompt_tokens, answer.usage().completion_tokens), (8, 2));
        assert_eq!(answer.body()["id"], "msg_1");
    }

    #[test]
    fn the_reason_to_stop_is_the_models_own() {
        for (stop, expected) in [
            (json!("end_turn"), Some(FinishReason::Stop)),
            (json!("stop_sequence"), Some(FinishReason::Stop)),
            (json!("max_tokens"), Some(FinishReason::Length)),
            (json!("refusal"), Some(FinishReason::ContentFilter)),
            (json!("pause_turn"), Some(FinishReason::Other("pause_turn".to_owned()))),
            (Value::Null, None),
        ] {
            let answer = completion(json!({ "content": [], "stop_reason": stop }));
            assert_eq!(answer.finish_reason(), expected);
            assert_eq!(answer.message().as_json()["content"], Value::Null);
        }
    }
}
