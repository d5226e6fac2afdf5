//! Versions of objects that records of a batch refer to and that would be sent after them.
//!
//! Versions of one object go one after the other, so one that waits for an earlier one is
//! overtaken by what was logged after it. That may refer to it, and has to be told the digest
//! that the server gives it: it is sent first then, and once more when it is its turn, which
//! changes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use backhaul_store::{Batch, Chain, Position, Sequence, Standing, StoredRecord};
use backhaul_sync::LinkError;
use serde_json::Value;

use super::job::Job;
use crate::entry::{DIGEST_LABEL, Entry, OBJECT_LABEL};
use crate::project::ProjectId;
use crate::refs;

/// An object's name, and the digest of a version.
type Version = (String, String);

/// Those that wait, and stand before the last record of a batch.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    waiting: HashMap<Version, Position>,
}

impl Ahead {
    /// Finds them where a record of the batch refers to any version that is not in it.
    pub(super) async fn of(job: &Job, batch: &Batch) -> Result<Self, LinkError> {
        let mut in_batch = HashSet::new();
        let mut is_needed = false;
        for offer in &batch.records {
            if let Ok(entry) = Entry::of_record(&offer.record) {
                let local = &job.target.local;
                let referred = referred(&mut entry.value(), local);
                is_needed |= referred.iter().any(|version| !in_batch.contains(version));
            }
            in_batch.extend(version_of(&offer.record));
        }
        if !is_needed {
            return Ok(Self::default());
        }
        let sequences = batch.records.iter().map(|offer| offer.record.id.position.sequence);
        let places: HashSet<Sequence> = sequences.clone().collect();
        let (chain, floor, last) = (batch.chain, batch.floor, sequences.max());
        let waiting = job.with_spool(move |spool| {
            let mut from: BTreeMap<Chain, Sequence> = spool.ends()?;
            from.insert(chain, floor);
            let mut waiting = HashMap::new();
            spool.each_from(&from, &mut |record| {
                let position = record.id.position;
                if Some(position.sequence) > last {
                    return ControlFlow::Break(());
                }
                if position.chain == chain && !places.contains(&position.sequence) {
                    waiting.extend(version_of(&record).map(|version| (version, position)));
                }
                ControlFlow::Continue(())
            })?;
            waiting.retain(|_, position: &mut Position| {
                let standing = spool.get(*position).map(|(entry, _)| entry.standing);
                standing.is_ok_and(|standing| standing == Standing::Pending)
            });
            Ok(waiting)
        });
        Ok(Self { waiting: waiting.await? })
    }

    /// Takes out those that a record needs, each after those that it needs itself.
    pub(super) async fn take_for(
        &mut self,
        job: &Job,
        entry: &Entry,
    ) -> Result<Vec<(Entry, StoredRecord)>, LinkError> {
        let mut taken = Vec::new();
        let mut left = vec![Step::Look(referred(&mut entry.value(), &job.target.local))];
        while let Some(step) = left.pop() {
            match step {
                Step::Take(entry, record) => taken.push((entry, *record)),
                Step::Look(versions) => {
                    for version in versions {
                        let Some(position) = self.waiting.remove(&version) else { continue };
                        let (_, record) = job.with_spool(move |spool| spool.get(position)).await?;
                        let Ok(entry) = Entry::of_record(&record) else { continue };
                        let below = referred(&mut entry.value(), &job.target.local);
                        left.push(Step::Take(entry, Box::new(record)));
                        left.push(Step::Look(below));
                    }
                }
            }
        }
        Ok(taken)
    }
}

enum Step {
    /// What these need comes first.
    Look(Vec<Version>),
    Take(Entry, Box<StoredRecord>),
}

fn version_of(record: &StoredRecord) -> Option<Version> {
    let label = |name: &str| record.facts.labels.get(name).cloned();
    label(OBJECT_LABEL).zip(label(DIGEST_LABEL))
}

/// The versions of a project's objects that a value refers to.
fn referred(value: &mut Value, local: &ProjectId) -> Vec<Version> {
    let mut versions = Vec::new();
    refs::rewrite(value, &mut |project, rest| {
        if project == local
            && let Some((_, rest)) = rest.split_once('/')
            && let Some((name, rest)) = rest.split_once(':')
        {
            let digest = rest.split('/').next().unwrap_or_default();
            versions.push((name.to_owned(), digest.to_owned()));
        }
        None
    });
    versions
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_that_a_value_refers_to_are_found_at_any_depth() {
        let local: ProjectId = "me/mine".parse().unwrap();
        let mut value = json!({"a": ["weave:///me/mine/object/b:c/attr/d"], "e": [
            "weave:///me/other/object/b:c", "weave:///me/mine/table/f", "text",
            "weave:///me/mine/op/g:h"]});
        let pair = |name: &str, digest: &str| (name.to_owned(), digest.to_owned());
        let mut found = referred(&mut value, &local);
        found.sort();
        assert_eq!(found, [pair("b", "c"), pair("g", "h")]);
    }
}
