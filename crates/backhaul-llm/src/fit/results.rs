//! Results of tools that are cut in the middle.

use serde_json::Value;

use crate::message::{Message, Role};

/// What stands between head and tail takes no more, in bytes.
const MARKER: usize = 64;

/// Cuts the results among messages that are longer than `most` bytes, `count` of them at most,
/// the oldest first. Returns how many were.
pub(super) fn cut<'a>(
    messages: impl Iterator<Item = &'a mut Message>,
    most: usize,
    count: usize,
) -> usize {
    let results = messages.filter(|message| message.role() == Role::Tool);
    results.filter_map(|result| cut_one(result, most)).take(count).count()
}

/// `None`: it is short enough.
fn cut_one(result: &mut Message, most: usize) -> Option<()> {
    let content = result.as_json_mut().get_mut("content")?;
    let is_cut = match content {
        Value::String(text) => elide(text, most),
        Value::Array(parts) => {
            let texts = parts.iter_mut().filter_map(|part| part.get_mut("text"));
            texts.fold(false, |is_cut, text| match text {
                Value::String(text) => elide(text, most) | is_cut,
                _ => is_cut,
            })
        }
        _ => false,
    };
    is_cut.then_some(())
}

/// Keeps head and tail of a text that is too long, in whole characters, and says how much was
/// between them.
fn elide(text: &mut String, most: usize) -> bool {
    if text.len() <= most {
        return false;
    }
    let side = most.saturating_sub(MARKER) / 2;
    let head = text.floor_char_boundary(side);
    let tail = text.ceil_char_boundary(text.len() - side);
    let marker = format!("\n[… {} bytes cut …]\n", tail - head);
    text.replace_range(head..tail, &marker);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_ends_and_is_never_cut_inside_a_character() {
        for most in 64..300 {
            let mut text = format!("head {} tail", "é漢".repeat(1_000));
            assert!(elide(&mut text, most));
            assert!(text.len() <= most && text.contains(" bytes cut …]"), "{text}");
            assert!(!elide(&mut text, most), "once is enough");
        }
        let mut text = format!("head {} tail", "é漢".repeat(1_000));
        elide(&mut text, 160);
        assert!(text.starts_with("head é漢") && text.ends_with("漢 tail"), "{text}");
    }
}
