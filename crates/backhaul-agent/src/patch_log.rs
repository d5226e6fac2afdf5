//! An ordered list of patches.

use std::sync::Arc;

use backhaul_store::Timestamp;
use serde_json::Value;

use crate::context::Context;
use crate::context_error::ContextError;
use crate::fields::{FieldError, Fields};
use crate::patch::{ContextPatch, PatchSource};
use crate::time;

/// Patches in the order in which they were made.
///
/// Immutable: what adds or filters gives a new log.
///
/// ```
/// use backhaul_agent::{Context, ContextPatch, PatchLog};
/// use serde_json::json;
///
/// let log = PatchLog::new()
///     .append(ContextPatch::from_tool("thermometer", "celsius", 21.5))
///     .append(ContextPatch::set("alerts", json!([])));
/// assert_eq!(log.filter_by_source_id("thermometer").len(), 1);
/// assert_eq!(log.replay(&Context::new())?.get("celsius"), Some(json!(21.5)));
/// # Ok::<(), backhaul_agent::ContextError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PatchLog {
    patches: Vec<ContextPatch>,
}

impl PatchLog {
    /// A log without patches.
    pub fn new() -> Self {
        Self::default()
    }

    /// The log with one more patch.
    #[must_use]
    pub fn append(mut self, patch: ContextPatch) -> Self {
        self.patches.push(patch);
        self
    }

    /// The log with more patches.
    #[must_use]
    pub fn extend(mut self, patches: impl IntoIterator<Item = ContextPatch>) -> Self {
        self.patches.extend(patches);
        self
    }

    /// Applies every patch in order to `initial`.
    ///
    /// # Errors
    /// What [`Context::apply`] gives for the first patch that cannot be applied.
    pub fn replay(&self, initial: &Context) -> Result<Context, ContextError> {
        let mut context = initial.clone();
        for patch in &self.patches {
            context.apply_in_place(Arc::new(patch.clone()))?;
        }
        Ok(context)
    }

    /// The patches of one kind of actor.
    pub fn filter_by_source(&self, source: PatchSource) -> Self {
        self.filter(|patch| patch.source == source)
    }

    /// The patches of one actor.
    pub fn filter_by_source_id(&self, source_id: &str) -> Self {
        self.filter(|patch| patch.source_id == source_id)
    }

    /// The patches tied together by one correlation id.
    pub fn filter_by_correlation_id(&self, correlation_id: &str) -> Self {
        self.filter(|patch| patch.correlation_id.as_deref() == Some(correlation_id))
    }

    /// The patches whose path starts with these characters: `user` finds `username` too.
    pub fn filter_by_path_prefix(&self, prefix: &str) -> Self {
        self.filter(|patch| patch.path.starts_with(prefix))
    }

    /// The patches from `start` to `end`, both included; `None` is no limit.
    pub fn filter_by_time_range(&self, start: Option<Timestamp>, end: Option<Timestamp>) -> Self {
        self.filter(|patch| {
            start.is_none_or(|start| patch.timestamp >= start)
                && end.is_none_or(|end| patch.timestamp <= end)
        })
    }

    /// Every path that is changed, once, in the order of its first patch.
    pub fn get_affected_paths(&self) -> Vec<&str> {
        let mut seen = std::collections::HashSet::new();
        let paths = self.patches.iter().map(|patch| patch.path.as_str());
        paths.filter(|path| seen.insert(*path)).collect()
    }

    /// The last patch in the log with exactly this path.
    pub fn get_latest_for_path(&self, path: &str) -> Option<&ContextPatch> {
        self.patches.iter().rev().find(|patch| patch.path == path)
    }

    /// How many patches there are.
    pub fn len(&self) -> usize {
        self.patches.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.patches.is_empty()
    }

