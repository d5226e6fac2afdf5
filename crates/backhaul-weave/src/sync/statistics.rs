//! What a sync came to.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use crate::kind::Kind;

/// By project, as the server calls it, and kind: how many records arrived, and how many did
/// not: those that were refused in this sync, and those that wait. All seven kinds are there.
///
/// ```
/// use backhaul_weave::{Kind, SyncStatistics};
/// let statistics = SyncStatistics::default();
/// for (project, kinds) in &*statistics {
///     let (synced, errors) = kinds[&Kind::Calls];
///     println!("{project}: {synced} records of calls, {errors} errors");
/// }
/// assert!(statistics.is_complete());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SyncStatistics(BTreeMap<String, BTreeMap<Kind, (u64, u64)>>);

impl SyncStatistics {
    /// Adds the numbers of a project, kind by kind.
    pub(super) fn add(&mut self, project: &str, numbers: [(u64, u64); Kind::ALL.len()]) {
        let kinds = self.0.entry(project.to_owned()).or_default();
        for (kind, (synced, errors)) in Kind::ALL.into_iter().zip(numbers) {
            let sum = kinds.entry(kind).or_default();
            *sum = (sum.0 + synced, sum.1 + errors);
        }
    }

    /// Whether everything arrived.
    pub fn is_complete(&self) -> bool {
        self.0.values().flat_map(BTreeMap::values).all(|(_, errors)| *errors == 0)
    }
}

/// Project by project, and kind by kind: `  calls: 2 synced, 0 errors`.
impl fmt::Display for SyncStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (project, kinds) in &self.0 {
            writeln!(f, "{project}:")?;
            for (kind, (synced, errors)) in kinds {
                writeln!(f, "  {kind}: {synced} synced, {errors} errors")?;
            }
        }
        Ok(())
    }
}

impl Deref for SyncStatistics {
    type Target = BTreeMap<String, BTreeMap<Kind, (u64, u64)>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
