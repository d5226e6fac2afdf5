//! One change of a context, with who made it and why.

use std::fmt;

use backhaul_store::Timestamp;
use serde_json::{Map, Value};

use crate::fields::{FieldError, Fields, Spelling};
use crate::shape::{Node, Shape};
use crate::{id, path, time};

/// What a patch does at its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PatchOperation {
    /// Puts the value there.
    Set,
    /// Removes what is there.
    Delete,
    /// Merges an object into what is there.
    Merge,
    /// Adds the value to the list there.
    Append,
}

impl PatchOperation {
    const ALL: [Self; 4] = [Self::Set, Self::Delete, Self::Merge, Self::Append];

    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Delete => "delete",
            Self::Merge => "merge",
            Self::Append => "append",
        }
    }
}

impl fmt::Display for PatchOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What kind of actor made a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PatchSource {
    /// A tool, named by its id.
    Tool,
    /// An agent, named by its id.
    Agent,
    /// A model.
    Llm,
    /// The system itself.
    #[default]
    System,
    /// A person.
    User,
}

impl PatchSource {
    const ALL: [Self; 5] = [Self::Tool, Self::Agent, Self::Llm, Self::System, Self::User];

    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Agent => "agent",
            Self::Llm => "llm",
            Self::System => "system",
            Self::User => "user",
        }
    }
}

impl fmt::Display for PatchSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One change of a [`Context`](crate::Context).
///
/// ```
/// use backhaul_agent::{ContextPatch, PatchSource};
///
/// let patch = ContextPatch::set("sensors.roof", 31.5)
///     .source(PatchSource::Tool, "thermometer")
///     .reason("hourly reading")
///     .correlation_id("run_001");
/// assert_eq!(patch.source_id, "thermometer");
/// assert_eq!(ContextPatch::from_tool("t1", "x", 1).reason, "Set by tool 't1'");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ContextPatch {
    /// `patch_` and hex digits.
    pub id: String,
    /// The dot path that is changed.
    pub path: String,
    /// What is done there.
    pub operation: PatchOperation,
    /// What is set, merged or appended; `null` for a removal.
    pub value: Value,
    /// What kind of actor made the change.
    pub source: PatchSource,
    /// Which one.
    pub source_id: String,
    /// When, by the wall clock of the device.
    pub timestamp: Timestamp,
    /// Why, in words.
    pub reason: String,
    /// What ties it to other events.
    pub correlation_id: Option<String>,
    /// Keys that this version does not know.
    pub extra: Map<String, Value>,
    /// Where `path` cannot say it; see [`ContextPatch::at_keys`].
    keys: Option<Vec<String>>,
    spelling: Spelling,
}

impl ContextPatch {
    /// Puts `value` at `path`.
    pub fn set(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(path.into(), PatchOperation::Set, value.into())
    }

