//! The patches between two contexts.

use crate::patch::{ContextPatch, PatchSource};
use crate::path::MAX_PARTS;
use crate::shared_object::SharedObject;
use crate::shared_value::{Equality, SharedValue};

/// The patches that make exactly `new` of `old`.
pub(crate) fn diff(old: &SharedObject, new: &SharedObject) -> Vec<ContextPatch> {
    Found::between(old, new, Equality::Text)
}

/// The patches that make of `old` what is equal to `new` in Python.
pub(crate) fn diff_in_python(old: &SharedObject, new: &SharedObject) -> Vec<ContextPatch> {
    Found::between(old, new, Equality::Python)
}

struct Found<'a> {
    by: Equality,
    /// The keys of the objects that are being compared, from the outermost on.
    at: Vec<&'a str>,
    removed: Vec<Vec<&'a str>>,
    set: Vec<(Vec<&'a str>, &'a SharedValue)>,
}

/// A change is in a key that no path reaches.
struct Unreachable;

impl<'a> Found<'a> {
    fn between(old: &'a SharedObject, new: &'a SharedObject, by: Equality) -> Vec<ContextPatch> {
        let mut found = Self { by, at: Vec::new(), removed: Vec::new(), set: Vec::new() };
        // All keys of the outermost object are reachable.
        let _ = found.compare(old, new);
        let removed = found.removed.into_iter().map(|keys| ContextPatch::delete("").at_keys(keys));
        let set = found.set.into_iter();
        let set = set.map(|(keys, value)| ContextPatch::set("", value.to_value()).at_keys(keys));
        let patches = removed.chain(set);
        patches.map(|patch| patch.source(PatchSource::System, "").reason("diff")).collect()
    }

    fn compare(&mut self, old: &'a SharedObject, new: &'a SharedObject) -> Result<(), Unreachable> {
        if old.is_same(new) {
            return Ok(());
        }
        match self.by {
            Equality::Text => self.compare_in_order(old, new),
            _ => self.compare_by_key(old, new),
        }
    }

    /// Keeps the keys of `old` that stand in the same order at the beginning of `new`. What
    /// is set comes to the end, so that all others are removed, and set if they are there.
    fn compare_in_order(
        &mut self,
        old: &'a SharedObject,
        new: &'a SharedObject,
    ) -> Result<(), Unreachable> {
        let mut wanted = new.iter().peekable();
        for (key, value) in old.iter() {
            match wanted.next_if(|(wanted, _)| *wanted == key) {
                Some((_, new)) => self.compare_values(key, value, new)?,
                None => self.remove(key)?,
            }
        }
        wanted.try_for_each(|(key, value)| self.set(key, value))
    }

    fn compare_by_key(
        &mut self,
        old: &'a SharedObject,
        new: &'a SharedObject,
    ) -> Result<(), Unreachable> {
        for (key, _) in old.iter().filter(|(key, _)| new.get(key).is_none()) {
            self.remove(key)?;
        }
        new.iter().try_for_each(|(key, value)| match old.get(key) {
            Some(old) => self.compare_values(key, old, value),
            None => self.set(key, value),
        })
    }

    fn compare_values(
        &mut self,
        key: &'a str,
        old: &'a SharedValue,
        new: &'a SharedValue,
    ) -> Result<(), Unreachable> {
        if let (SharedValue::Object(old), SharedValue::Object(new)) = (old, new)
            && self.is_reachable(key)
            && self.compare_below(key, old, new).is_ok()
        {
            return Ok(());
        }
        match old.equals(new, self.by) {
            true => Ok(()),
            false => self.set(key, new),
        }
    }

    /// What was found in there does not count when a part of it cannot be said.
    fn compare_below(
        &mut self,
        key: &'a str,
        old: &'a SharedObject,
        new: &'a SharedObject,
    ) -> Result<(), Unreachable> {
        let before = (self.removed.len(), self.set.len());
        self.at.push(key);
        let compared = self.compare(old, new);
        self.at.pop();
        if compared.is_err() {
            self.removed.truncate(before.0);
            self.set.truncate(before.1);
        }
        compared
    }

    fn remove(&mut self, key: &'a str) -> Result<(), Unreachable> {
        let keys = self.keys_of(key)?;
        self.removed.push(keys);
        Ok(())
    }

    fn set(&mut self, key: &'a str, value: &'a SharedValue) -> Result<(), Unreachable> {
        let keys = self.keys_of(key)?;
        self.set.push((keys, value));
        Ok(())
    }

    fn keys_of(&self, key: &'a str) -> Result<Vec<&'a str>, Unreachable> {
        // The outermost object has nothing above it that could be set instead.
        match self.at.is_empty() || self.is_reachable(key) {
            true => Ok(self.at.iter().copied().chain([key]).collect()),
            false => Err(Unreachable),
        }
    }

    /// Whether a path says this key: the last part that a path can have may contain dots.
    fn is_reachable(&self, key: &str) -> bool {
        let part = self.at.len() + 1;
        part == MAX_PARTS || part < MAX_PARTS && !key.contains('.')
    }
}

#[cfg(test)]
mod tests {
    use crate::json::{self, Style};
    use crate::{Context, ContextPatch, PatchLog, PatchOperation};
    use serde_json::{Value, json};

    fn context(value: Value) -> Context {
        Context::from_value(value).unwrap()
    }

    fn said(patches: &[ContextPatch]) -> Vec<(PatchOperation, &str)> {
        patches.iter().map(|patch| (patch.operation, patch.path.as_str())).collect()
    }

