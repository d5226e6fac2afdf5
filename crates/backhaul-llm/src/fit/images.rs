//! Parts of messages that are no text.

use serde_json::{Value, json};

use crate::message::Message;

/// What a part is, where it is none of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Image,
    /// Sound, files, and what this version does not know.
    Other,
}

fn sort_of(part: &Value) -> Option<Sort> {
    match part.get("type").and_then(Value::as_str) {
        None | Some("text" | "input_text" | "output_text" | "refusal") => None,
        Some("image_url" | "input_image" | "image") => Some(Sort::Image),
        Some(_) => Some(Sort::Other),
    }
}

/// Puts a text in the place of each part of a sort, which the model sees: one that is not told
/// would answer as if there had been nothing. Returns how many there were.
pub(super) fn replace(messages: &mut [Message], wanted: Sort) -> usize {
    let text = match wanted {
        Sort::Image => "[an image was here; this model cannot see it]",
        Sort::Other => "[a file or sound was here; this model cannot read it]",
    };
    let contents = messages.iter_mut().filter_map(|it| it.as_json_mut().get_mut("content"));
    let parts = contents.filter_map(Value::as_array_mut).flatten();
    let mut replaced = 0;
    for part in parts.filter(|part| sort_of(part) == Some(wanted)) {
        *part = json!({ "type": "text", "text": text });
        replaced += 1;
    }
    replaced
}
