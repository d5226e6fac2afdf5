//! The messages of a request, block by block.

use serde_json::Value;

use super::super::conversation::{Conversation, invalid, text};
use crate::content::Part;
use crate::error::LlmError;

/// Reads one message.
pub(super) fn read(message: &Value, chat: &mut Conversation) -> Result<(), LlmError> {
    let content = match message.get("content") {
        Some(Value::String(text)) => &[serde_json::json!({ "type": "text", "text": text })][..],
        Some(Value::Array(blocks)) => blocks,
        _ => return Err(invalid("a message has no content: expected a text or a list of blocks")),
    };
    match text(message, "role") {
        "assistant" => content.iter().for_each(|block| read_turn(block, chat)),
        role @ ("user" | "system") => read_asked(role, content, chat),
        other => {
            return Err(invalid(format!(
                "a message is of the role {other:?}: expected \"user\" or \"assistant\""
            )));
        }
    }
    Ok(())
}

/// What the model said.
fn read_turn(block: &Value, chat: &mut Conversation) {
    match text(block, "type") {
        "text" => chat.assistant(text(block, "text")),
        "tool_use" => {
            let input = block.get("input").map_or_else(|| "{}".to_owned(), Value::to_string);
            chat.call(text(block, "id"), text(block, "name"), &input);
        }
        kind => chat.leave_out(format!("{kind} blocks")),
    }
}

/// What was said to it. The results of tools come first, as chat has them.
fn read_asked(role: &str, content: &[Value], chat: &mut Conversation) {
    let mut parts = Vec::new();
    for block in content {
        if text(block, "type") == "tool_result" {
            read_result(block, chat);
        } else {
            parts.extend(read_part(block, chat));
        }
    }
    if !parts.is_empty() {
        chat.say(role, parts);
    }
}

fn read_result(block: &Value, chat: &mut Conversation) {
    let mut parts = match block.get("content") {
        Some(Value::String(text)) => vec![Part::text(text)],
        Some(Value::Array(blocks)) => {
            blocks.iter().flat_map(|block| read_part(block, chat)).collect()
        }
        _ => Vec::new(),
    };
    if block.get("is_error") == Some(&Value::Bool(true)) {
        // Chat has no other place to say so.
        match parts.first_mut() {
            Some(Part(first)) if text(first, "type") == "text" => {
                *first = Part::text(format!("The tool failed: {}", text(first, "text"))).0;
            }
            _ => parts.insert(0, Part::text("The tool failed.")),
        }
    }
    chat.tool_result(text(block, "tool_use_id"), parts);
}

fn read_part(block: &Value, chat: &mut Conversation) -> Vec<Part> {
    let source = block.get("source").unwrap_or(&Value::Null);
    let part = match (text(block, "type"), text(source, "type")) {
        ("text", _) => Part::text(text(block, "text")),
        ("image", "base64") => {
            let (media_type, data) = (text(source, "media_type"), text(source, "data"));
            Part::image_url(format!("data:{media_type};base64,{data}"))
        }
        ("image", "url") => Part::image_url(text(source, "url")),
        ("image", _) => chat.placeholder("an image that the cloud keeps"),
        ("document", "text") => Part::text(text(source, "data")),
        ("document", _) => chat.placeholder("a document"),
        ("thinking" | "redacted_thinking", _) => {
            chat.leave_out("thinking blocks".to_owned());
            return Vec::new();
        }
        (other, _) => chat.placeholder(&format!("a block of type {other}")),
    };
    vec![part]
}
