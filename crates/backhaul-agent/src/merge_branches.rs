//! Contexts that went apart from one, brought together again.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::context::Context;
use crate::path;
use crate::shared_object::{Key, SharedObject};
use crate::shared_value::{Equality, SharedValue};

/// What is done where several branches wrote to the same path.
///
/// In configuration and JSON: `last_write_wins`, `deep_merge`, `raise_on_conflict`.
///
/// ```
/// use backhaul_agent::MergeStrategy;
/// assert_eq!("deep_merge".parse(), Ok(MergeStrategy::DeepMerge));
/// assert_eq!(MergeStrategy::default().to_string(), "last_write_wins");
/// let error = "newest".parse::<MergeStrategy>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "found `newest`, expected `last_write_wins`, `deep_merge` or `raise_on_conflict`",
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeStrategy {
    /// Of several that wrote to one path, the last branch of the list counts.
    #[default]
    LastWriteWins,
    /// The same, but objects that several branches put where none was merge, too. Lists are
    /// replaced like any other value.
    DeepMerge,
    /// As the last write wins, but a conflict is an error.
    RaiseOnConflict,
}

impl MergeStrategy {
    const ALL: [Self; 3] = [Self::LastWriteWins, Self::DeepMerge, Self::RaiseOnConflict];

    /// The name in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LastWriteWins => "last_write_wins",
            Self::DeepMerge => "deep_merge",
            Self::RaiseOnConflict => "raise_on_conflict",
        }
    }
}

impl fmt::Display for MergeStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MergeStrategy {
    type Err = UnknownMergeStrategy;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|strategy| strategy.as_str() == name);
        known.ok_or_else(|| UnknownMergeStrategy { found: name.to_owned() })
    }
}

/// A name that no [`MergeStrategy`] has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownMergeStrategy {
    /// The name that was given.
    pub found: String,
}

impl fmt::Display for UnknownMergeStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third] = MergeStrategy::ALL;
        write!(f, "found `{}`, expected `{first}`, `{second}` or `{third}`", self.found)
    }
}

impl std::error::Error for UnknownMergeStrategy {}

/// What came of branches that were merged.
#[derive(Debug, Clone, PartialEq)]
pub struct MergeResult {
    /// The merged data, with the history of the context that the branches began at.
    pub context: Context,
    /// Where branches disagreed, in the order in which the first of them wrote there.
    pub conflicts: Vec<MergeConflict>,
}

/// One path to which branches wrote different things.
#[derive(Debug, Clone, PartialEq)]
pub struct MergeConflict {
    /// The keys that lead there, with dots between them.
    pub path: String,
    /// What each of the branches left there; `None` where it was removed.
    pub values: Vec<Option<Value>>,
    /// Which branches these are, counted from 0: as many as values, in the same order.
    pub branch_indices: Vec<usize>,
}

impl fmt::Display for MergeConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let branches: Vec<String> = self.branch_indices.iter().map(usize::to_string).collect();
        write!(f, "`{}` in branches {}", self.path, branches.join(", "))
    }
}

/// Branches that [`MergeStrategy::RaiseOnConflict`] does not merge.
#[derive(Debug, Clone, PartialEq)]
pub struct MergeConflictError {
    /// Where they disagreed: at least one.
    pub conflicts: Vec<MergeConflict>,
}

impl fmt::Display for MergeConflictError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conflicts: Vec<String> = self.conflicts.iter().map(ToString::to_string).collect();
        write!(f, "branches wrote different values to the same path: {}", conflicts.join("; "))
    }
}

impl std::error::Error for MergeConflictError {}