    /// Removes what is at `path`.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(path.into(), PatchOperation::Delete, Value::Null)
    }

    /// Merges `value`, which has to be an object to be applied, into what is at `path`.
    pub fn merge(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(path.into(), PatchOperation::Merge, value.into())
    }

    /// Adds `value` to the list at `path`.
    pub fn append(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(path.into(), PatchOperation::Append, value.into())
    }

    /// A value that a tool set; [`ContextPatch::operation`] makes it another change.
    pub fn from_tool(
        tool_id: impl Into<String>,
        path: impl Into<String>,
        value: impl Into<Value>,
    ) -> Self {
        Self::set(path, value).made_by(PatchSource::Tool, tool_id.into())
    }

    /// A value that an agent set; [`ContextPatch::operation`] makes it another change.
    pub fn from_agent(
        agent_id: impl Into<String>,
        path: impl Into<String>,
        value: impl Into<Value>,
    ) -> Self {
        Self::set(path, value).made_by(PatchSource::Agent, agent_id.into())
    }

    /// Says what is changed by its keys, from the outermost on, instead of by a path: a key
    /// may contain a dot. The path becomes the keys with dots between them. At most 256 keys
    /// are taken; with none, or more, only the path counts.
    ///
    /// Where the path says the same, it is all that is written. Otherwise the JSON has the
    /// list as `keys` too, which upstream does not know: it follows the path.
    ///
    /// ```
    /// use backhaul_agent::{Context, ContextPatch};
    /// use serde_json::json;
    ///
    /// let patch = ContextPatch::set("", 1).at_keys(["example.org"]);
    /// assert_eq!(patch.path, "example.org");
    /// assert_eq!(Context::new().apply(&patch)?.to_value(), json!({"example.org": 1}));
    /// # Ok::<(), backhaul_agent::ContextError>(())
    /// ```
    #[must_use]
    pub fn at_keys(mut self, keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        self.path = keys.join(".");
        self.keys = Some(keys).filter(|keys| !path::parts(&self.path).eq(keys));
        self
    }

    /// The keys that lead to what is changed, from the outermost on: what was given to
    /// [`ContextPatch::at_keys`], unless the path was changed since, or the parts of the path.
    pub fn keys(&self) -> Vec<&str> {
        match &self.keys {
            Some(keys) if spell_path(keys, &self.path) => keys.iter().map(String::as_str).collect(),
            _ => path::parts(&self.path).collect(),
        }
    }

    /// Says what is done at the path; a removal drops the value.
    #[must_use]
    pub fn operation(mut self, operation: PatchOperation) -> Self {
        self.operation = operation;
        if operation == PatchOperation::Delete {
            self.value = Value::Null;
        }
        self
    }

    /// Says who made the change; without it, `system` and an empty id.
    #[must_use]
    pub fn source(mut self, source: PatchSource, source_id: impl Into<String>) -> Self {
        self.source = source;
        self.source_id = source_id.into();
        self
    }

    /// Says why.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Ties the patch to other events.
    #[must_use]
    pub fn correlation_id(mut self, correlation_id: impl Into<String>) -> Self {
        self.correlation_id = Some(correlation_id.into());
        self
    }

    /// Says when, to the microsecond, which is what the JSON holds; without it, now by the clock
    /// of the machine.
    #[must_use]
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Timestamp::from_micros(timestamp.as_micros());
        self
    }

    /// The patch as JSON: every key, in upstream's order, then `extra`.
    pub fn to_value(&self) -> Value {
        self.shape().into_value()
    }

    /// Reads a patch; `path` and `operation` are required, a missing time is now.
    ///
    /// # Errors
    /// When a field is missing or holds something unexpected, an unknown operation or
    /// source included.
    pub fn from_value(value: Value) -> Result<Self, FieldError> {
        Self::read(Fields::of_document(value, time::now())?)
    }

    pub(crate) fn read(mut fields: Fields) -> Result<Self, FieldError> {
        let mut patch = Self {
            id: fields.text_or_else("id", || id::generate("patch"))?,
            path: fields.required_text("path")?,
            operation: read_operation(&mut fields)?,
            value: fields.take("value").unwrap_or_default(),
            source: read_source(&mut fields)?,
            source_id: fields.text("source_id")?,
            timestamp: fields.time("timestamp")?,
            reason: fields.text("reason")?,
            correlation_id: fields.optional_text("correlation_id")?,
            extra: Map::new(),
            keys: None,
            spelling: Spelling::default(),
        };
        patch.keys = read_keys(&mut fields, &patch.path);
        (patch.extra, patch.spelling) = fields.finish();
        Ok(patch)
    }

    pub(crate) fn shape(&self) -> Node<'_> {
        let mut shape = Shape::new(&self.spelling);
        shape
            .text("id", &self.id)
            .text("path", &self.path)
            .node("operation", Node::Text(self.operation.as_str()))
            .node("value", Node::Value(&self.value))
            .node("source", Node::Text(self.source.as_str()))
            .text("source_id", &self.source_id)
            .time("timestamp", self.timestamp)
            .text("reason", &self.reason)
            .optional_text("correlation_id", self.correlation_id.as_deref())
            .sparse("keys", self.keys.as_deref().map(Node::texts));
        shape.finish(&self.extra)
    }

    fn new(path: String, operation: PatchOperation, value: Value) -> Self {
        Self {
            id: id::generate("patch"),
            path,
            operation,
            value,
            source: PatchSource::default(),
            source_id: String::new(),
            timestamp: time::now(),
            reason: String::new(),
            correlation_id: None,
            extra: Map::new(),
            keys: None,
            spelling: Spelling::default(),
        }
    }

    fn made_by(self, source: PatchSource, source_id: String) -> Self {
        let reason = format!("Set by {source} '{source_id}'");
        self.source(source, source_id).reason(reason)
    }
}

fn read_operation(fields: &mut Fields) -> Result<PatchOperation, FieldError> {
    let found = fields.take("operation");
    let name = found.as_ref().and_then(Value::as_str);
    PatchOperation::ALL.into_iter().find(|operation| name == Some(operation.as_str())).ok_or_else(
        || {
            let expected = "`set`, `delete`, `merge` or `append`";
            fields.error("operation", found.as_ref(), expected)
        },
    )
}

