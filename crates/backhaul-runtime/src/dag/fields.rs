//! The fields of a JSON object, read once each: what is wrong with them is collected.

use serde_json::{Map, Value};

use super::error::{DagProblem, DagProblemKind};
use super::names;

/// The fields of one object. Each is taken by its name; what nobody took is refused at the end.
pub(super) struct Fields<'p> {
    at: String,
    map: Map<String, Value>,
    known: Vec<&'static str>,
    problems: &'p mut Vec<DagProblem>,
}

impl<'p> Fields<'p> {
    /// Those of the object at a place; of anything else none, and a problem.
    pub(super) fn new(at: String, value: Value, problems: &'p mut Vec<DagProblem>) -> Self {
        let mut fields = Self { at, map: Map::new(), known: Vec::new(), problems };
        match value {
            Value::Object(map) => fields.map = map,
            other => fields.wrong_type(fields.at.clone(), "an object", &other),
        }
        fields
    }

    /// The place of a field.
    pub(super) fn at(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) }
    }

    /// Where problems are collected, for what is read of this object's parts.
    pub(super) fn problems(&mut self) -> &mut Vec<DagProblem> {
        self.problems
    }

    pub(super) fn report(&mut self, kind: DagProblemKind, key: &str, message: impl Into<String>) {
        let at = self.at(key);
        self.problems.push(DagProblem::new(kind, at, message));
    }

    /// A field of any type; null is as good as missing.
    pub(super) fn value(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.map.shift_remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.typed(key, "text", |value| match value {
            Value::String(text) => Ok(text),
            other => Err(other),
        })
    }

    /// Text that must be there.
    pub(super) fn required_text(&mut self, key: &'static str) -> String {
        if self.map.get(key).is_none_or(Value::is_null) {
            self.report(DagProblemKind::InvalidValue, key, "it is missing; give a text");
        }
        self.text(key).unwrap_or_default()
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.typed(key, "true or false", |value| value.as_bool().ok_or(value))
    }

    /// A whole number from 0 on.
    pub(super) fn count(&mut self, key: &'static str) -> Option<u32> {
        self.typed(key, "a whole number from 0 to 4294967295", |value| {
            value.as_u64().and_then(|count| u32::try_from(count).ok()).ok_or(value)
        })
    }

    pub(super) fn object(&mut self, key: &'static str) -> Map<String, Value> {
        let object = self.typed(key, "an object", |value| match value {
            Value::Object(map) => Ok(map),
            other => Err(other),
        });
        object.unwrap_or_default()
    }

    pub(super) fn list(&mut self, key: &'static str) -> Vec<Value> {
        let list = self.typed(key, "a list", |value| match value {
            Value::Array(items) => Ok(items),
            other => Err(other),
        });
        list.unwrap_or_default()
    }

    /// A field that `read` takes, or gives back if it is of another type.
    pub(super) fn typed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(Value) -> Result<T, Value>,
    ) -> Option<T> {
        match read(self.value(key)?) {
            Ok(value) => Some(value),
            Err(other) => {
                self.wrong_type(self.at(key), expected, &other);
                None
            }
        }
    }

    /// A field that others write and that says nothing when it is empty; otherwise it is refused
    /// with what to do instead.
    pub(super) fn nothing(&mut self, key: &'static str, instead: &str) {
        let is_empty = match self.value(key) {
            None | Some(Value::Bool(false)) => true,
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Object(map)) => map.is_empty(),
            Some(_) => false,
        };
        if !is_empty {
            self.report(
                DagProblemKind::Unsupported,
                key,
                format!("it is not supported; {instead}"),
            );
        }
    }

    /// Refuses what nobody took.
    pub(super) fn finish(mut self) {
        for key in std::mem::take(&mut self.map).keys() {
            let hint = names::hint(key, self.known.iter().copied());
            self.report(DagProblemKind::UnknownKey, key, format!("no such key{hint}"));
        }
    }

    fn wrong_type(&mut self, at: String, expected: &str, found: &Value) {
        let message = format!("it is {}; expected {expected}", shown(found));
        self.problems.push(DagProblem::new(DagProblemKind::InvalidValue, at, message));
    }
}

/// A value as it is shown in a message.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) if text.chars().count() > MOST_SHOWN => {
            format!("`{}…`", text.chars().take(MOST_SHOWN).collect::<String>())
        }
        Value::String(text) => format!("`{text}`"),
        other => other.to_string(),
    }
}

/// So many characters of a text are shown at most.
const MOST_SHOWN: usize = 60;
