//! The state that a run carries from step to step.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::fields::{FieldError, Fields};
use crate::json::Writer;
use crate::patch::{ContextPatch, PatchOperation};
use crate::shape::Node;
use crate::{path, time};

/// An immutable object of keys and values, and the patches that were applied to it.
///
/// Every change gives a new context and leaves the old one as it was, nested values
/// included. A clone costs two reference counts; a change copies the data.
///
/// Paths are dot paths through objects (`sensors.roof`), never into lists. A key that
/// contains a dot cannot be addressed by path. Parts after the 256th are one key.
///
/// ```
/// use backhaul_agent::Context;
/// use serde_json::json;
///
/// let empty = Context::new();
/// let warm = empty.set("sensors.roof.celsius", 31.5).append("alerts", "roof is warm");
/// assert_eq!(warm.get("sensors.roof.celsius"), Some(&json!(31.5)));
/// assert_eq!(warm.get("alerts"), Some(&json!(["roof is warm"])));
/// assert_eq!(empty, Context::new());
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Context {
    data: Arc<Map<String, Value>>,
    patch_history: Arc<Vec<Arc<ContextPatch>>>,
}

impl Context {
    /// A context without keys or history.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value at `path`; a stored `null` is `Some(Value::Null)`.
    pub fn get(&self, path: &str) -> Option<&Value> {
        path::get(&self.data, path)
    }

    /// Puts `value` at `path`. Missing parents are made, and a parent that is not an
    /// object is replaced by one. Adds nothing to the history; [`Context::apply`] does.
    #[must_use = "a context does not change; this is the changed one"]
    pub fn set(&self, path: &str, value: impl Into<Value>) -> Self {
        self.edit(|data| path::update(data, path, |_| value.into()))
    }

    /// Removes what is at `path`; unchanged when there is nothing.
    #[must_use = "a context does not change; this is the changed one"]
    pub fn delete(&self, path: &str) -> Self {
        match self.get(path) {
            Some(_) => self.edit(|data| {
                path::remove(data, path);
            }),
            None => self.clone(),
        }
    }

    /// Adds `value` to the list at `path`: a new list when there is nothing, and what is
    /// there becomes the first item when it is not a list.
    #[must_use = "a context does not change; this is the changed one"]
    pub fn append(&self, path: &str, value: impl Into<Value>) -> Self {
        self.edit(|data| path::update(data, path, |old| path::append(old, value.into())))
    }

    /// Merges `changes` into the object at `path`: objects merge, other values replace.
    /// What is not an object counts as an empty one.
    #[must_use = "a context does not change; this is the changed one"]
    pub fn deep_merge(&self, path: &str, changes: Map<String, Value>) -> Self {
        self.edit(|data| path::update(data, path, |old| path::merge(old, changes)))
    }

    /// Takes over each top-level key of `other`; the history stays this context's.
    #[must_use = "a context does not change; this is the changed one"]
    pub fn merge(&self, other: &Context) -> Self {
        self.edit(|data| {
            for (key, value) in other.data.iter() {
                data.insert(key.clone(), value.clone());
            }
        })
    }

    /// Does what `patch` says and adds it to the history, even when it changed nothing.
    ///
    /// # Errors
    /// [`ContextError::NotAnObject`] for a merge of something that is not an object.
    pub fn apply(&self, patch: &ContextPatch) -> Result<Self, ContextError> {
        let mut next = self.clone();
        next.apply_in_place(Arc::new(patch.clone()))?;
        Ok(next)
    }

    /// The patches that make `other` of this context: removals first, then new values, in
    /// the order of the keys, with source `system` and reason `diff`.
    ///
    /// Values that are equal in Python (`1`, `1.0` and `True`) make no patch. A top-level
    /// key that contains a dot is written as the path all the same, which cannot be
    /// replayed.
    pub fn diff(&self, other: &Context) -> Vec<ContextPatch> {
        crate::context_diff::diff(&self.data, &other.data)
    }

