//! Typed fields out of a JSON object, and what has to be remembered to write it back.
//!
//! Rules for every type of this crate: a key that is not known stays in `extra`; `null`
//! stands for the default of a text or number (Python would keep its `None`), but not of a
//! list, a flag or a time; what a typed field would spell otherwise (`5` for a float,
//! another offset of a time) is written back as it was read, until the field changes.

use std::fmt;

use backhaul_store::Timestamp;
use serde_json::{Map, Value};

use crate::shorten::shortened;
use crate::{json, path, time};

/// A field of a record that holds something unexpected.
///
/// ```
/// use backhaul_agent::RunRecord;
/// let error = RunRecord::from_json(br#"{"run_id": "r", "tool_calls": null}"#).unwrap_err();
/// assert_eq!(error.to_string(), "`tool_calls`: found null, expected a list");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    path: String,
    found: String,
    expected: &'static str,
}

impl FieldError {
    pub(crate) fn new(path: &str, found: Option<&Value>, expected: &'static str) -> Self {
        Self { path: path.to_owned(), found: found.map_or("nothing".into(), describe), expected }
    }

    /// Where the field is, such as `tool_calls[2].duration_ms`; empty for the whole document.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What was found, in words; long text is cut.
    pub fn found(&self) -> &str {
        &self.found
    }

    /// What was expected, in words.
    pub fn expected(&self) -> &str {
        self.expected
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "`{}`: ", self.path)?;
        }
        write!(f, "found {}, expected {}", self.found, self.expected)
    }
}

impl std::error::Error for FieldError {}

pub(crate) fn describe(value: &Value) -> String {
    /// Enough to recognise the value in a log line.
    const SHOWN: usize = 40;
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        scalar => {
            let written = json::to_vec(scalar, json::Style::Compact);
            shortened(&String::from_utf8_lossy(&written), SHOWN)
        }
    }
}

/// How fields were written where that differs from how this crate writes them.
///
/// Two values that differ only in this are equal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spelling(Vec<Respelled>);

#[derive(Debug, Clone)]
struct Respelled {
    key: &'static str,
    original: Value,
    /// What this crate would write; `null` for nothing at all.
    ours: Value,
}

impl PartialEq for Spelling {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Spelling {
    fn remember(&mut self, key: &'static str, original: Value, ours: Value) {
        if original != ours {
            self.0.push(Respelled { key, original, ours });
        }
    }

    /// The original of a field that still holds `ours`.
    pub(crate) fn original(&self, key: &str, ours: &Value) -> Option<&Value> {
        let found = self.0.iter().find(|respelled| respelled.key == key)?;
        (found.ours == *ours).then_some(&found.original)
    }
}

/// An object whose fields are taken one by one; what is left over is `extra`.
pub(crate) struct Fields {
    path: String,
    map: Map<String, Value>,
    spelling: Spelling,
    /// Stands for times that are missing.
    now: Timestamp,
}

type Read<T> = Result<T, FieldError>;

impl Fields {
    pub(crate) fn of_document(value: Value, now: Timestamp) -> Read<Self> {
        Self::new(value, String::new(), now)
    }

    fn new(value: Value, path: String, now: Timestamp) -> Read<Self> {
        match value {
            Value::Object(map) => Ok(Self { path, map, spelling: Spelling::default(), now }),
            other => Err(FieldError::new(&path, Some(&other), "an object")),
        }
    }

    pub(crate) fn finish(self) -> (Map<String, Value>, Spelling) {
        (self.map, self.spelling)
    }

    /// The value of a key, which stays.
    pub(crate) fn peek(&self, key: &str) -> Option<&Value> {
        self.map.get(key)
    }

    /// The value of a key, `null` too.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.shift_remove(key)
    }

    pub(crate) fn error(
        &self,
        key: &str,
        found: Option<&Value>,
        expected: &'static str,
    ) -> FieldError {
        FieldError::new(&self.path_of(key), found, expected)
    }