    fn replayed(old: &Context, patches: Vec<ContextPatch>) -> String {
        let replayed = PatchLog::from(patches).replay(old).unwrap();
        String::from_utf8(replayed.to_json()).unwrap()
    }

    /// Gives how many patches there were.
    fn assert_diff_replays(old: Value, new: Value) -> usize {
        let text = String::from_utf8(json::to_vec(&new, Style::Compact)).unwrap();
        let (old, new) = (context(old), context(new));
        let patches = old.diff(&new);
        let count = patches.len();
        assert_eq!(replayed(&old, patches), text);
        count
    }

    #[test]
    fn diff_replays_to_the_other_context() {
        assert_diff_replays(json!({}), json!({"a": {"b": [1]}}));
        assert_diff_replays(
            json!({"a": {"b": 1, "c": 2}, "x": 1}),
            json!({"a": {"c": 3}, "y": {}}),
        );
        assert_diff_replays(json!({"a": 1}), json!({"a": {"b": 1}}));
        assert_diff_replays(json!({"a": {"b": 1}}), json!({"a": [1]}));
    }

    #[test]
    fn key_with_a_dot_sets_the_object_that_holds_it() {
        for (old, new) in [
            (json!({"a": {"x.y": 1, "z": 1}}), json!({"a": {"x.y": 2, "z": 1}})),
            (json!({"a": {"x.y": {"k": 1}}}), json!({"a": {"x.y": {"k": 2}}})),
            (json!({"a": {"x.y": 1, "z": 1}}), json!({"a": {"z": 2}})),
        ] {
            assert_eq!(
                said(&context(old.clone()).diff(&context(new.clone()))),
                [(PatchOperation::Set, "a")]
            );
            assert_diff_replays(old, new);
        }
        let untouched = json!({"a": {"x.y": {"big": 1}, "z": 1}});
        let changed = context(untouched.clone()).set("a.z", 2);
        assert_eq!(said(&context(untouched).diff(&changed)), [(PatchOperation::Set, "a.z")]);
    }

    #[test]
    fn outermost_key_with_a_dot_is_given_by_its_keys() {
        let old = json!({"x.y": {"k": 1}, "x": {"y": 0}, "gone.key": 1});
        let new = json!({"x.y": {"k": 2}, "x": {"y": 0}, "new.key": [1]});
        assert_eq!(assert_diff_replays(old.clone(), new.clone()), 3);
        let patches = context(old.clone()).diff(&context(new));
        let stored: Vec<_> = patches.iter().map(ContextPatch::to_value).collect();
        let read = stored.into_iter().map(|it| ContextPatch::from_value(it).unwrap()).collect();
        let expected = r#"{"x.y":{"k":2},"x":{"y":0},"new.key":[1]}"#;
        assert_eq!(replayed(&context(old), read), expected);
    }

    #[test]
    fn empty_keys_are_told_from_the_outermost_object() {
        let count = assert_diff_replays(
            json!({"": {"": {"k": 1}, "k": 1}, "k": 1}),
            json!({"": {"": {"k": 2}, "k": 1}, "k": 1}),
        );
        assert_eq!(count, 1);
    }

    #[test]
    fn change_beyond_the_last_part_of_a_path_sets_what_a_path_reaches() {
        let nested =
            |depth: usize, inner: Value| (0..depth).fold(inner, |value, _| json!({"k": value}));
        for depth in [254, 255, 256, 300] {
            for key in ["plain", "with.dot"] {
                let old = nested(depth, json!({key: 1, "same": 1}));
                let new = nested(depth, json!({key: 2, "same": 1}));
                assert_eq!(assert_diff_replays(old, new), 1, "{depth} {key}");
            }
        }
    }

    #[test]
    fn order_of_keys_is_a_change() {
        assert_eq!(assert_diff_replays(json!({"a": 1, "b": 2}), json!({"b": 2, "a": 1})), 2);
        let old = json!({"in": [{"a": 1, "b": 2}]});
        assert_eq!(assert_diff_replays(old, json!({"in": [{"b": 2, "a": 1}]})), 1);
        let moved = context(json!({"a": 1, "b": 2, "c": 3})).delete("b").set("b", 2);
        assert_eq!(assert_diff_replays(json!({"a": 1, "b": 2, "c": 3}), moved.to_value()), 2);
    }

    #[test]
    fn removals_come_first_and_name_the_smallest_change() {
        let old = context(json!({"keep": {"a": 1, "b": 2}, "gone": 1}));
        let new = context(json!({"keep": {"a": 9, "b": 2}}));
        let patches = old.diff(&new);
        assert_eq!(
            said(&patches),
            [(PatchOperation::Delete, "gone"), (PatchOperation::Set, "keep.a")]
        );
        assert!(patches.iter().all(|patch| patch.reason == "diff"));
    }

    #[test]
    fn values_that_python_calls_equal_are_a_change_only_here() {
        let old = context(json!({"a": 1, "b": [true], "c": 0, "d": {"x": 1, "y": 2}}));
        let new = context(json!({"b": [1], "c": false, "a": 1.0, "d": {"y": 2.0, "x": 1}}));
        assert_eq!(old.diff_in_python(&new), []);
        assert_diff_replays(old.to_value(), new.to_value());
        let changed = new.set("d.y", 3).delete("a");
        assert_eq!(
            said(&old.diff_in_python(&changed)),
            [(PatchOperation::Delete, "a"), (PatchOperation::Set, "d.y")]
        );
    }
}