    /// The keys and values.
    pub fn data(&self) -> &Map<String, Value> {
        &self.data
    }

    /// Every applied patch, oldest first.
    pub fn get_timeline(&self) -> &[Arc<ContextPatch>] {
        &self.patch_history
    }

    /// The same data, with the newest so many patches of the history.
    ///
    /// ```
    /// use backhaul_agent::{Context, ContextPatch};
    /// let context = Context::new().apply(&ContextPatch::set("a", 1))?;
    /// let context = context.apply(&ContextPatch::set("b", 2))?.with_history_limit(1);
    /// assert_eq!(context.get_timeline()[0].path, "b");
    /// assert_eq!(context.data().len(), 2);
    /// # Ok::<(), backhaul_agent::ContextError>(())
    /// ```
    #[must_use = "a context does not change; this is the changed one"]
    pub fn with_history_limit(&self, newest: usize) -> Self {
        let extra = self.patch_history.len().saturating_sub(newest);
        if extra == 0 {
            return self.clone();
        }
        let kept = self.patch_history.iter().skip(extra).cloned().collect();
        Self { data: Arc::clone(&self.data), patch_history: Arc::new(kept) }
    }

    /// The context as it was after the patch with this id, rebuilt from an **empty** one;
    /// data that no patch set is not in it. `None` gives an empty context.
    ///
    /// # Errors
    /// [`ContextError::UnknownPatch`] when the history has no such patch.
    pub fn rollback_to(&self, patch_id: Option<&str>) -> Result<Self, ContextError> {
        let Some(patch_id) = patch_id else {
            return Ok(Self::new());
        };
        let last = self.patch_history.iter().position(|patch| patch.id == patch_id);
        let last = last.ok_or_else(|| ContextError::UnknownPatch { id: patch_id.to_owned() })?;
        let mut rebuilt = Self::new();
        for patch in self.patch_history.iter().take(last + 1) {
            rebuilt.apply_in_place(Arc::clone(patch))?;
        }
        Ok(rebuilt)
    }

    /// A hex SHA-256 over the data and the ids of the patches, equal to the one in Python.
    ///
    /// ```
    /// use backhaul_agent::Context;
    /// assert_eq!(
    ///     Context::new().state_hash(),
    ///     "2b7848967e0324c7a47c266224f07ec75f3fad5c99d1434bca24b54f47124910",
    /// );
    /// ```
    pub fn state_hash(&self) -> String {
        let mut data = Writer::sorted();
        data.map(&self.data);
        let ids: Vec<&str> = self.patch_history.iter().map(|patch| patch.id.as_str()).collect();
        let digest = Sha256::new()
            .chain_update(data.into_bytes())
            .chain_update(b"|")
            .chain_update(ids.join(","))
            .finalize();
        digest.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// The bare data, without the history: as in a run record.
    pub fn to_value(&self) -> Value {
        Value::Object(self.data.as_ref().clone())
    }

    /// A context of bare data.
    ///
    /// # Errors
    /// When `value` is not an object.
    pub fn from_value(value: Value) -> Result<Self, FieldError> {
        match value {
            Value::Object(data) => Ok(Self::from(data)),
            other => Err(FieldError::new("", Some(&other), "an object")),
        }
    }

    /// `{"data": …, "patch_history": […]}`: as in a checkpoint.
    pub fn to_checkpoint_value(&self) -> Value {
        let history = Node::list(&self.patch_history, |patch| patch.shape());
        let entries = vec![("data", Node::Map(&self.data)), ("patch_history", history)];
        Node::Object(entries).into_value()
    }

    /// Reads what [`Context::to_checkpoint_value`] gives, `{"data": …}`, or bare data.
    ///
    /// Bare data whose only key is `data`, holding an object, cannot be told from the
    /// second form and is read as that, as upstream does.
    ///
    /// # Errors
    /// When `value` is not an object, or a patch in it cannot be read.
    ///
    /// ```
    /// use backhaul_agent::{Context, ContextPatch};
    /// let context = Context::new().apply(&ContextPatch::set("n", 1))?;
    /// let restored = Context::from_checkpoint_value(context.to_checkpoint_value())?;
    /// assert_eq!(restored, context);
    /// assert_eq!(restored.get_timeline().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_checkpoint_value(value: Value) -> Result<Self, FieldError> {
        if !is_checkpoint(&value) {
            return Self::from_value(value);
        }
        let mut fields = Fields::of_document(value, time::now())?;
        let data = fields.object("data")?;
        let patches = fields.list_of("patch_history", ContextPatch::read)?;
        Ok(Self {
            data: Arc::new(data),
            patch_history: Arc::new(patches.into_iter().map(Arc::new).collect()),
        })
    }

