//! The JSON of a typed value before it is written: borrows what is large.

use backhaul_store::Timestamp;
use serde_json::{Map, Value};

use crate::fields::Spelling;
use crate::json::{self, Style, Writer};
use crate::shared_object::SharedObject;
use crate::time;

/// A key of an object, and its value.
pub(crate) type Entry<'a> = (&'a str, Node<'a>);

pub(crate) enum Node<'a> {
    Text(&'a str),
    Value(&'a Value),
    Map(&'a Map<String, Value>),
    Shared(&'a SharedObject),
    Owned(Value),
    List(Vec<Node<'a>>),
    Object(Vec<Entry<'a>>),
}

impl<'a> Node<'a> {
    pub(crate) fn optional_text(text: Option<&'a str>) -> Self {
        text.map_or(Node::Owned(Value::Null), Node::Text)
    }

    pub(crate) fn list<T: 'a>(
        items: impl IntoIterator<Item = &'a T>,
        shape: impl Fn(&'a T) -> Self,
    ) -> Self {
        Node::List(items.into_iter().map(shape).collect())
    }

    pub(crate) fn texts(texts: &'a [String]) -> Self {
        Node::list(texts, |text| Node::Text(text))
    }

    pub(crate) fn values(values: &'a [Value]) -> Self {
        Node::list(values, Node::Value)
    }

    pub(crate) fn to_vec(&self, style: Style) -> Vec<u8> {
        let mut writer = Writer::new(style);
        self.write(&mut writer);
        writer.into_bytes()
    }

    /// Recursion only as deep as the types of this crate nest.
    fn write(&self, writer: &mut Writer) {
        match self {
            Node::Text(text) => writer.text(text),
            Node::Value(value) => writer.value(value),
            Node::Map(map) => writer.map(map),
            Node::Shared(object) => object.write(writer),
            Node::Owned(value) => writer.value(value),
            Node::List(items) => {
                writer.begin(b'[');
                for item in items {
                    writer.item();
                    item.write(writer);
                }
                writer.end(b']');
            }
            Node::Object(entries) => {
                writer.begin(b'{');
                for (key, node) in entries {
                    writer.item();
                    writer.key(key);
                    node.write(writer);
                }
                writer.end(b'}');
            }
        }
    }

    pub(crate) fn into_value(self) -> Value {
        match self {
            Node::Text(text) => Value::String(text.to_owned()),
            Node::Value(value) => value.clone(),
            Node::Map(map) => Value::Object(map.clone()),
            Node::Shared(object) => Value::Object(object.to_map()),
            Node::Owned(value) => value,
            Node::List(items) => items.into_iter().map(Node::into_value).collect(),
            Node::Object(entries) => {
                let entries = entries.into_iter();
                entries.map(|(key, node)| (key.to_owned(), node.into_value())).collect()
            }
        }
    }
}

/// Builds an object in the order in which it is written.
pub(crate) struct Shape<'a> {
    entries: Vec<Entry<'a>>,
    spelling: &'a Spelling,
}

impl<'a> Shape<'a> {
    pub(crate) fn new(spelling: &'a Spelling) -> Self {
        Self { entries: Vec::new(), spelling }
    }

    pub(crate) fn node(&mut self, key: &'a str, node: Node<'a>) -> &mut Self {
        self.entries.push((key, node));
        self
    }

    pub(crate) fn text(&mut self, key: &'a str, text: &'a str) -> &mut Self {
        // An empty text may have been `null`.
        match text {
            "" => self.scalar(key, Value::String(String::new())),
            _ => self.node(key, Node::Text(text)),
        }
    }

    pub(crate) fn optional_text(&mut self, key: &'a str, text: Option<&'a str>) -> &mut Self {
        self.node(key, Node::optional_text(text))
    }

    pub(crate) fn float(&mut self, key: &'a str, value: f64) -> &mut Self {
        self.scalar(key, json::float(value))
    }

    pub(crate) fn count(&mut self, key: &'a str, value: u64) -> &mut Self {
        self.scalar(key, Value::from(value))
    }

    pub(crate) fn flag(&mut self, key: &'a str, value: bool) -> &mut Self {
        self.node(key, Node::Owned(Value::Bool(value)))
    }

    pub(crate) fn time(&mut self, key: &'a str, value: Timestamp) -> &mut Self {
        self.scalar(key, Value::String(time::isoformat(value)))
    }

    pub(crate) fn optional_time(&mut self, key: &'a str, value: Option<Timestamp>) -> &mut Self {
        match value {
            Some(time) => self.time(key, time),
            None => self.node(key, Node::Owned(Value::Null)),
        }
    }

    pub(crate) fn map(&mut self, key: &'a str, map: &'a Map<String, Value>) -> &mut Self {
        match map.is_empty() {
            true => self.scalar(key, Value::Object(Map::new())),
            false => self.node(key, Node::Map(map)),
        }
    }

    /// Writes `node` when there is one; otherwise what was read in its place, if anything.
    pub(crate) fn sparse(&mut self, key: &'a str, node: Option<Node<'a>>) -> &mut Self {
        let spelling = self.spelling;
        match (node, spelling.original(key, &Value::Null)) {
            (Some(node), _) => self.node(key, node),
            (None, Some(original)) => self.node(key, Node::Value(original)),
            (None, None) => self,
        }
    }

    pub(crate) fn sparse_text(&mut self, key: &'a str, text: &'a str) -> &mut Self {
        self.sparse(key, Some(text).filter(|text| !text.is_empty()).map(Node::Text))
    }

    pub(crate) fn sparse_float(&mut self, key: &'a str, value: f64) -> &mut Self {
        match value == 0.0 {
            true => self.sparse(key, None),
            false => self.float(key, value),
        }
    }

    /// Adds the keys that this version does not know, and ends the object.
    pub(crate) fn finish(mut self, extra: &'a Map<String, Value>) -> Node<'a> {
        let known = self.entries.len();
        for (key, value) in extra {
            if !self.entries.iter().take(known).any(|(known, _)| known == key) {
                self.entries.push((key, Node::Value(value)));
            }
        }
        Node::Object(self.entries)
    }

    fn scalar(&mut self, key: &'a str, ours: Value) -> &mut Self {
        let spelling = self.spelling;
        let original = spelling.original(key, &ours);
        self.node(key, original.map_or(Node::Owned(ours), Node::Value))
    }
}

#[cfg(test)]
mod tests {
    use crate::RunRecord;

    #[test]
    fn a_hundred_thousand_unknown_keys_do_no_harm() {
        let keys: Vec<String> = (0..100_000).map(|n| format!("\"k{n}\":0")).collect();
        let document = format!("{{\"run_id\":\"r\",{}}}", keys.join(","));
        let record = RunRecord::from_json(document.as_bytes()).unwrap();
        assert_eq!(RunRecord::from_json(&record.to_json()).unwrap().extra.len(), 100_000);
    }
}
