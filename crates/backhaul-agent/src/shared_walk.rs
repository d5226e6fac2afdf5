//! Walks through shared values.
//!
//! None of them recurses, so that depth is a number and not a stack: what nests as deep as
//! the reader allows ([`crate::json::MAX_DEPTH`]) does no harm on the stack of a thread.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::json::{self, Writer, key_order};
use crate::shared_object::{Entry, Key, SharedObject};
use crate::shared_value::{Equality, SharedValue};

/// What is left of a list or object; items of a list have no key.
type Children<'a> = Box<dyn Iterator<Item = (Option<&'a Key>, &'a SharedValue)> + 'a>;

fn children(value: &SharedValue) -> Option<Children<'_>> {
    match value {
        SharedValue::List(items) => Some(Box::new(items.iter().map(|item| (None, item)))),
        SharedValue::Object(object) => {
            Some(Box::new(object.iter().map(|(key, value)| (Some(key), value))))
        }
        _ => None,
    }
}

/// A scalar; nothing for a list or object.
fn scalar(value: &SharedValue) -> Option<Value> {
    match value {
        SharedValue::Null => Some(Value::Null),
        SharedValue::Bool(flag) => Some(Value::Bool(*flag)),
        SharedValue::Number(number) => Some(Value::Number(number.clone())),
        SharedValue::Text(text) => Some(Value::String(text.as_ref().to_owned())),
        SharedValue::List(_) | SharedValue::Object(_) => None,
    }
}

/// Copies a value.
pub(crate) fn to_value(root: &SharedValue) -> Value {
    let mut open: Vec<(Children<'_>, Value, Option<&Key>)> = Vec::new();
    let mut next = (None, root);
    loop {
        let (key, value) = next;
        let mut finished = scalar(value).map(|value| (key, value));
        if let Some(children) = children(value) {
            let empty = match value {
                SharedValue::Object(object) => Value::Object(Map::with_capacity(object.len())),
                _ => Value::Array(Vec::new()),
            };
            open.push((children, empty, key));
        }
        // Hand what is finished to what surrounds it, and close what ends with it.
        next = loop {
            let Some((children, parent, own_key)) = open.last_mut() else {
                return finished.map(|(_, value)| value).unwrap_or_default();
            };
            if let Some((key, value)) = finished.take() {
                put(parent, key, value);
            }
            if let Some(child) = children.next() {
                break child;
            }
            finished = Some((*own_key, std::mem::take(parent)));
            open.pop();
        };
    }
}

fn put(parent: &mut Value, key: Option<&Key>, value: Value) {
    match (parent, key) {
        (Value::Object(map), Some(key)) => {
            map.insert(key.as_ref().to_owned(), value);
        }
        (Value::Array(items), _) => items.push(value),
        _ => {}
    }
}

/// What is left of a list or object to take over, and what was made of it so far.
enum Taking {
    List(std::vec::IntoIter<Value>, Vec<SharedValue>),
    Object(serde_json::map::IntoIter, Vec<Entry>, Key),
}

impl Taking {
    /// The next child, of which the key is kept.
    fn next(&mut self) -> Option<Value> {
        match self {
            Self::List(items, _) => items.next(),
            Self::Object(entries, _, at) => {
                let (key, value) = entries.next()?;
                *at = key.into();
                Some(value)
            }
        }
    }

    fn put(&mut self, child: SharedValue) {
        match self {
            Self::List(_, items) => items.push(child),
            Self::Object(_, entries, key) => entries.push((Arc::clone(key), child)),
        }
    }

    fn close(self) -> SharedValue {
        match self {
            Self::List(_, items) => SharedValue::List(items.into()),
            Self::Object(_, entries, _) => SharedValue::Object(SharedObject::of_distinct(entries)),
        }
    }
}

/// Takes a value over.
pub(crate) fn from_value(root: Value) -> SharedValue {
    let mut open: Vec<Taking> = Vec::new();
    let mut next = root;
    loop {
        let mut finished = match next {
            Value::Null => Some(SharedValue::Null),
            Value::Bool(flag) => Some(SharedValue::Bool(flag)),
            Value::Number(number) => Some(SharedValue::Number(number)),
            Value::String(text) => Some(SharedValue::Text(text.into())),
            Value::Array(items) => {
                let made = Vec::with_capacity(items.len());
                open.push(Taking::List(items.into_iter(), made));
                None
            }
            Value::Object(map) => {
                let made = Vec::with_capacity(map.len());
                open.push(Taking::Object(map.into_iter(), made, Key::default()));
                None
            }
        };
        next = loop {
            let Some(parent) = open.last_mut() else {
                return finished.unwrap_or(SharedValue::Null);
            };
            if let Some(value) = finished.take() {
                parent.put(value);
            }
            if let Some(child) = parent.next() {
                break child;
            }
            finished = open.pop().map(Taking::close);
        };
    }
}

/// How deep lists and objects nest: 0 for a scalar.
pub(crate) fn depth(root: &SharedValue) -> usize {
    let mut open: Vec<_> = children(root).into_iter().collect();
    let mut deepest = open.len();
    while let Some(inner) = open.last_mut() {
        match inner.next() {
            Some((_, value)) => open.extend(children(value)),
            None => _ = open.pop(),
        }
        deepest = deepest.max(open.len());
    }
    deepest
}

/// Writes a value as JSON.
pub(crate) fn write(root: &SharedValue, writer: &mut Writer) {
    let mut open: Vec<(Children<'_>, u8)> = Vec::new();
    open.extend(begin(root, writer));
    while let Some((children, end)) = open.last_mut() {
        match children.next() {
            Some((key, value)) => {
                writer.item();
                if let Some(key) = key {
                    writer.key(key);
                }
                open.extend(begin(value, writer));
            }
            None => {
                writer.end(*end);
                open.pop();
            }
        }
    }
}

/// Writes a scalar, or the beginning of a list or object.
fn begin<'a>(value: &'a SharedValue, writer: &mut Writer) -> Option<(Children<'a>, u8)> {
    match value {
        SharedValue::Null => writer.value(&Value::Null),
        SharedValue::Bool(flag) => writer.value(&Value::Bool(*flag)),
        SharedValue::Number(number) => writer.number(number),
        SharedValue::Text(text) => writer.text(text),
        SharedValue::List(_) => writer.begin(b'['),
        SharedValue::Object(_) => writer.begin(b'{'),
    }
    match value {
        SharedValue::Object(object) if writer.sorts_keys() => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_by(|(left, _), (right, _)| key_order(left, right));
            let entries = entries.into_iter().map(|(key, value)| (Some(key), value));
            Some((Box::new(entries), b'}'))
        }
        SharedValue::Object(_) => children(value).map(|children| (children, b'}')),
        _ => children(value).map(|children| (children, b']')),
    }
}