/// What is not the keys of this path is some other program's, and stays in `extra`.
fn read_keys(fields: &mut Fields, path: &str) -> Option<Vec<String>> {
    let keys: Vec<String> = match fields.peek("keys")? {
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>()?
        }
        _ => return None,
    };
    if !spell_path(&keys, path) {
        return None;
    }
    fields.take("keys");
    Some(keys)
}

fn spell_path(keys: &[String], path: &str) -> bool {
    (1..=path::MAX_PARTS).contains(&keys.len()) && keys.join(".") == path
}

fn read_source(fields: &mut Fields) -> Result<PatchSource, FieldError> {
    let Some(found) = fields.take("source") else {
        return Ok(PatchSource::default());
    };
    PatchSource::ALL.into_iter().find(|source| found.as_str() == Some(source.as_str())).ok_or_else(
        || {
            let expected = "`tool`, `agent`, `llm`, `system` or `user`";
            fields.error("source", Some(&found), expected)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use backhaul_store::{Clock, SystemClock};
    use serde_json::json;

    #[test]
    fn writes_every_key_in_order() {
        let patch = ContextPatch::delete("a.b");
        let value = patch.to_value();
        let keys: Vec<_> = value.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "id",
                "path",
                "operation",
                "value",
                "source",
                "source_id",
                "timestamp",
                "reason",
                "correlation_id"
            ]
        );
        assert_eq!(ContextPatch::from_value(value), Ok(patch));
    }

    #[test]
    fn is_read_as_it_was_however_fine_the_clock_is() {
        let now = SystemClock::new().now().wall;
        let patch = ContextPatch::set("a", 1).timestamp(now);
        assert_eq!(ContextPatch::from_value(patch.to_value()), Ok(patch));
    }

    #[test]
    fn reads_what_has_only_a_path_and_an_operation() {
        let patch = ContextPatch::from_value(json!({"path": "a", "operation": "set"})).unwrap();
        assert_eq!(patch.value, Value::Null);
        assert_eq!(patch.source, PatchSource::System);
        assert!(patch.id.starts_with("patch_"));
    }

    #[test]
    fn refuses_unknown_names_and_a_null_time() {
        for (document, expected) in [
            (
                json!({"path": "a", "operation": "twist"}),
                "`operation`: found \"twist\", expected `set`, `delete`, `merge` or `append`",
            ),
            (
                json!({"path": "a", "operation": "set", "source": "robot"}),
                "`source`: found \"robot\", expected `tool`, `agent`, `llm`, `system` or `user`",
            ),
            (
                json!({"path": "a", "operation": "set", "timestamp": null}),
                "`timestamp`: found null, expected a time like 2024-01-15T10:30:00+00:00",
            ),
            (json!({"operation": "set"}), "`path`: found nothing, expected text"),
            (json!([1]), "found a list, expected an object"),
        ] {
            let error = ContextPatch::from_value(document).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn keys_are_written_where_the_path_does_not_say_them() {
        let plain = ContextPatch::set("a.b", 1).at_keys(["a", "b"]);
        assert_eq!(plain.to_value().get("keys"), None);
        let dotted = ContextPatch::set("", 1).at_keys(["a.b", "", "c"]);
        assert_eq!(dotted.path, "a.b..c");
        assert_eq!(dotted.to_value()["keys"], json!(["a.b", "", "c"]));
        let read = ContextPatch::from_value(dotted.to_value()).unwrap();
        assert_eq!(read.keys(), ["a.b", "", "c"]);
        assert_eq!(read, dotted);
    }

    #[test]
    fn keys_of_another_path_are_kept_but_not_followed() {
        for keys in [json!(["a", "x"]), json!([]), json!([1]), json!("a.b"), json!({})] {
            let document = json!({"path": "a.b", "operation": "delete", "keys": keys});
            let patch = ContextPatch::from_value(document).unwrap();
            assert_eq!(patch.keys(), ["a", "b"]);
            assert_eq!(patch.to_value()["keys"], keys);
        }
        let mut moved = ContextPatch::delete("").at_keys(["a.b"]);
        moved.path = "c.d".to_owned();
        assert_eq!(moved.keys(), ["c", "d"]);
    }

    #[test]
    fn constructors_say_who_and_why() {
        let patch =
            ContextPatch::from_agent("planner", "goal", "dry").operation(PatchOperation::Append);
        assert_eq!(patch.source, PatchSource::Agent);
        assert_eq!(patch.reason, "Set by agent 'planner'");
        assert_eq!(patch.operation, PatchOperation::Append);
    }
}
