//! JSON objects that are written field by field, of parts that are JSON already.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// An object that is being written.
#[derive(Debug, Default)]
pub(crate) struct JsonObject {
    text: String,
}

impl JsonObject {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes) }
    }

    /// A field whose value is JSON.
    pub(crate) fn raw(&mut self, key: &str, json: &str) -> &mut Self {
        self.key(key);
        self.text.push_str(json);
        self
    }

    /// A field whose value is a text.
    pub(crate) fn text(&mut self, key: &str, text: &str) -> &mut Self {
        self.key(key);
        self.text.push_str(&quoted(text));
        self
    }

    /// A field whose value is a text of letters, digits and the like.
    pub(crate) fn plain(&mut self, key: &str, shown: impl std::fmt::Display) -> &mut Self {
        self.key(key);
        // Writing to a String fails only where the value says so, and none here does.
        let _ = write!(self.text, "\"{shown}\"");
        self
    }

    pub(crate) fn finish(mut self) -> String {
        if self.text.is_empty() {
            self.text.push('{');
        }
        self.text.push('}');
        self.text
    }

    fn key(&mut self, key: &str) {
        self.text.push_str(if self.text.is_empty() { "{" } else { ", " });
        if key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.text.push('"');
            self.text.push_str(key);
            self.text.push('"');
        } else {
            self.text.push_str(&quoted(key));
        }
        self.text.push_str(": ");
    }
}

/// A text as JSON.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Puts values over those of the same name, object by object.
pub(crate) fn put_over(over: &mut Map<String, Value>, values: Map<String, Value>) {
    for (key, value) in values {
        match (over.get_mut(&key), value) {
            (Some(Value::Object(inner)), Value::Object(value)) => put_over(inner, value),
            (_, value) => drop(over.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut object = JsonObject::default();
        object.raw("a", "[1]").text("b \"c\"", "d\n").plain("at", 5);
        let value: serde_json::Value = serde_json::from_str(&object.finish()).unwrap();
        assert_eq!(value, serde_json::json!({"a": [1], "b \"c\"": "d\n", "at": "5"}));
        assert_eq!(JsonObject::default().finish(), "{}");
    }
}