    /// [`Context::apply`] without a copy of data that nobody else holds.
    pub(crate) fn apply_in_place(&mut self, patch: Arc<ContextPatch>) -> Result<(), ContextError> {
        let value = || patch.value.clone();
        let target = patch.path.as_str();
        match patch.operation {
            PatchOperation::Set => path::update(self.data_mut(), target, |_| value()),
            PatchOperation::Append => {
                path::update(self.data_mut(), target, |old| path::append(old, value()));
            }
            PatchOperation::Delete => {
                path::remove(self.data_mut(), target);
            }
            PatchOperation::Merge => {
                let Value::Object(changes) = value() else {
                    return Err(ContextError::NotAnObject {
                        patch_id: patch.id.clone(),
                        path: patch.path.clone(),
                    });
                };
                path::update(self.data_mut(), target, |old| path::merge(old, changes));
            }
        }
        Arc::make_mut(&mut self.patch_history).push(patch);
        Ok(())
    }

    fn data_mut(&mut self) -> &mut Map<String, Value> {
        Arc::make_mut(&mut self.data)
    }

    fn edit(&self, change: impl FnOnce(&mut Map<String, Value>)) -> Self {
        let mut next = self.clone();
        change(next.data_mut());
        next
    }
}

fn is_checkpoint(value: &Value) -> bool {
    value.as_object().is_some_and(|map| {
        map.get("data").is_some_and(Value::is_object)
            && map.keys().all(|key| key == "data" || key == "patch_history")
    })
}

impl From<Map<String, Value>> for Context {
    fn from(data: Map<String, Value>) -> Self {
        Self { data: Arc::new(data), patch_history: Arc::default() }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("data", &self.data)
            .field("patch_history", &self.patch_history.len())
            .finish()
    }
}

/// Why a context could not be changed or rebuilt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContextError {
    /// A merge patch whose value is not an object.
    NotAnObject {
        /// The id of the patch.
        patch_id: String,
        /// The path of the patch.
        path: String,
    },
    /// A patch id that is not in the history.
    UnknownPatch {
        /// The id that was asked for.
        id: String,
    },
}

impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject { patch_id, path } => {
                write!(f, "patch {patch_id} merges a value into `{path}` that is not an object")
            }
            Self::UnknownPatch { id } => write!(f, "no patch {id} in the history of the context"),
        }
    }
}

impl std::error::Error for ContextError {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn context(value: Value) -> Context {
        Context::from_value(value).unwrap()
    }

    #[test]
    fn state_hash_equals_that_of_python() {
        assert_eq!(
            context(json!({"b": 1, "a": [1, 2]})).state_hash(),
            "d0f4efffd7111398126fec3adfb76eaa7186619d5b668e0adb0256c7086a3c58"
        );
    }

    #[test]
    fn set_leaves_the_nested_values_of_the_original() {
        let original = context(json!({"user": {"n": 1}}));
        let changed = original.set("user.n", 2);
        assert_eq!(original.get("user.n"), Some(&json!(1)));
        assert_eq!(changed.get("user.n"), Some(&json!(2)));
    }

    #[test]
    fn set_replaces_a_parent_that_is_not_an_object() {
        assert_eq!(context(json!({"a": 1})).set("a.b", 2), context(json!({"a": {"b": 2}})));
    }

