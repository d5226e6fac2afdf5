//! Fields in the JSON of calls and feedback.

use serde_json::Value;

use super::sql::{Affinity, Cast, Sql};

/// The value of a field that is compared with what `cast` says: what is nothing of the
/// kind counts as missing. Without a cast it is compared as text.
pub(super) fn compared(value: Option<&Value>, cast: Option<Cast>) -> (Sql, Affinity) {
    let value = value.unwrap_or(&Value::Null);
    let found = Sql::of_json(value);
    let Some(cast) = cast else { return (found.cast(Cast::Text), Affinity::Text) };
    let text = match value {
        Value::String(text) => Some(text.as_str()),
        _ => None,
    };
    let fits = match (value, cast) {
        (Value::Bool(_), Cast::Bool) => true,
        (Value::Number(_), Cast::Double) => true,
        (Value::Number(_), Cast::Int | Cast::Bool) => matches!(found, Sql::Int(_)),
        (Value::String(text), Cast::Double) => is_decimal(text, true),
        (Value::String(text), Cast::Int | Cast::Bool) => is_decimal(text, false),
        _ => false,
    };
    let is_word = |word: &str| {
        cast == Cast::Bool
            && text.is_some_and(|text| text.trim_matches(' ').eq_ignore_ascii_case(word))
    };
    let value = if is_word("true") || is_word("false") {
        Sql::of_bool(Some(is_word("true")))
    } else if fits {
        found.cast(cast)
    } else {
        Sql::Null
    };
    (value, Affinity::None)
}

/// Digits, and possibly one point among them.
fn is_decimal(text: &str, with_point: bool) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let points = text.bytes().filter(|byte| *byte == b'.').count();
    digits > 0 && digits + points == text.len() && points <= usize::from(with_point)
}
