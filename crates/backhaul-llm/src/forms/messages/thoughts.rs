//! Thoughts of a model here, in requests that go to Anthropic.

use serde_json::Value;

use super::super::conversation::text;

/// Takes the thoughts out that have no signature, and messages that were nothing else.
pub(in super::super) fn remove_unsigned_thoughts(body: &mut Value) {
    let Some(messages) = body.get_mut("messages").and_then(Value::as_array_mut) else { return };
    messages.retain_mut(|message| {
        let Some(blocks) = message.get_mut("content").and_then(Value::as_array_mut) else {
            return true;
        };
        let before = blocks.len();
        blocks.retain(|block| {
            text(block, "type") != "thinking" || !text(block, "signature").is_empty()
        });
        blocks.len() == before || !blocks.is_empty()
    });
}