    pub(crate) fn required_text(&mut self, key: &'static str) -> Read<String> {
        match self.take(key) {
            Some(value) => self.read_text(key, value),
            None => Err(self.error(key, None, "text")),
        }
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Read<String> {
        self.text_or_else(key, String::new)
    }

    pub(crate) fn text_or_else(
        &mut self,
        key: &'static str,
        default: impl FnOnce() -> String,
    ) -> Read<String> {
        match self.take_unless_null(key, || Value::String(String::new())) {
            Taken::Missing => Ok(default()),
            Taken::Null => Ok(String::new()),
            Taken::Value(value) => self.read_text(key, value),
        }
    }

    /// A text that is written as `null` or not at all when there is none.
    pub(crate) fn optional_text(&mut self, key: &'static str) -> Read<Option<String>> {
        match self.take(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => self.read_text(key, value).map(Some),
        }
    }

    pub(crate) fn float(&mut self, key: &'static str) -> Read<f64> {
        let value = match self.take_unless_null(key, || json::float(0.0)) {
            Taken::Value(value) => value,
            _ => return Ok(0.0),
        };
        let Some(number) = json::as_f64(&value) else {
            return Err(self.error(key, Some(&value), "a number"));
        };
        self.spelling.remember(key, value, json::float(number));
        Ok(number)
    }

    pub(crate) fn count(&mut self, key: &'static str) -> Read<u64> {
        let value = match self.take_unless_null(key, || Value::from(0)) {
            Taken::Value(value) => value,
            _ => return Ok(0),
        };
        let Some(count) = whole(&value) else {
            return Err(self.error(key, Some(&value), "a whole number from 0 to 2^64 - 1"));
        };
        self.spelling.remember(key, value, Value::from(count));
        Ok(count)
    }

    pub(crate) fn flag_or(&mut self, key: &str, default: bool) -> Read<bool> {
        match self.take(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(self.error(key, Some(&other), "true or false")),
        }
    }

    /// A time; now when the key is missing.
    pub(crate) fn time(&mut self, key: &'static str) -> Read<Timestamp> {
        match self.take(key) {
            Some(value) => self.read_time(key, value),
            None => Ok(self.now),
        }
    }

    pub(crate) fn optional_time(&mut self, key: &'static str) -> Read<Option<Timestamp>> {
        match self.take(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => self.read_time(key, value).map(Some),
        }
    }

    /// A time that is held as text; now when the key is missing.
    pub(crate) fn time_text(&mut self, key: &'static str) -> Read<String> {
        let now = self.now;
        self.text_or_else(key, || time::isoformat(now))
    }

    pub(crate) fn object(&mut self, key: &'static str) -> Read<Map<String, Value>> {
        match self.take_unless_null(key, || Value::Object(Map::new())) {
            Taken::Value(Value::Object(map)) => Ok(map),
            Taken::Value(other) => Err(self.error(key, Some(&other), "an object")),
            _ => Ok(Map::new()),
        }
    }

    pub(crate) fn list(&mut self, key: &str) -> Read<Vec<Value>> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(self.error(key, Some(&other), "a list")),
        }
    }

    pub(crate) fn texts(&mut self, key: &'static str) -> Read<Vec<String>> {
        let items = self.list(key)?.into_iter().enumerate();
        items.map(|(index, item)| self.read_text(&format!("{key}[{index}]"), item)).collect()
    }

    /// A list of objects, each read by `read`.
    pub(crate) fn list_of<T>(
        &mut self,
        key: &str,
        read: impl Fn(Fields) -> Read<T>,
    ) -> Read<Vec<T>> {
        let items = self.list(key)?.into_iter().enumerate();
        items
            .map(|(index, item)| {
                let path = self.path_of(&format!("{key}[{index}]"));
                read(Fields::new(item, path, self.now)?)
            })
            .collect()
    }

    /// An object read by `read`, or nothing when it is missing or `null`.
    pub(crate) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(Fields) -> Read<T>,
    ) -> Read<Option<T>> {
        match self.take(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(Fields::new(value, self.path_of(key), self.now)?).map(Some),
        }
    }

    /// Reads a field that is written only when it is not the default: if it is the default
    /// and was there all the same, it is written back.
    pub(crate) fn sparse<T: Default + PartialEq>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Read<T>,
    ) -> Read<T> {
        let original = match self.map.get(key) {
            None => return Ok(T::default()),
            // Never read as a default, and may be large.
            Some(Value::Object(_)) => None,
            Some(Value::Array(items)) if !items.is_empty() => None,
            Some(small) => Some(small.clone()),
        };
        let value = read(self, key)?;
        if let Some(original) = original
            && value == T::default()
        {
            self.spelling.0.retain(|respelled| respelled.key != key);
            self.spelling.0.push(Respelled { key, original, ours: Value::Null });
        }
        Ok(value)
    }

    fn take_unless_null(&mut self, key: &'static str, ours: impl FnOnce() -> Value) -> Taken {
        match self.take(key) {
            None => Taken::Missing,
            Some(Value::Null) => {
                self.spelling.remember(key, Value::Null, ours());
                Taken::Null
            }
            Some(value) => Taken::Value(value),
        }
    }

    fn read_text(&self, key: &str, value: Value) -> Read<String> {
        match value {
            // A bare NaN is held in a string, but is no text.
            Value::String(text) if !json::is_bare_word(&text) => Ok(text),
            other => Err(self.error(key, Some(&other), "text")),
        }
    }

    fn read_time(&mut self, key: &'static str, value: Value) -> Read<Timestamp> {
        match value.as_str().and_then(time::parse) {
            Some(parsed) => {
                self.spelling.remember(key, value, Value::String(time::isoformat(parsed)));
                Ok(parsed)
            }
            None => Err(self.error(key, Some(&value), "a time like 2024-01-15T10:30:00+00:00")),
        }
    }

    fn path_of(&self, key: &str) -> String {
        path::join(&self.path, key)
    }
}

enum Taken {
    Missing,
    Null,
    Value(Value),
}

/// A count, also when a program made a float of it: `12.0`.
fn whole(value: &Value) -> Option<u64> {
    let Value::Number(number) = value else {
        return None;
    };
    let spelling = number.as_str();
    let digits = match spelling.split_once('.') {
        Some((digits, zeros)) if zeros.bytes().all(|byte| byte == b'0') => digits,
        _ => spelling,
    };
    digits.parse().ok()
}
