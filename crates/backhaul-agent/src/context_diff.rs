//! The patches between two contexts.

use serde_json::{Map, Value};

use crate::json::same_in_python;
use crate::patch::{ContextPatch, PatchSource};
use crate::path;

type Data = Map<String, Value>;

pub(crate) fn diff(old: &Data, new: &Data) -> Vec<ContextPatch> {
    let mut found = Found::default();
    found.compare("", old, new);
    let patches = found.removed.into_iter().chain(found.set);
    patches.map(|patch| patch.source(PatchSource::System, "").reason("diff")).collect()
}

#[derive(Default)]
struct Found {
    removed: Vec<ContextPatch>,
    set: Vec<ContextPatch>,
}

impl Found {
    fn compare(&mut self, prefix: &str, old: &Data, new: &Data) {
        for key in old.keys().filter(|key| !new.contains_key(*key)) {
            self.removed.push(ContextPatch::delete(path::join(prefix, key)));
        }
        for (key, value) in new {
            let path = path::join(prefix, key);
            match (old.get(key), value) {
                (Some(Value::Object(old)), Value::Object(new)) if is_addressable(old, new) => {
                    self.compare(&path, old, new);
                }
                (Some(old), new) if same_in_python(old, new) => {}
                _ => self.set.push(ContextPatch::set(path, value.clone())),
            }
        }
    }
}

/// Whether each key in which the two differ can be written as a path; if not, the object
/// that holds it is set as a whole.
fn is_addressable(old: &Data, new: &Data) -> bool {
    let differs = |key: &str| match (old.get(key), new.get(key)) {
        (Some(old), Some(new)) => !same_in_python(old, new),
        _ => true,
    };
    let mut dotted = old.keys().chain(new.keys()).filter(|key| key.contains('.'));
    !dotted.any(|key| differs(key))
}

#[cfg(test)]
mod tests {
    use crate::{Context, PatchLog, PatchOperation};
    use serde_json::{Value, json};

    fn context(value: Value) -> Context {
        Context::from_value(value).unwrap()
    }

    fn assert_diff_replays(old: Value, new: Value) {
        let (old, new) = (context(old), context(new));
        let replayed = PatchLog::from(old.diff(&new)).replay(&old).unwrap();
        assert_eq!(replayed.to_value(), new.to_value());
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
        assert_diff_replays(json!({"a": {"x.y": 1, "z": 1}}), json!({"a": {"x.y": 2, "z": 1}}));
        assert_diff_replays(json!({"a": {"x.y": {"k": 1}}}), json!({"a": {"x.y": {"k": 2}}}));
        assert_diff_replays(json!({"a": {"x.y": 1, "z": 1}}), json!({"a": {"z": 2}}));
    }

    #[test]
    fn removals_come_first_and_name_the_smallest_change() {
        let old = context(json!({"keep": {"a": 1, "b": 2}, "gone": 1}));
        let new = context(json!({"keep": {"a": 9, "b": 2}}));
        let patches = old.diff(&new);
        let seen: Vec<_> = patches.iter().map(|p| (p.operation, p.path.as_str())).collect();
        assert_eq!(seen, [(PatchOperation::Delete, "gone"), (PatchOperation::Set, "keep.a")]);
        assert!(patches.iter().all(|patch| patch.reason == "diff"));
    }

    #[test]
    fn values_that_python_calls_equal_make_no_patch() {
        let old = context(json!({"a": 1, "b": [true], "c": 0}));
        assert_eq!(old.diff(&context(json!({"a": 1.0, "b": [1], "c": false}))), []);
    }
}
