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

/// Puts a text in the place of parts of a sort, `most` of them, the oldest first. The model
/// sees it: one that is not told would answer as if there had been nothing. Returns how many
/// there were.
pub(super) fn replace<'a>(
    messages: impl IntoIterator<Item = &'a mut Message>,
    wanted: Sort,
    most: usize,
) -> usize {
    let text = match wanted {
        Sort::Image => "[an image was here; this model cannot see it]",
        Sort::Other => "[a file or sound was here; this model cannot read it]",
    };
    let contents = messages.into_iter().filter_map(|it| it.as_json_mut().get_mut("content"));
    let parts = contents.filter_map(Value::as_array_mut).flatten();
    let parts = parts.filter(|part| sort_of(part) == Some(wanted)).take(most);
    parts.map(|part| *part = json!({ "type": "text", "text": text })).count()
}
