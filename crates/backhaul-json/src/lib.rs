//! JSON as Python's `json` module reads and writes it, on [`serde_json::Value`].
//!
//! # What has to survive
//! Python writes things that JSON does not know: bare `NaN`, `Infinity` and
//! `-Infinity`, and escapes of lone surrogates such as `"\ud800"`. It also writes
//! integers of any size, floats spelled `1e-05`, and keys in insertion order. A
//! record that holds one of these must be read, kept and written back unchanged.
//!
//! # How it is held in a `Value`
//! Numbers keep their text. What a [`Value`] cannot hold is held in a string, after the
//! noncharacter U+FDD0, which no text for interchange contains:
//!
//! | in the JSON | in the `Value` |
//! |---|---|
//! | `NaN`, `Infinity`, `-Infinity` | a string of U+FDD0 and the word |
//! | a lone surrogate `\ud800` in a string or key | U+FDD0 and four digits: `d800` |
//! | U+FDD0 itself | U+FDD0 twice |
//!
//! The writer turns each of these back, so that reading is exactly invertible. A
//! string that a program makes itself goes through [`text`] if it may hold U+FDD0.
//!
//! # Why not serde_json's own reader
//! It refuses the bare words and lone surrogates, so the bytes would have to be rewritten
//! first and its error positions mapped back; it normalises nothing that Python writes but
//! gives an object whose first key is `$serde_json::private::Number` a meaning of its own.
//! A record must not change because of how a key is named.
//!
//! ```
//! use backhaul_json::{self as json, Style};
//!
//! let written_by_python = br#"{"n": NaN, "tiny": 1e-05, "s": "\ud800", "big": 123456789012345678901234567890}"#;
//! let value = json::from_slice(written_by_python)?;
//! assert!(json::as_f64(&value["n"]).is_some_and(f64::is_nan));
//! assert_eq!(json::to_vec(&value, Style::Python), written_by_python);
//! # Ok::<(), json::JsonError>(())
//! ```

mod error;
mod number;
mod reader;
mod writer;

use std::borrow::Cow;

use serde_json::Value;

pub use error::JsonError;
pub use number::same_in_python;
pub use writer::{Writer, key_order};

/// Marks what a [`Value`] cannot hold; see the module text.
const MARK: char = '\u{FDD0}';

/// How deep lists and objects may nest in what is read: 1,024 levels.
///
/// CPython's own reader and writer stop near 1,000 by default. A bound is needed because
/// a [`Value`] is dropped, cloned and compared by recursion; at this depth each of them
/// stays far below the 2 MiB stack of a Rust thread. [`to_vec`] has no such limit: what a
/// program nests deeper is written, but is refused when it is read.
pub const MAX_DEPTH: usize = 1024;

/// The spacing and escapes of what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Style {
    /// No spaces, text as UTF-8: for storage and for the wire.
    #[default]
    Compact,
    /// As `json.dumps(value)`: `", "` and `": "`, all text escaped to ASCII.
    Python,
    /// As `json.dumps(value, indent=2)`, without a newline at the end.
    Pretty,
}

/// Reads one JSON document.
///
/// A byte order mark at the start is skipped. Of equal keys in one object the last value
/// wins, in the place of the first, as in Python. An exponent without a sign or with
/// `E`, which Python never writes, is kept as `e+`; all other numbers keep their text.
///
/// # Errors
/// When the bytes are not UTF-8, not JSON in the sense of this module, or nested deeper
/// than [`MAX_DEPTH`].
///
/// ```
/// use backhaul_json as json;
/// let error = json::from_slice(b"{\"a\": nul}").unwrap_err();
/// assert_eq!((error.line(), error.column()), (1, 7));
/// assert_eq!(error.to_string(), "line 1, column 7 (byte 6): found `n`, expected a JSON value");
/// ```
pub fn from_slice(bytes: &[u8]) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|error| JsonError::not_utf8(bytes, &error))?;
    reader::read(text)
}

/// Writes a value in the given style.
///
/// ```
/// use backhaul_json::{self as json, Style};
/// let value = serde_json::json!({"a": [1, 2], "name": "Zoë"});
/// assert_eq!(json::to_vec(&value, Style::Compact), "{\"a\":[1,2],\"name\":\"Zoë\"}".as_bytes());
/// assert_eq!(json::to_vec(&value, Style::Python), br#"{"a": [1, 2], "name": "Zo\u00eb"}"#);
/// ```
pub fn to_vec(value: &Value, style: Style) -> Vec<u8> {
    let mut writer = Writer::new(style);
    writer.value(value);
    writer.into_bytes()
}

/// How deep lists and objects nest in a value: 0 for a scalar, 1 for `[]`.
///
/// ```
/// use backhaul_json::depth;
/// assert_eq!(depth(&serde_json::json!({"a": [1, {}], "b": 2})), 3);
/// ```
pub fn depth(value: &Value) -> usize {
    let mut open = vec![(value, 0)];
    let mut deepest = 0;
    while let Some((value, depth)) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(map) => open.extend(map.values().map(|value| (value, depth + 1))),
            _ => continue,
        }
        deepest = deepest.max(depth + 1);
    }
    deepest
}

