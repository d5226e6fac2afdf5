//! JSON as clients send it.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{TraceError, TraceErrorKind};

/// JSON text as it was sent, to the character; but where it is none and Python reads it all
/// the same (`NaN`), it is written anew with `null` in place of that, as Weave's clients do.
///
/// ```
/// assert_eq!(backhaul_weave::plain_json(br#"{"a":1.50}"#)?, r#"{"a":1.50}"#);
/// assert_eq!(backhaul_weave::plain_json(br#"{"a":NaN}"#)?, r#"{"a": null}"#);
/// assert!(backhaul_weave::plain_json(b"{").is_err());
/// # Ok::<(), backhaul_weave::TraceError>(())
/// ```
///
/// # Errors
/// [`TraceErrorKind::InvalidInput`] where Python would not read it either, and for what nests
/// deeper than [`backhaul_json::MAX_DEPTH`]: it could never be read again.
pub fn plain_json(data: &[u8]) -> Result<Cow<'_, str>, TraceError> {
    if let Ok(text) = std::str::from_utf8(data)
        && serde_json::from_str::<&RawValue>(text).is_ok()
        && depth(text) <= backhaul_json::MAX_DEPTH
    {
        return Ok(Cow::Borrowed(text));
    }
    let mut value = backhaul_json::from_slice(data).map_err(|error| {
        TraceError::new(TraceErrorKind::InvalidInput, format!("not JSON: {error}"))
    })?;
    without_bare_words(&mut value);
    Ok(Cow::Owned(text_of(&value)))
}

/// How deep lists and objects nest in what is JSON.
pub(crate) fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => skip_text(&mut bytes),
            _ => {}
        }
    }
    deepest
}

/// Goes on to behind the quote that ends a text.
fn skip_text(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

/// A value as Python writes it.
pub(crate) fn text_of(value: &Value) -> String {
    // In this style it is ASCII.
    String::from_utf8_lossy(&backhaul_json::to_vec(value, backhaul_json::Style::Python))
        .into_owned()
}

/// What JSON text says; `null` where it is none.
pub(crate) fn value_of(text: &str) -> Value {
    backhaul_json::from_slice(text.as_bytes()).unwrap_or(Value::Null)
}

fn without_bare_words(value: &mut Value) {
    let mut left = vec![value];
    while let Some(value) = left.pop() {
        match value {
            Value::String(held) if backhaul_json::is_bare_word(held) => *value = Value::Null,
            Value::Array(items) => left.extend(items),
            Value::Object(map) => left.extend(map.values_mut()),
            _ => {}
        }
    }
}
