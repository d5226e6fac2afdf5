//! The state that a run carries from step to step.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::context_error::ContextError;
use crate::patch::{ContextPatch, PatchOperation};
use crate::patch_history::PatchHistory;
use crate::path;
use crate::shared_object::SharedObject;
use crate::shared_value::SharedValue;
use crate::shared_walk;

/// An immutable object of keys and values, and the patches that were applied to it.
///
/// Every change gives a new context and leaves the old one as it was, nested values
/// included. Both share all that is the same: a clone costs a few reference counts, and a
/// change copies the objects and lists on its path, of large ones only the part where it
/// is, so that it costs about the same whether the context holds a kilobyte or ten
/// megabytes. What a change is given is of course taken in whole.
///
/// Paths are dot paths through objects (`sensors.roof`), never into lists. A key that
/// contains a dot cannot be addressed by path. Parts after the 256th are one key.
///
/// Keys keep the order in which they came: a value that is replaced keeps its place, a key
/// that is deleted and set again goes to the end. Two contexts that differ only in the
/// order of keys are equal.
///
/// ```
/// use backhaul_agent::Context;
/// use serde_json::json;
///
/// let empty = Context::new();
/// let warm = empty.set("sensors.roof.celsius", 31.5).append("alerts", "roof is warm");
/// assert_eq!(warm.get("sensors.roof.celsius"), Some(json!(31.5)));
/// assert_eq!(warm.get("alerts"), Some(json!(["roof is warm"])));
/// assert_eq!(empty, Context::new());
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Context {
    data: SharedObject,
    history: PatchHistory,
}