/// A float, spelled as Python's `repr` does; NaN and the infinities are kept.
///
/// ```
/// use backhaul_json::{self as json, Style};
/// assert_eq!(json::to_vec(&json::float(0.00001), Style::Compact), b"1e-05");
/// assert_eq!(json::to_vec(&json::float(12.0), Style::Compact), b"12.0");
/// assert_eq!(json::to_vec(&json::float(f64::NAN), Style::Compact), b"NaN");
/// ```
pub fn float(value: f64) -> Value {
    number::from_float(value)
}

/// The number in `value` as a float: NaN and the infinities too, the nearest float when
/// it has more digits, `None` when `value` is not a number.
pub fn as_f64(value: &Value) -> Option<f64> {
    number::to_float(value)
}

/// A string value that is written exactly as `text`, even if it contains U+FDD0.
pub fn text(text: &str) -> Value {
    Value::String(escape(text).into_owned())
}

fn escape(text: &str) -> Cow<'_, str> {
    if text.contains(MARK) {
        Cow::Owned(text.replace(MARK, "\u{FDD0}\u{FDD0}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Whether a held string is not a text but a bare `NaN` or infinity.
pub fn is_bare_word(held: &str) -> bool {
    bare_word(held).is_some()
}

/// The bare word that a marked string stands for.
fn bare_word(text: &str) -> Option<&'static str> {
    match text.strip_prefix(MARK)? {
        "NaN" => Some("NaN"),
        "Infinity" => Some("Infinity"),
        "-Infinity" => Some("-Infinity"),
        _ => None,
    }
}

/// One unit of a string as it is held in a [`Value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Char(char),
    LoneSurrogate(u16),
}

impl Unit {
    /// The code point, by which Python sorts keys.
    fn code_point(self) -> u32 {
        match self {
            Unit::Char(character) => u32::from(character),
            Unit::LoneSurrogate(code) => u32::from(code),
        }
    }
}

/// The units of a held string. A mark that nothing valid follows stands for itself.
fn units(held: &str) -> impl Iterator<Item = Unit> + '_ {
    let mut rest = held;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        rest = rest.get(first.len_utf8()..)?;
        if first != MARK {
            return Some(Unit::Char(first));
        }
        if let Some(after) = rest.strip_prefix(MARK) {
            rest = after;
        } else if let Some(code) = rest.get(..4).and_then(surrogate_digits) {
            rest = rest.get(4..)?;
            return Some(Unit::LoneSurrogate(code));
        }
        Some(Unit::Char(MARK))
    })
}

fn surrogate_digits(digits: &str) -> Option<u16> {
    let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if !digits.bytes().all(lower_hex) {
        return None;
    }
    let code = u16::from_str_radix(digits, 16).ok()?;
    (0xD800..=0xDFFF).contains(&code).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(document: &str, style: Style) -> String {
        let value = from_slice(document.as_bytes()).unwrap();
        String::from_utf8(to_vec(&value, style)).unwrap()
    }

    #[test]
    fn keeps_every_scalar_that_python_writes() {
        for document in [
            "NaN",
            "Infinity",
            "-Infinity",
            "1e-05",
            "1e+16",
            "-1.5e+300",
            "0.0",
            "-0.0",
            "-0",
            "123456789012345678901234567890",
            "1e+400",
            "null",
            "true",
            "false",
            "\"\"",
            "[]",
            "{}",
            r#""\ud800""#,
            r#""\udc00\ud800""#,
            r#"{"\udfff": 1}"#,
            r#""\ufdd0""#,
            r#""\ufdd0NaN""#,
            r#""\ufdd0d800""#,
            r#""\ufdd0\ufdd0\ud800\ufdd0""#,
            r#""\u007f""#,
            r#""\u0000\b\f\n\r\t\"\\/""#,
            r#""\ud83d\ude00""#,
        ] {
            assert_eq!(rewritten(document, Style::Python), document);
        }
    }

    #[test]
    fn writes_marked_text_of_a_program_as_it_is() {
        let held = text("\u{FDD0}NaN");
        assert_eq!(to_vec(&held, Style::Python), br#""\ufdd0NaN""#);
        assert_eq!(rewritten("\"\u{FDD0}d800\"", Style::Compact), "\"\u{FDD0}d800\"");
    }

    #[test]
    fn gives_no_meaning_to_the_private_keys_of_serde_json() {
        for document in [
            r#"{"$serde_json::private::Number": "12"}"#,
            r#"{"$serde_json::private::RawValue": "[1"}"#,
        ] {
            assert_eq!(rewritten(document, Style::Python), document);
        }
    }

    #[test]
    fn last_of_equal_keys_wins_in_the_first_place() {
        assert_eq!(rewritten(r#"{"a":1,"b":2,"a":3}"#, Style::Compact), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn pretty_form_is_that_of_python() {
        let document = "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}";
        assert_eq!(rewritten(document, Style::Pretty), document);
    }

    #[test]
    fn refuses_deep_nesting_with_an_error() {
        let fits = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!(rewritten(&fits, Style::Compact), fits);
        for unit in ["[", "{\"a\":"] {
            let error = from_slice(unit.repeat(1_000_000).as_bytes()).unwrap_err();
            assert_eq!(error.offset(), MAX_DEPTH * unit.len());
            assert!(error.to_string().contains("1024"), "{error}");
        }
    }
}
