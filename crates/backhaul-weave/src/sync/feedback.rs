//! Feedback on calls and objects.
//!
//! A server that is sent the same feedback twice may have it twice, under one id: so it is asked
//! which ids it has, of those that are in doubt.

use std::collections::{HashSet, VecDeque};

use backhaul_store::{Batch, RecordId};
use backhaul_sync::{LinkError, Verdict};
use serde_json::{Value, json};

use super::fates::{Fates, is_failure_of_the_server, is_no_path, is_refusal};
use super::job::{Job, SHORT, unreadable};
use crate::entry::{Entry, EntryType};

/// Most in a request, as clients have it.
const MOST: usize = 100;
/// Most bytes of records in a request: servers take 32 MiB, and clients send 31.
const MOST_BYTES: usize = 31 << 20;

/// A record of a batch, read.
struct Record {
    at: usize,
    id: RecordId,
    entry_type: EntryType,
    value: Value,
    bytes: usize,
}

/// A batch of feedback on its way.
struct Run<'a> {
    job: &'a Job,
    fates: Fates,
    is_over: bool,
}

pub(super) async fn deliver(job: &Job, batch: &Batch) -> Result<Vec<Verdict>, LinkError> {
    let mut run = Run { job, fates: Fates::new(batch.records.len()), is_over: false };
    let mut new = Vec::new();
    for (at, offer) in batch.records.iter().enumerate() {
        let entry = match Entry::of_record(&offer.record) {
            Ok(entry) => entry,
            Err(error) => {
                run.fates.say(at, unreadable(&error));
                continue;
            }
        };
        let record = Record {
            at,
            id: offer.record.id,
            entry_type: entry.entry_type(),
            value: job.value_of(&entry),
            bytes: offer.record.body.len(),
        };
        if record.entry_type == EntryType::FeedbackCreate {
            new.push(record);
        } else {
            // It is about what came before it.
            run.create(std::mem::take(&mut new)).await;
            run.change(record).await;
        }
    }
    run.create(new).await;
    let verdicts = run.fates.conclude()?;
    let mut memory = job.memory();
    for (offer, verdict) in batch.records.iter().zip(&verdicts) {
        memory.note("", offer.record.id, verdict);
    }
    drop(memory);
    Ok(verdicts)
}

