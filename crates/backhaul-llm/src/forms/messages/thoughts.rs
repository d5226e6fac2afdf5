//! Thoughts of a model here, in requests that go to Anthropic.

use serde_json::{Map, Value};

use super::super::conversation::text;

const MESSAGES: &str = "messages";

/// A request without the thoughts that have no signature, and without messages that were
/// nothing else. `None`: there are none.
pub(in super::super) fn without_unsigned_thoughts(
    body: &Map<String, Value>,
) -> Option<Map<String, Value>> {
    let messages = body.get(MESSAGES)?.as_array()?;
    if !messages.iter().flat_map(blocks).any(is_unsigned_thought) {
        return None;
    }
    let mut messages = messages.clone();
    messages.retain_mut(|message| {
        let Some(blocks) = message.get_mut("content").and_then(Value::as_array_mut) else {
            return true;
        };
        let before = blocks.len();
        blocks.retain(|block| !is_unsigned_thought(block));
        blocks.len() == before || !blocks.is_empty()
    });
    let mut cleaned = body.clone();
    cleaned.insert(MESSAGES.to_owned(), Value::Array(messages));
    Some(cleaned)
}

fn blocks(message: &Value) -> &[Value] {
    message.get("content").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn is_unsigned_thought(block: &Value) -> bool {
    text(block, "type") == "thinking" && text(block, "signature").is_empty()
}
