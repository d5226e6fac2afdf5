//! What was asked, short enough to be kept.

use serde_json::{Map, Value};

/// The longest text that is kept whole.
const MOST_TEXT: usize = 32 << 10;
/// What is left of a longer one.
const HEAD: usize = 1 << 10;
/// The most bytes of all; past that the oldest are left out.
const MOST_BYTES: usize = 256 << 10;

/// The items with their long texts cut, images above all, the newest that have room. What was
/// cut is said in its place.
pub(super) fn shortened(items: &[Value]) -> Vec<Value> {
    let (mut kept, mut room) = (Vec::new(), MOST_BYTES);
    for item in items.iter().rev() {
        let item = cut(item);
        let bytes = item.to_string().len();
        if bytes > room {
            break;
        }
        room -= bytes;
        kept.push(item);
    }
    let left_out = items.len() - kept.len();
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
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), cut(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