impl Context {
    /// Brings together what `branches` made of this context, as the nodes do that ran beside
    /// each other.
    ///
    /// A branch *writes* to each path where it differs from this context: where a value came,
    /// went or became another. Objects that both have are entered, lists are not. A path to
    /// which one branch wrote, or several the same, gets what they wrote. Where they wrote
    /// different things, or one replaced or removed an object in which another wrote, that
    /// is a conflict: it is reported, and the last of them in the list wins. Only
    /// [`MergeStrategy::RaiseOnConflict`] makes an error of it.
    ///
    /// Values are different when their JSON is, but for the order of keys: `1` and `1.0` are.
    /// New keys come to the end, those of the first branch first. The history is this
    /// context's; the patches of the branches are not added, since to apply them one after
    /// the other would not give the same data.
    ///
    /// # Errors
    /// [`MergeConflictError`] with all conflicts, under that strategy alone.
    ///
    /// ```
    /// use backhaul_agent::{Context, MergeStrategy};
    /// use serde_json::json;
    ///
    /// let base = Context::new().set("report.site", "roof");
    /// let branches = [
    ///     base.set("report.celsius", 31).set("state", "warm"),
    ///     base.set("report.humidity", 40).set("state", "dry"),
    /// ];
    /// let merged = base.merge_branches(&branches, MergeStrategy::default())?;
    /// assert_eq!(
    ///     merged.context.to_value(),
    ///     json!({"report": {"site": "roof", "celsius": 31, "humidity": 40}, "state": "dry"}),
    /// );
    /// assert_eq!(merged.conflicts.len(), 1);
    /// assert_eq!(merged.conflicts[0].path, "state");
    /// assert_eq!(merged.conflicts[0].branch_indices, [0, 1]);
    /// assert!(base.merge_branches(&branches, MergeStrategy::RaiseOnConflict).is_err());
    /// # Ok::<(), backhaul_agent::MergeConflictError>(())
    /// ```
    pub fn merge_branches(
        &self,
        branches: &[Context],
        strategy: MergeStrategy,
    ) -> Result<MergeResult, MergeConflictError> {
        let branches = branches.iter().map(Context::data).enumerate().collect::<Vec<_>>();
        let mut merge = Merge { strategy, conflicts: Vec::new() };
        let data = merge.objects("", self.data(), &branches);
        let conflicts = merge.conflicts;
        if strategy == MergeStrategy::RaiseOnConflict && !conflicts.is_empty() {
            return Err(MergeConflictError { conflicts });
        }
        Ok(MergeResult { context: self.with_data(data), conflicts })
    }
}

struct Merge {
    strategy: MergeStrategy,
    conflicts: Vec<MergeConflict>,
}

/// A key of an object, and what branches wrote there.
struct Writes<'a> {
    key: &'a Key,
    /// With the index of the branch; nothing where the key was removed.
    by: Vec<(usize, Option<&'a SharedValue>)>,
}

impl Merge {
    fn objects(
        &mut self,
        parent: &str,
        base: &SharedObject,
        branches: &[(usize, &SharedObject)],
    ) -> SharedObject {
        let mut merged = base.clone();
        for writes in written(base, branches) {
            match self.value(parent, base.get(writes.key), &writes) {
                Some(value) => merged.insert(Arc::clone(writes.key), value),
                None => {
                    merged.remove(writes.key);
                }
            }
        }
        merged
    }

    fn value(
        &mut self,
        parent: &str,
        base: Option<&SharedValue>,
        writes: &Writes<'_>,
    ) -> Option<SharedValue> {
        let (_, last) = *writes.by.last()?;
        if writes.by.iter().all(|(_, value)| is_same(*value, last)) {
            return last.cloned();
        }
        let path = path::join(parent, writes.key);
        if let Some((base, branches)) = self.enterable(base, writes) {
            return Some(SharedValue::Object(self.objects(&path, &base, &branches)));
        }
        self.conflicts.push(MergeConflict {
            path,
            values: writes.by.iter().map(|(_, value)| value.map(SharedValue::to_value)).collect(),
            branch_indices: writes.by.iter().map(|(branch, _)| *branch).collect(),
        });
        last.cloned()
    }

    /// The objects to merge, where each branch has one and there is one to begin at.
    fn enterable<'a>(
        &self,
        base: Option<&SharedValue>,
        writes: &Writes<'a>,
    ) -> Option<(SharedObject, Vec<(usize, &'a SharedObject)>)> {
        let objects = writes.by.iter().map(|(branch, value)| match value {
            Some(SharedValue::Object(object)) => Some((*branch, object)),
            _ => None,
        });
        let objects = objects.collect::<Option<_>>()?;
        match base {
            Some(SharedValue::Object(base)) => Some((base.clone(), objects)),
            _ if self.strategy == MergeStrategy::DeepMerge => {
                Some((SharedObject::default(), objects))
            }
            _ => None,
        }
    }
}

