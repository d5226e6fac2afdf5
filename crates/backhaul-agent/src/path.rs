//! Dot paths into nested objects: `sensors.roof.celsius`.
//!
//! Paths go through objects only, never into lists. A key that contains a dot cannot be
//! addressed. After [`MAX_PARTS`] parts the rest of a path is one key.

use std::sync::Arc;

use crate::shared_list::SharedList;
use crate::shared_object::SharedObject;
use crate::shared_value::SharedValue;

/// Bounds the recursion of a path that came in a record from elsewhere.
pub(crate) const MAX_PARTS: usize = 256;

/// The path of a key of the object at `parent`, which is empty for the outermost one.
pub(crate) fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

/// The keys that a path names, from the outermost on: at least one.
pub(crate) fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.splitn(MAX_PARTS, '.')
}

pub(crate) fn get<'a, 'p>(
    object: &'a SharedObject,
    mut parts: impl Iterator<Item = &'p str>,
) -> Option<&'a SharedValue> {
    let first = object.get(parts.next()?)?;
    parts.try_fold(first, |value, part| match value {
        SharedValue::Object(child) => child.get(part),
        _ => None,
    })
}

/// Replaces the value at the end of `parts` by what `change` makes of it, `None` when there
/// is none. Missing parents are made; a parent that is not an object is replaced by one.
pub(crate) fn update<'a>(
    object: &mut SharedObject,
    mut parts: impl Iterator<Item = &'a str>,
    change: impl FnOnce(Option<SharedValue>) -> SharedValue,
) {
    let first = parts.next().unwrap_or_default();
    update_parts(object, first, &mut parts, change);
}

fn update_parts<'a>(
    object: &mut SharedObject,
    key: &str,
    rest: &mut impl Iterator<Item = &'a str>,
    change: impl FnOnce(Option<SharedValue>) -> SharedValue,
) {
    let slot = object.get_mut(key);
    match (rest.next(), slot) {
        (None, Some(slot)) => *slot = change(Some(std::mem::replace(slot, SharedValue::Null))),
        (None, None) => object.insert(Arc::from(key), change(None)),
        (Some(next), Some(SharedValue::Object(child))) => update_parts(child, next, rest, change),
        (Some(next), _) => {
            let mut child = SharedObject::default();
            update_parts(&mut child, next, rest, change);
            object.insert(Arc::from(key), SharedValue::Object(child));
        }
    }
}

/// Removes the value at the end of `parts`; false when there is none.
pub(crate) fn remove<'a>(object: &mut SharedObject, parts: impl Iterator<Item = &'a str>) -> bool {
    let mut parts: Vec<&str> = parts.collect();
    // What is not there costs no copy of the way to it.
    if get(object, parts.iter().copied()).is_none() {
        return false;
    }
    let Some(last) = parts.pop() else {
        return false;
    };
    let parent = parts.into_iter().try_fold(object, |object, part| match object.get_mut(part) {
        Some(SharedValue::Object(child)) => Some(child),
        _ => None,
    });
    parent.is_some_and(|parent| parent.remove(last))
}

/// Puts `value` at the end of the list in `old`: a new list when there is nothing, and a
/// list of what is there when it is not a list.
pub(crate) fn append(old: Option<SharedValue>, value: SharedValue) -> SharedValue {
    let mut items = match old {
        Some(SharedValue::List(items)) => items,
        other => SharedList::from(Vec::from_iter(other)),
    };
    items.push(value);
    SharedValue::List(items)
}

/// Merges `changes` into the object in `old`, which counts as empty when it is not one.
pub(crate) fn merge(old: Option<SharedValue>, changes: &SharedObject) -> SharedValue {
    let mut object = match old {
        Some(SharedValue::Object(object)) => object,
        _ => SharedObject::default(),
    };
    merge_objects(&mut object, changes);
    SharedValue::Object(object)
}

fn merge_objects(target: &mut SharedObject, changes: &SharedObject) {
    for (key, change) in changes.iter() {
        match (target.get_mut(key), change) {
            (Some(SharedValue::Object(old)), SharedValue::Object(change)) => {
                merge_objects(old, change);
            }
            (_, change) => target.insert(Arc::clone(key), change.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object(value: Value) -> SharedObject {
        SharedObject::from(value.as_object().unwrap().clone())
    }

    #[test]
    fn path_of_a_million_parts_does_no_harm() {
        let path = "a.".repeat(1_000_000);
        let mut data = SharedObject::default();
        update(&mut data, parts(&path), |_| SharedValue::Bool(true));
        assert!(matches!(get(&data, parts(&path)), Some(SharedValue::Bool(true))));
        assert!(remove(&mut data, parts(&path)));
        assert!(get(&data, parts(&path)).is_none());
    }

    #[test]
    fn update_keeps_the_place_of_a_key() {
        let mut data = object(json!({"a": 1, "b": 2}));
        update(&mut data, parts("a"), |old| {
            SharedValue::List(SharedList::from(Vec::from_iter(old)))
        });
        assert_eq!(Value::Object(data.to_map()).to_string(), r#"{"a":[1],"b":2}"#);
    }

    #[test]
    fn remove_goes_through_objects_only() {
        let mut data = object(json!({"list": [{"a": 1}], "n": {"x": 1, "y": 2}}));
        assert!(!remove(&mut data, parts("list.0.a")));
        assert!(!remove(&mut data, parts("n.z")));
        assert!(remove(&mut data, parts("n.x")));
        assert_eq!(data, object(json!({"list": [{"a": 1}], "n": {"y": 2}})));
    }
}
