//! The items of a request's input, as messages.

use serde_json::{Value, json};

use super::super::conversation::{Conversation, invalid, refused, text};
use crate::content::Part;
use crate::error::LlmError;

/// Reads the input: a text, or items.
pub(super) fn read(input: Option<Value>, chat: &mut Conversation) -> Result<(), LlmError> {
    match input {
        Some(Value::String(text)) => chat.say("user", vec![Part::text(text)]),
        Some(Value::Array(items)) => items.iter().try_for_each(|item| read_item(item, chat))?,
        _ => {
            return Err(invalid(
                "the request has no input: expected \"input\": a text or a list of items",
            ));
        }
    }
    Ok(())
}

fn read_item(item: &Value, chat: &mut Conversation) -> Result<(), LlmError> {
    match item.get("type").and_then(Value::as_str) {
        None | Some("message") => return read_message(item, chat),
        Some("function_call") => {
            chat.call(text(item, "call_id"), text(item, "name"), text(item, "arguments"));
        }
        Some("function_call_output") => {
            let parts = parts_of(item.get("output"), chat);
            chat.tool_result(text(item, "call_id"), parts);
        }
        Some(kind @ ("item_reference" | "compaction")) => {
            let message = format!(
                "what an item of type {kind} stands for is kept by the cloud, which is not asked \
                 now: send the item itself, or ask again later"
            );
            return Err(refused("input", "item_not_found", message));
        }
        Some(kind) => chat.leave_out(format!("{kind} items")),
    }
    Ok(())
}

fn read_message(item: &Value, chat: &mut Conversation) -> Result<(), LlmError> {
    let role = text(item, "role");
    if role.is_empty() {
        return Err(invalid(
            "an item of the input has neither type nor role: expected a message, a function_call \
             or a function_call_output",
        ));
    }
    let parts = parts_of(item.get("content"), chat);
    if role == "assistant" {
        let said: String = parts.iter().map(|part| text(&part.0, "text")).collect();
        chat.assistant(&said);
    } else {
        chat.say(role, parts);
    }
    Ok(())
}

fn parts_of(content: Option<&Value>, chat: &mut Conversation) -> Vec<Part> {
    match content {
        Some(Value::String(text)) => vec![Part::text(text)],
        Some(Value::Array(parts)) => parts.iter().map(|part| read_part(part, chat)).collect(),
        _ => Vec::new(),
    }
}

fn read_part(part: &Value, chat: &mut Conversation) -> Part {
    match text(part, "type") {
        "input_text" | "output_text" | "text" | "summary_text" => Part::text(text(part, "text")),
        "refusal" => Part::text(text(part, "refusal")),
        "input_image" if part.get("image_url").is_some_and(Value::is_string) => {
            let mut image = json!({ "url": part.get("image_url") });
            if let (Some(detail), Value::Object(image)) = (part.get("detail"), &mut image) {
                image.insert("detail".to_owned(), detail.clone());
            }
            Part::of_json(json!({ "type": "image_url", "image_url": image }))
        }
        "input_image" => chat.placeholder("an image that the cloud keeps"),
        "input_file" => chat.placeholder("a file"),
        "input_audio" => Part::of_json(part.clone()),
        other => chat.placeholder(&format!("a part of type {other}")),
    }
}