type Pair<'a> = (&'a SharedValue, &'a SharedValue);

/// Compares without looking into what both share.
pub(crate) fn equals(left: &SharedValue, right: &SharedValue, by: Equality) -> bool {
    let mut open = vec![(left, right)];
    while let Some(pair) = open.pop() {
        let same = match pair {
            (SharedValue::List(left), SharedValue::List(right)) => {
                let mut pairs = left.iter().zip(right.iter());
                left.is_same(right)
                    || left.len() == right.len() && pairs.all(|pair| agree(pair, by, &mut open))
            }
            (SharedValue::Object(left), SharedValue::Object(right)) => {
                left.is_same(right)
                    || left.len() == right.len()
                        && values_of_same_keys(left, right, by)
                            .all(|pair| pair.is_some_and(|pair| agree(pair, by, &mut open)))
            }
            (left, right) => scalars_agree(left, right, by),
        };
        if !same {
            return false;
        }
    }
    true
}

/// Pairs of values; nothing for a key that the other one does not have, or not there.
fn values_of_same_keys<'a>(
    left: &'a SharedObject,
    right: &'a SharedObject,
    by: Equality,
) -> impl Iterator<Item = Option<Pair<'a>>> {
    left.iter().zip(right.iter()).map(move |((key, left), (other_key, value))| {
        if key == other_key {
            return Some((left, value));
        }
        right.get(key).filter(|_| by != Equality::Text).map(|value| (left, value))
    })
}

/// False when the two differ for sure; what has to be looked into is put on `open`.
fn agree<'a>(pair: Pair<'a>, by: Equality, open: &mut Vec<Pair<'a>>) -> bool {
    match pair {
        (SharedValue::List(left), SharedValue::List(right)) if left.is_same(right) => {}
        (SharedValue::Object(left), SharedValue::Object(right)) if left.is_same(right) => {}
        (SharedValue::List(_), SharedValue::List(_))
        | (SharedValue::Object(_), SharedValue::Object(_)) => open.push(pair),
        (left, right) => return scalars_agree(left, right, by),
    }
    true
}

fn scalars_agree(left: &SharedValue, right: &SharedValue, by: Equality) -> bool {
    match (left, right) {
        (SharedValue::Null, SharedValue::Null) => true,
        (SharedValue::Bool(left), SharedValue::Bool(right)) => left == right,
        (SharedValue::Text(left), SharedValue::Text(right)) => left == right,
        (SharedValue::Number(left), SharedValue::Number(right)) if left == right => true,
        _ if by != Equality::Python => false,
        _ => match (scalar(left), scalar(right)) {
            (Some(left), Some(right)) => json::same_in_python(&left, &right),
            _ => false,
        },
    }
}