impl Run<'_> {
    async fn create(&mut self, records: Vec<Record>) {
        let mut groups = self.groups(records);
        while let Some(group) = groups.pop_front() {
            if self.is_over {
                return;
            }
            let group = match self.without_known(group).await {
                Ok(group) => group,
                Err(error) => return self.stop(&error),
            };
            if group.is_empty() {
                continue;
            }
            match self.job.create_feedback(&group).await {
                Ok(()) => group.iter().for_each(|one| self.fates.say(one.at, Verdict::Delivered)),
                Err(error) => self.failed(group, &error, &mut groups),
            }
        }
    }

    fn groups(&self, records: Vec<Record>) -> VecDeque<Vec<Record>> {
        let memory = self.job.memory();
        let mut groups: VecDeque<Vec<Record>> = VecDeque::new();
        let (mut alone, mut room, mut ids) = (Vec::new(), 0, HashSet::new());
        for record in records {
            let id = record.value["id"].as_str();
            let came_before = id.is_some_and(|id| !ids.insert(id.to_owned()));
            if came_before || memory.suspects.contains(&record.id) {
                alone.push(vec![record]);
                continue;
            }
            let bytes = record.bytes;
            match groups.back_mut().filter(|group| room >= bytes && group.len() < MOST) {
                Some(group) => group.push(record),
                None => {
                    room = MOST_BYTES;
                    groups.push_back(vec![record]);
                }
            }
            room = room.saturating_sub(bytes);
        }
        groups.extend(alone);
        groups
    }

    /// Finds out which of several is refused.
    fn failed(
        &mut self,
        mut group: Vec<Record>,
        error: &LinkError,
        groups: &mut VecDeque<Vec<Record>>,
    ) {
        self.note_doubt(&group);
        if is_refusal(error) && group.len() > 1 {
            let rest = group.split_off(group.len() / 2);
            groups.push_front(rest);
            groups.push_front(group);
            return;
        }
        let records: Vec<usize> = group.iter().map(|one| one.at).collect();
        let alone = records.len() == 1;
        self.fates.fail(&records, error, alone);
        let goes_on = is_refusal(error) || alone && is_failure_of_the_server(error);
        self.is_over |= !goes_on;
        if is_failure_of_the_server(error) {
            self.job.memory().suspects.extend(group.iter().map(|one| one.id));
        }
    }

    /// Replaces feedback, or removes it.
    async fn change(&mut self, record: Record) {
        if self.is_over {
            return;
        }
        let known = match self.known(std::slice::from_ref(&record)).await {
            Ok(known) => known,
            Err(error) => return self.stop(&error),
        };
        let answer_bytes = SHORT + 2 * record.bytes;
        let (path, request) = match record.entry_type {
            // What it replaced may be there once more: it was in doubt too.
            EntryType::FeedbackReplace if record.is_among(&known) => {
                ("/feedback/purge", purge_of(&record.value))
            }
            EntryType::FeedbackReplace => ("/feedback/replace", record.value.clone()),
            _ => ("/feedback/purge", record.value.clone()),
        };
        match self.job.post_for(path, request, answer_bytes).await {
            Ok(_) => self.fates.say(record.at, Verdict::Delivered),
            Err(error) => {
                self.note_doubt(std::slice::from_ref(&record));
                self.fates.fail(&[record.at], &error, true);
                self.is_over |= !is_refusal(&error);
            }
        }
    }

    /// Leaves out what the server has.
    async fn without_known(&mut self, records: Vec<Record>) -> Result<Vec<Record>, LinkError> {
        let known = self.known(&records).await?;
        let (there, left): (Vec<Record>, Vec<Record>) =
            records.into_iter().partition(|record| record.is_among(&known));
        there.iter().for_each(|record| self.fates.say(record.at, Verdict::Duplicate));
        Ok(left)
    }

    /// The ids that the server has. Any may be there: a client that heard no answer logs what
    /// it logged before once more, under the same id, and servers keep both.
    async fn known(&self, records: &[Record]) -> Result<HashSet<String>, LinkError> {
        let ids: Vec<&str> = records.iter().filter_map(|one| one.value["id"].as_str()).collect();
        self.job.known_feedback(&ids).await
    }

    fn stop(&mut self, error: &LinkError) {
        self.is_over = true;
        self.fates.fail_open(error);
    }

    fn note_doubt(&self, records: &[Record]) {
        let mut memory = self.job.memory();
        records.iter().for_each(|record| memory.doubt.note(record.id));
    }
}

impl Record {
    /// Whether it is one of these. What replaces itself is the same after a second time.
    fn is_among(&self, known: &HashSet<String>) -> bool {
        let id = self.value["id"].as_str();
        id.is_some_and(|id| known.contains(id) && self.value["feedback_id"] != *id)
    }
}

/// The request that removes what another one replaces.
fn purge_of(replacement: &Value) -> Value {
    let id = json!({"$literal": replacement["feedback_id"]});
    json!({
        "project_id": replacement["project_id"],
        "query": {"$expr": {"$eq": [{"$getField": "id"}, id]}},
    })
}

impl Job {
    async fn create_feedback(&self, records: &[Record]) -> Result<(), LinkError> {
        let support = &self.server.feedback_batch;
        if support.is_likely() {
            let batch: Vec<&Value> = records.iter().map(|record| &record.value).collect();
            // The answer repeats the payloads.
            let bytes: usize = records.iter().map(|record| record.bytes).sum();
            let (path, body) = ("/feedback/batch/create", json!({"batch": batch}));
            match self.post_for(path, body, SHORT + 2 * bytes).await {
                Err(error) if is_no_path(&error) => {}
                said => return said.map(|_| support.note(true)),
            }
        }
        for record in records {
            let answer_bytes = SHORT + 2 * record.bytes;
            self.post_for("/feedback/create", record.value.clone(), answer_bytes).await?;
            support.note(false);
        }
        Ok(())
    }

    async fn known_feedback(&self, ids: &[&str]) -> Result<HashSet<String>, LinkError> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let literals: Vec<Value> = ids.iter().map(|id| json!({"$literal": id})).collect();
        let asked = json!({
            "project_id": self.target.real.to_string(),
            "fields": ["id"],
            "query": {"$expr": {"$in": [{"$getField": "id"}, literals]}},
        });
        let said = self.post("/feedback/query", asked).await?;
        let rows = said["result"].as_array().into_iter().flatten();
        Ok(rows.filter_map(|row| row["id"].as_str()).map(ToOwned::to_owned).collect())
    }
}