impl Context {
    /// A context without keys or history.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value at `path`; a stored `null` is `Some(Value::Null)`.
    ///
    /// A number or a text costs its own length, a list or object is copied whole:
    /// [`Context::contains`] asks without a copy.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.find(path).map(SharedValue::to_value)
    }

    /// Whether there is a value at `path`, `null` included.
    pub fn contains(&self, path: &str) -> bool {
        self.find(path).is_some()
    }

    /// How many keys the outermost object has.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// How deep lists and objects nest, the outermost object included. All of it is walked
    /// through.
    ///
    /// ```
    /// use backhaul_agent::Context;
    /// assert_eq!(Context::new().set("sensors.roof", vec![31]).depth(), 3);
    /// ```
    pub fn depth(&self) -> usize {
        shared_walk::depth(&SharedValue::Object(self.data.clone()))
    }

    /// Whether it has none. The history is not looked at.
    pub fn is_empty(&self) -> bool {
        self.data.len() == 0
    }

    /// The keys of the outermost object, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.data.iter().map(|(key, _)| key.as_ref())
    }

    /// Puts `value` at `path`. Missing parents are made, and a parent that is not an
    /// object is replaced by one. Adds nothing to the history; [`Context::apply`] does.
    #[must_use = "a context does not change; this is the changed one"]
    pub fn set(&self, path: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.edit(|data| path::update(data, path::parts(path), |_| value.into()))
    }

    /// Removes what is at `path`; unchanged when there is nothing.
    #[must_use = "a context does not change; this is the changed one"]
    pub fn delete(&self, path: &str) -> Self {
        self.edit(|data| {
            path::remove(data, path::parts(path));
        })
    }

    /// Adds `value` to the list at `path`: a new list when there is nothing, and what is
    /// there becomes the first item when it is not a list.
    #[must_use = "a context does not change; this is the changed one"]
    pub fn append(&self, path: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.edit(|data| {
            path::update(data, path::parts(path), |old| path::append(old, value.into()));
        })
    }

    /// Merges `changes` into the object at `path`: objects merge, other values replace.
    /// What is not an object counts as an empty one.
    #[must_use = "a context does not change; this is the changed one"]
    pub fn deep_merge(&self, path: &str, changes: Map<String, Value>) -> Self {
        let changes = SharedObject::from(changes);
        self.edit(|data| path::update(data, path::parts(path), |old| path::merge(old, &changes)))
    }

    /// Takes over each top-level key of `other`; the history stays this context's.
    #[must_use = "a context does not change; this is the changed one"]
    pub fn merge(&self, other: &Context) -> Self {
        self.edit(|data| {
            for (key, value) in other.data.iter() {
                data.insert(Arc::clone(key), value.clone());
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

    /// The patches that make exactly `other` of this context, the order of keys included:
    /// removals first, then new values, with source `system` and reason `diff`.
    ///
    /// Applied in order to this context they give one with the same JSON as `other`, to the
    /// letter. What both share is not looked into, so that two versions of one large context
    /// are compared quickly. The histories are not compared.
    ///
    /// - A change inside a list sets the whole list.
    /// - A change that no path reaches, since a key on the way contains a dot or stands more
    ///   than 256 deep, sets the nearest object above it that a path does reach. A top-level
    ///   key with a dot is given by [`ContextPatch::at_keys`], since nothing is above it.
    /// - A key whose place changed is removed and set again, and so is each one after it.
    ///
    /// Upstream makes fewer patches: see [`Context::diff_in_python`].
    ///
    /// ```
    /// use backhaul_agent::Context;
    /// use serde_json::json;
    ///
    /// let old = Context::from_value(json!({"gone": 0, "roof": {"celsius": 31, "open": true}}))?;
    /// let new = old.delete("gone").set("roof.celsius", 32);
    /// let patches = old.diff(&new);
    /// let said: Vec<_> = patches.iter().map(|it| format!("{} {}", it.operation, it.path)).collect();
    /// assert_eq!(said, ["delete gone", "set roof.celsius"]);
    /// # Ok::<(), backhaul_agent::FieldError>(())
    /// ```
    pub fn diff(&self, other: &Context) -> Vec<ContextPatch> {
        crate::context_diff::diff(&self.data, &other.data)
    }

    /// [`Context::diff`] by Python's equality, as upstream has it: what is equal there makes
    /// no patch, such as `1`, `1.0` and `True`, or another order of the same keys.
    pub fn diff_in_python(&self, other: &Context) -> Vec<ContextPatch> {
        crate::context_diff::diff_in_python(&self.data, &other.data)
    }

    /// Every applied patch that is kept, oldest first.
    pub fn get_timeline(
        &self,
    ) -> impl DoubleEndedIterator<Item = &Arc<ContextPatch>> + ExactSizeIterator {
        self.history.iter()
    }

    /// The same data without any patch; what is applied from now on is kept again.
    #[must_use = "a context does not change; this is the changed one"]
    pub fn without_history(&self) -> Self {
        Self { data: self.data.clone(), history: self.history.emptied() }
    }

    /// Keeps the newest `patches` of the history, now and in every context made of this one;
    /// without it, all of them are kept. The limit is in no JSON, and two contexts that
    /// differ only in it are equal.
    ///
    /// What was dropped is missing where the history counts: [`Context::rollback_to`] rebuilds
    /// from what is left, and [`Context::state_hash`] is that of a shorter history.
    ///
    /// ```
    /// use backhaul_agent::{Context, ContextPatch};
    ///
    /// let mut context = Context::new().with_history_limit(100);
    /// for round in 0..1000 {
    ///     context = context.apply(&ContextPatch::set("round", round))?;
    /// }
    /// assert_eq!(context.get_timeline().len(), 100);
    /// # Ok::<(), backhaul_agent::ContextError>(())
    /// ```
    #[must_use = "a context does not change; this is the changed one"]
    pub fn with_history_limit(&self, patches: usize) -> Self {
        Self { data: self.data.clone(), history: self.history.limited(patches) }
    }

    /// The context as it was after the patch with this id, rebuilt from an **empty** one;
    /// data that no patch of the history set is not in it. `None` gives an empty context.
    ///
    /// # Errors
    /// [`ContextError::UnknownPatch`] when the history has no such patch.
    pub fn rollback_to(&self, patch_id: Option<&str>) -> Result<Self, ContextError> {
        let mut rebuilt = Self::new_with(SharedObject::default(), self.history.emptied());
        let Some(patch_id) = patch_id else {
            return Ok(rebuilt);
        };
        let last = self.history.iter().position(|patch| patch.id == patch_id);
        let last = last.ok_or_else(|| ContextError::UnknownPatch { id: patch_id.to_owned() })?;
        for patch in self.history.iter().take(last + 1) {
            rebuilt.apply_in_place(Arc::clone(patch))?;
        }
        Ok(rebuilt)
    }

    pub(crate) fn new_with(data: SharedObject, history: PatchHistory) -> Self {
        Self { data, history }
    }

    /// The keys and values.
    pub(crate) fn data(&self) -> &SharedObject {
        &self.data
    }

    /// The same history with other data.
    pub(crate) fn with_data(&self, data: SharedObject) -> Self {
        Self { data, history: self.history.clone() }
    }

    /// [`Context::apply`] without a copy of what nobody else holds.
    pub(crate) fn apply_in_place(&mut self, patch: Arc<ContextPatch>) -> Result<(), ContextError> {
        let keys = patch.keys().into_iter();
        let value = || SharedValue::from(patch.value.clone());
        match patch.operation {
            PatchOperation::Set => path::update(&mut self.data, keys, |_| value()),
            PatchOperation::Append => {
                path::update(&mut self.data, keys, |old| path::append(old, value()));
            }
            PatchOperation::Delete => {
                path::remove(&mut self.data, keys);
            }
            PatchOperation::Merge => {
                let SharedValue::Object(changes) = value() else {
                    return Err(ContextError::NotAnObject {
                        patch_id: patch.id.clone(),
                        path: patch.path.clone(),
                    });
                };
                path::update(&mut self.data, keys, |old| path::merge(old, &changes));
            }
        }
        self.history.push(patch);
        Ok(())
    }

    fn find(&self, path: &str) -> Option<&SharedValue> {
        path::get(&self.data, path::parts(path))
    }

    fn edit(&self, change: impl FnOnce(&mut SharedObject)) -> Self {
        let mut next = self.clone();
        change(&mut next.data);
        next
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("data", &self.data)
            .field("patch_history", &self.history.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn context(value: Value) -> Context {
        Context::from_value(value).unwrap()
    }

    #[test]
    fn set_leaves_the_nested_values_of_the_original() {
        let original = context(json!({"user": {"n": 1}}));
        let changed = original.set("user.n", 2);
        assert_eq!(original.get("user.n"), Some(json!(1)));
        assert_eq!(changed.get("user.n"), Some(json!(2)));
    }

    #[test]
    fn set_replaces_a_parent_that_is_not_an_object() {
        assert_eq!(context(json!({"a": 1})).set("a.b", 2), context(json!({"a": {"b": 2}})));
    }

    #[test]
    fn get_tells_null_from_nothing_and_does_not_enter_lists() {
        let context = context(json!({"none": null, "list": [1]}));
        assert_eq!(context.get("none"), Some(Value::Null));
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
        assert!(merged.get_timeline().eq(left.get_timeline()));
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
}