    #[test]
    fn get_tells_null_from_nothing_and_does_not_enter_lists() {
        let context = context(json!({"none": null, "list": [1]}));
        assert_eq!(context.get("none"), Some(&Value::Null));
        assert_eq!(context.get("missing"), None);
        assert_eq!(context.get("list.0"), None);
    }

    #[test]
    fn delete_of_nothing_changes_nothing() {
        let before = context(json!({"a": {"b": 1}}));
        assert_eq!(before.delete("a.c").delete("x.y").delete("a.b.c"), before);
        assert_eq!(before.delete("a.b"), context(json!({"a": {}})));
    }

    #[test]
    fn append_wraps_what_is_not_a_list() {
        let grown = context(json!({"one": 1})).append("one", 2).append("new.list", 3);
        assert_eq!(grown, context(json!({"one": [1, 2], "new": {"list": [3]}})));
    }

    #[test]
    fn deep_merge_merges_objects_and_replaces_the_rest() {
        let changes = json!({"x": {"new": 1}, "list": [9]}).as_object().unwrap().clone();
        let merged = context(json!({"a": {"x": {"old": 0}, "list": [1, 2]}, "b": 1}))
            .deep_merge("a", changes.clone())
            .deep_merge("b", changes);
        let expected = json!({
            "a": {"x": {"old": 0, "new": 1}, "list": [9]},
            "b": {"x": {"new": 1}, "list": [9]},
        });
        assert_eq!(merged, context(expected));
    }

    #[test]
    fn merge_is_shallow_and_keeps_the_own_history() {
        let left = Context::new().apply(&ContextPatch::set("a.x", 1)).unwrap();
        let right = Context::new().apply(&ContextPatch::set("a.y", 2)).unwrap();
        let merged = left.merge(&right);
        assert_eq!(merged.to_value(), json!({"a": {"y": 2}}));
        assert_eq!(merged.get_timeline(), left.get_timeline());
    }

    #[test]
    fn apply_records_even_a_patch_that_changes_nothing() {
        let after = Context::new().apply(&ContextPatch::delete("nothing")).unwrap();
        assert_eq!(after.get_timeline().len(), 1);
        assert_eq!(after.to_value(), json!({}));
    }

    #[test]
    fn merge_patch_of_a_number_is_an_error_that_names_it() {
        let patch = ContextPatch::merge("sensors", 7);
        let error = Context::new().apply(&patch).unwrap_err();
        assert!(error.to_string().contains("`sensors`"), "{error}");
        assert!(error.to_string().contains(&patch.id), "{error}");
    }

    #[test]
    fn rollback_rebuilds_from_patches_alone() {
        let patches = [ContextPatch::set("a", 1), ContextPatch::append("b", 2)];
        let mut current = context(json!({"initial": true}));
        for patch in &patches {
            current = current.apply(patch).unwrap();
        }
        let first = current.rollback_to(Some(&patches[0].id)).unwrap();
        assert_eq!(first.to_value(), json!({"a": 1}));
        assert_eq!(first.get_timeline().len(), 1);
        assert_eq!(current.rollback_to(None), Ok(Context::new()));
        let error = current.rollback_to(Some("patch_x")).unwrap_err();
        assert_eq!(error, ContextError::UnknownPatch { id: "patch_x".into() });
    }

    #[test]
    fn checkpoint_reader_takes_all_three_forms() {
        let bare = json!({"data": {"x": 1}, "other": 2});
        assert_eq!(Context::from_checkpoint_value(bare.clone()), Ok(context(bare)));
        let wrapped = Context::from_checkpoint_value(json!({"data": {"x": 1}})).unwrap();
        assert_eq!(wrapped, context(json!({"x": 1})));
        let broken = json!({"data": {}, "patch_history": [{"path": "a"}]});
        let error = Context::from_checkpoint_value(broken).unwrap_err();
        assert_eq!(error.path(), "patch_history[0].operation");
    }
}
