//! Dot paths into nested objects: `sensors.roof.celsius`.
//!
//! Paths go through objects only, never into lists. A key that contains a dot cannot be
//! addressed. After [`MAX_PARTS`] parts the rest of a path is one key.

use std::str::SplitN;

use serde_json::{Map, Value};

/// Bounds the recursion of a path that came in a record from elsewhere.
const MAX_PARTS: usize = 256;

/// The path of a key of the object at `parent`, which is empty for the outermost one.
pub(crate) fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

pub(crate) fn get<'a>(map: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut parts = path.splitn(MAX_PARTS, '.');
    let first = map.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.as_object()?.get(part))
}

/// Replaces the value at `path` by what `change` makes of it, `None` when there is none.
/// Missing parents are made; a parent that is not an object is replaced by one.
pub(crate) fn update(
    map: &mut Map<String, Value>,
    path: &str,
    change: impl FnOnce(Option<Value>) -> Value,
) {
    let mut parts = path.splitn(MAX_PARTS, '.');
    let first = parts.next().unwrap_or_default();
    update_parts(map, first, &mut parts, change);
}

fn update_parts(
    map: &mut Map<String, Value>,
    key: &str,
    rest: &mut SplitN<'_, char>,
    change: impl FnOnce(Option<Value>) -> Value,
) {
    let slot = map.get_mut(key);
    match (rest.next(), slot) {
        (None, Some(slot)) => *slot = change(Some(slot.take())),
        (None, None) => {
            map.insert(key.to_owned(), change(None));
        }
        (Some(next), Some(Value::Object(child))) => update_parts(child, next, rest, change),
        (Some(next), _) => {
            let mut child = Map::new();
            update_parts(&mut child, next, rest, change);
            map.insert(key.to_owned(), Value::Object(child));
        }
    }
}

/// Removes the value at `path`; false when there is none.
pub(crate) fn remove(map: &mut Map<String, Value>, path: &str) -> bool {
    let mut parts: Vec<&str> = path.splitn(MAX_PARTS, '.').collect();
    let Some(last) = parts.pop() else {
        return false;
    };
    let parent = parts.into_iter().try_fold(map, |map, part| match map.get_mut(part) {
        Some(Value::Object(child)) => Some(child),
        _ => None,
    });
    parent.is_some_and(|parent| parent.shift_remove(last).is_some())
}

/// Puts `value` at the end of the list in `old`: a new list when there is nothing, and a
/// list of what is there when it is not a list.
pub(crate) fn append(old: Option<Value>, value: Value) -> Value {
    let mut items = match old {
        Some(Value::Array(items)) => items,
        Some(other) => vec![other],
        None => Vec::new(),
    };
    items.push(value);
    Value::Array(items)
}

/// Merges `changes` into the object in `old`, which counts as empty when it is not one.
pub(crate) fn merge(old: Option<Value>, changes: Map<String, Value>) -> Value {
    let mut map = match old {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    merge_maps(&mut map, changes);
    Value::Object(map)
}

fn merge_maps(target: &mut Map<String, Value>, changes: Map<String, Value>) {
    for (key, change) in changes {
        match (target.get_mut(&key), change) {
            (Some(Value::Object(old)), Value::Object(change)) => merge_maps(old, change),
            (_, change) => {
                target.insert(key, change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn path_of_a_million_parts_does_no_harm() {
        let path = "a.".repeat(1_000_000);
        let mut data = Map::new();
        update(&mut data, &path, |_| json!(1));
        assert_eq!(get(&data, &path), Some(&json!(1)));
        assert!(remove(&mut data, &path));
        assert_eq!(get(&data, &path), None);
    }

    #[test]
    fn update_keeps_the_place_of_a_key() {
        let mut data = map(json!({"a": 1, "b": 2}));
        update(&mut data, "a", |old| json!([old]));
        assert_eq!(Value::Object(data).to_string(), r#"{"a":[1],"b":2}"#);
    }

    #[test]
    fn remove_goes_through_objects_only() {
        let mut data = map(json!({"list": [{"a": 1}], "n": {"x": 1, "y": 2}}));
        assert!(!remove(&mut data, "list.0.a"));
        assert!(!remove(&mut data, "n.z"));
        assert!(remove(&mut data, "n.x"));
        assert_eq!(data, map(json!({"list": [{"a": 1}], "n": {"y": 2}})));
    }
}