    /// The patches, oldest first.
    pub fn iter(&self) -> std::slice::Iter<'_, ContextPatch> {
        self.patches.iter()
    }

    /// The patch at `index`, from 0.
    pub fn get(&self, index: usize) -> Option<&ContextPatch> {
        self.patches.get(index)
    }

    /// A JSON list of the patches.
    pub fn to_value(&self) -> Value {
        self.patches.iter().map(ContextPatch::to_value).collect()
    }

    /// Reads a JSON list of patches.
    ///
    /// # Errors
    /// When `value` is not a list, or a patch in it cannot be read.
    pub fn from_value(value: Value) -> Result<Self, FieldError> {
        let wrapped = Value::Object([("patches".to_owned(), value)].into_iter().collect());
        let mut fields = Fields::of_document(wrapped, time::now())?;
        Ok(Self { patches: fields.list_of("patches", ContextPatch::read)? })
    }

    fn filter(&self, keep: impl Fn(&ContextPatch) -> bool) -> Self {
        Self { patches: self.patches.iter().filter(|patch| keep(patch)).cloned().collect() }
    }
}

impl From<Vec<ContextPatch>> for PatchLog {
    fn from(patches: Vec<ContextPatch>) -> Self {
        Self { patches }
    }
}

impl FromIterator<ContextPatch> for PatchLog {
    fn from_iter<I: IntoIterator<Item = ContextPatch>>(patches: I) -> Self {
        Self { patches: patches.into_iter().collect() }
    }
}

impl IntoIterator for PatchLog {
    type Item = ContextPatch;
    type IntoIter = std::vec::IntoIter<ContextPatch>;

    fn into_iter(self) -> Self::IntoIter {
        self.patches.into_iter()
    }
}

impl<'a> IntoIterator for &'a PatchLog {
    type Item = &'a ContextPatch;
    type IntoIter = std::slice::Iter<'a, ContextPatch>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn log() -> PatchLog {
        PatchLog::from(vec![
            ContextPatch::from_tool("t1", "user", 1).timestamp(second(1)).correlation_id("c"),
            ContextPatch::from_agent("a1", "username", 2).timestamp(second(2)),
            ContextPatch::set("user", 3).timestamp(second(3)),
            ContextPatch::delete("other").timestamp(second(4)),
        ])
    }

    fn values(log: &PatchLog) -> Vec<&Value> {
        log.iter().map(|patch| &patch.value).collect()
    }

    #[test]
    fn filters_select_by_each_property() {
        let log = log();
        assert_eq!(values(&log.filter_by_source(PatchSource::Agent)), [&json!(2)]);
        assert_eq!(values(&log.filter_by_source_id("t1")), [&json!(1)]);
        assert_eq!(values(&log.filter_by_correlation_id("c")), [&json!(1)]);
        assert_eq!(log.filter_by_path_prefix("user").len(), 3);
        let range = log.filter_by_time_range(Some(second(2)), Some(second(3)));
        assert_eq!(values(&range), [&json!(2), &json!(3)]);
        assert_eq!(log.filter_by_time_range(None, Some(second(1))).len(), 1);
    }

    #[test]
    fn paths_are_listed_once_and_the_last_patch_is_the_latest() {
        let log = log();
        assert_eq!(log.get_affected_paths(), ["user", "username", "other"]);
        assert_eq!(log.get_latest_for_path("user"), log.get(2));
        assert_eq!(log.get_latest_for_path("use"), None);
    }

    #[test]
    fn replay_leaves_the_initial_context_alone() {
        let initial = Context::new().set("other", 1);
        let replayed = log().replay(&initial).unwrap();
        assert_eq!(replayed.to_value(), json!({"user": 3, "username": 2}));
        assert_eq!(replayed.get_timeline().len(), 4);
        assert_eq!(initial.to_value(), json!({"other": 1}));
    }

    #[test]
    fn list_form_reads_back() {
        let log = log();
        assert_eq!(PatchLog::from_value(log.to_value()), Ok(log));
        let error = PatchLog::from_value(json!([{"path": "a"}])).unwrap_err();
        assert_eq!(error.path(), "patches[0].operation");
    }
}
