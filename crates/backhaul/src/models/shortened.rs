//! What was asked, short enough to be kept.

use std::borrow::Cow;
use std::io::{self, Write};

use serde_json::{Map, Value};

/// The longest text that is kept whole.
const MOST_TEXT: usize = 32 << 10;
/// What is left of a longer one.
const HEAD: usize = 1 << 10;
/// The most bytes of all; past that the oldest are left out.
const MOST_BYTES: usize = 256 << 10;

/// The items with their long texts cut, images above all, the newest that have room. What was
/// cut is said in its place.
pub(super) fn shortened<'a>(
    items: impl DoubleEndedIterator<Item = Cow<'a, Map<String, Value>>> + ExactSizeIterator,
) -> Vec<Value> {
    let (mut left_out, mut kept, mut room) = (items.len(), Vec::new(), MOST_BYTES);
    for item in items.rev() {
        let item = cut_fields(&item);
        let bytes = length(&item);
        if bytes > room {
            break;
        }
        room -= bytes;
        left_out -= 1;
        kept.push(item);
    }
    if left_out > 0 {
        kept.push(Value::String(format!("[{left_out} older items left out]")));
    }
    kept.reverse();
    kept
}

fn cut(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() > MOST_TEXT => {
            let end = text.floor_char_boundary(HEAD);
            let left = text.len() - end;
            Value::String(format!("{}… [{left} bytes cut]", text.get(..end).unwrap_or_default()))
        }
        Value::Array(items) => items.iter().map(cut).collect(),
        Value::Object(fields) => cut_fields(fields),
        other => other.clone(),
    }
}

fn cut_fields(fields: &Map<String, Value>) -> Value {
    fields.iter().map(|(name, value)| (name.clone(), cut(value))).collect()
}

/// Of the text.
fn length(item: &Value) -> usize {
    struct Counted(usize);
    impl Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counted = Counted(0);
    // Neither it nor a value fails.
    let _ = serde_json::to_writer(&mut counted, item);
    counted.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shortened(items: &[Value]) -> Vec<Value> {
        super::shortened(items.iter().map(|item| Cow::Borrowed(item.as_object().unwrap())))
    }

    #[test]
    fn long_texts_are_cut_and_say_so() {
        let image = format!("data:image/png;base64,{}", "A".repeat(1 << 20));
        let kept = shortened(&[json!({ "content": [{ "image_url": { "url": image } }] })]);
        let url = kept[0]["content"][0]["image_url"]["url"].as_str().unwrap();
        assert!(url.len() < 2_000 && url.ends_with("bytes cut]"), "{url}");
    }

    #[test]
    fn the_newest_are_kept_and_what_is_left_out_is_counted() {
        let items: Vec<Value> =
            (0..100).map(|n| json!({ "n": n, "t": "é".repeat(5_000) })).collect();
        let kept = shortened(&items);
        assert_eq!(kept[0], json!(format!("[{} older items left out]", 101 - kept.len())));
        assert_eq!(kept.last(), items.last());
        assert!(kept.len() > 20);
        assert_eq!(shortened(&items[..3]), items[..3]);
    }
}