/// The keys that differ from `base`, in the order in which the branches come to them.
fn written<'a>(base: &'a SharedObject, branches: &[(usize, &'a SharedObject)]) -> Vec<Writes<'a>> {
    let mut places = std::collections::HashMap::new();
    let mut all: Vec<Writes<'a>> = Vec::new();
    for (branch, object) in branches {
        for (key, value) in base.changes(object) {
            let place = *places.entry(key).or_insert(all.len());
            match all.get_mut(place) {
                Some(writes) => writes.by.push((*branch, value)),
                None => all.push(Writes { key, by: vec![(*branch, value)] }),
            }
        }
    }
    all
}

fn is_same(left: Option<&SharedValue>, right: Option<&SharedValue>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => left.equals(right, Equality::Unordered),
        (left, right) => left.is_none() && right.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn context(value: Value) -> Context {
        Context::from_value(value).unwrap()
    }

    fn merged(base: Value, branches: &[Value], strategy: MergeStrategy) -> MergeResult {
        let branches: Vec<_> = branches.iter().cloned().map(context).collect();
        context(base).merge_branches(&branches, strategy).unwrap()
    }

    fn paths(result: &MergeResult) -> Vec<&str> {
        result.conflicts.iter().map(|conflict| conflict.path.as_str()).collect()
    }

    #[test]
    fn branches_that_write_to_different_paths_do_not_disagree() {
        let base = json!({"a": {"x": 1, "y": 1}, "gone": 1, "list": [1]});
        let branches = [
            json!({"a": {"x": 2, "y": 1}, "gone": 1, "list": [1], "new": 1}),
            json!({"a": {"x": 1, "y": 3}, "list": [1]}),
            base.clone(),
        ];
        for strategy in MergeStrategy::ALL {
            let result = merged(base.clone(), &branches, strategy);
            let expected = r#"{"a":{"x":2,"y":3},"list":[1],"new":1}"#;
            assert_eq!(result.context.to_json(), expected.as_bytes(), "{strategy}");
            assert_eq!(result.conflicts, []);
        }
    }

    #[test]
    fn last_branch_wins_and_every_one_is_reported() {
        let base = json!({"a": {"x": 1}, "same": 1});
        let branches = [
            json!({"a": {"x": 2}, "same": 5}),
            json!({"a": {"x": 1}, "same": 5}),
            json!({"a": {}, "same": 1}),
            json!({"a": {"x": 3}, "same": 1}),
        ];
        let result = merged(base, &branches, MergeStrategy::LastWriteWins);
        assert_eq!(result.context.to_value(), json!({"a": {"x": 3}, "same": 5}));
        let expected = MergeConflict {
            path: "a.x".into(),
            values: vec![Some(json!(2)), None, Some(json!(3))],
            branch_indices: vec![0, 2, 3],
        };
        assert_eq!(result.conflicts, [expected]);
    }

    #[test]
    fn writing_in_an_object_that_another_replaced_is_a_conflict() {
        let base = json!({"a": {"x": 1, "y": 1}});
        let written = json!({"a": {"x": 2, "y": 1}});
        for replaced in [json!({}), json!({"a": 7}), json!({"a": [1]})] {
            for strategy in [MergeStrategy::LastWriteWins, MergeStrategy::DeepMerge] {
                let result = merged(base.clone(), &[written.clone(), replaced.clone()], strategy);
                assert_eq!(paths(&result), ["a"]);
                assert_eq!(result.context.to_value(), replaced);
            }
        }
    }

    #[test]
    fn new_objects_merge_only_deeply() {
        let branches = [json!({"a": {"x": 1, "z": 1}}), json!({"a": {"y": 2, "z": 2}})];
        let last = merged(json!({"a": 0}), &branches, MergeStrategy::LastWriteWins);
        assert_eq!((paths(&last), last.context.to_value()), (vec!["a"], branches[1].clone()));
        let deep = merged(json!({"a": 0}), &branches, MergeStrategy::DeepMerge);
        assert_eq!(paths(&deep), ["a.z"]);
        assert_eq!(deep.context.to_value(), json!({"a": {"x": 1, "z": 2, "y": 2}}));
    }

    #[test]
    fn lists_are_replaced() {
        let branches = [json!({"list": [1, 2]}), json!({"list": [1, 3]})];
        let result = merged(json!({"list": [1]}), &branches, MergeStrategy::DeepMerge);
        assert_eq!(paths(&result), ["list"]);
        assert_eq!(result.context.to_value(), branches[1]);
    }

    #[test]
    fn raising_names_every_conflict() {
        let branches = [context(json!({"a": 1, "b": {"c": 1}})), context(json!({"a": 2, "b": 0}))];
        let error = Context::new().merge_branches(&branches, MergeStrategy::RaiseOnConflict);
        assert_eq!(
            error.unwrap_err().to_string(),
            "branches wrote different values to the same path: \
             `a` in branches 0, 1; `b` in branches 0, 1"
        );
    }

    #[test]
    fn history_is_the_one_of_the_base() {
        use crate::patch::ContextPatch;
        let base = Context::new().apply(&ContextPatch::set("a", 1)).unwrap();
        let branch = base.apply(&ContextPatch::set("b", 2)).unwrap();
        let result = base.merge_branches(&[branch], MergeStrategy::LastWriteWins).unwrap();
        assert_eq!(result.context.to_value(), json!({"a": 1, "b": 2}));
        assert!(result.context.get_timeline().eq(base.get_timeline()));
    }

    #[test]
    fn names_are_the_same_in_json_and_configuration() {
        for strategy in MergeStrategy::ALL {
            assert_eq!(strategy.as_str().parse(), Ok(strategy));
            assert_eq!(serde_json::to_value(strategy).unwrap(), json!(strategy.as_str()));
        }
    }
}
