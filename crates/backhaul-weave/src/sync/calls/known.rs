//! What the server has of calls.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use backhaul_store::{Position, StoredRecord, Timestamp};
use backhaul_sync::{LinkError, Method, Verdict};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Run;
use super::item::{Item, Part};
use crate::entry::EntryType;
use crate::remote;
use crate::sync::job::{Job, SHORT};
use crate::sync::otel;

/// Calls that are asked for at once. Servers take up to a thousand.
const AT_ONCE: usize = 500;

/// Bytes of a call in an answer with few columns, and some to spare.
const CALL: usize = 2_000;

/// By id, whether the call has ended.
type Known = HashMap<String, bool>;

impl Run<'_> {
    /// Says of records what the server has of them, where that is in doubt, and gives what is
    /// still to be sent. Ends wait until the server has their call.
    pub(super) async fn settle_known(&mut self, items: Vec<Item>) -> Result<Vec<Item>, LinkError> {
        let known = self.job.known_calls(self.to_ask(&items)).await?;
        let (orphans, others) = self.orphans(items, &known);
        let left = others.into_iter().filter_map(|item| self.settle(item, &known)).collect();
        if !orphans.is_empty() {
            self.settle_orphans(orphans).await?;
        }
        Ok(left)
    }

    /// The calls that have to be asked for.
    fn to_ask(&self, items: &[Item]) -> Vec<String> {
        let memory = self.job.memory();
        let mut calls = HashSet::new();
        for item in items {
            let is_in_doubt = || item.records.iter().any(|(_, id)| memory.doubt.is_about(id));
            match &item.part {
                Part::Other(EntryType::OtelExport, value) if is_in_doubt() => {
                    calls.extend(otel::span_ids(value));
                }
                _ if item.begins_its_call() && !is_in_doubt() => {}
                _ if !item.begins_its_call() && memory.knows_call(&item.call) => {}
                _ => calls.extend([item.call.clone()]),
            }
        }
        calls.into_iter().filter(|call| !call.is_empty()).collect()
    }

    /// Parts those whose call the server does not have from the others.
    fn orphans(&self, items: Vec<Item>, known: &Known) -> (Vec<Item>, Vec<Item>) {
        let memory = self.job.memory();
        items.into_iter().partition(|item| {
            !item.begins_its_call()
                && !known.contains_key(&item.call)
                && !memory.knows_call(&item.call)
        })
    }

    fn settle(&mut self, item: Item, known: &Known) -> Option<Item> {
        if let Part::Other(EntryType::OtelExport, value) = &item.part {
            let spans = otel::span_ids(value);
            let is_there = !spans.is_empty() && spans.iter().all(|span| known.contains_key(span));
            return self.unless_known(item, is_there);
        }
        let Some(has_ended) = known.get(&item.call).filter(|_| item.begins_its_call()) else {
            return Some(item);
        };
        self.job.memory().has_call(&item.call);
        if *has_ended || matches!(item.part, Part::Start(_)) {
            return self.unless_known(item, true);
        }
        if let [(start, _), _] = &*item.records {
            self.fates.say(*start, Verdict::Duplicate);
        }
        item.end()
    }

    fn unless_known(&mut self, item: Item, is_known: bool) -> Option<Item> {
        if !is_known {
            return Some(item);
        }
        self.say(&item, &Verdict::Duplicate);
        None
    }

    /// The server does not have the calls that something is about. Their starts may be behind
    /// records that wait, or on their way from another process; they may have been refused; or
    /// the calls were deleted since. Only once nothing else waits is one of these looked for.
    async fn settle_orphans(&mut self, orphans: Vec<Item>) -> Result<(), LinkError> {
        let more_wait = self.more_wait().await?;
        let deleted = match more_wait {
            true => HashSet::new(),
            false => {
                let calls = orphans.iter().map(|item| item.call.clone()).collect();
                self.job.deleted_later(calls).await?
            }
        };
        for item in orphans {
            let is_deleted = deleted.contains(&item.call);
            if let Some(item) = self.unless_known(item, is_deleted) {
                self.lacks_its_call(&item, !more_wait);
            }
        }
        Ok(())
    }

    fn lacks_its_call(&mut self, item: &Item, spends_retry: bool) {
        let reason = format!("the server does not have the call {}", item.call);
        self.stuck.insert(item.call.clone());
        self.say(item, &Verdict::Later { reason, retry_after: None, spends_retry });
    }
}

impl Job {
    /// Which of these calls the server has.
    pub(super) async fn known_calls(&self, calls: Vec<String>) -> Result<Known, LinkError> {
        let mut known = Known::new();
        for calls in calls.chunks(AT_ONCE) {
            let asked = json!({
                "project_id": self.target.real.to_string(),
                "filter": {"call_ids": calls},
                "columns": ["id", "ended_at"],
                "limit": calls.len(),
            });
            let answer_bytes = SHORT + calls.len() * CALL;
            let (method, path) = (Method::POST, "/calls/stream_query");
            let answer = self.send_json(method, path, asked, answer_bytes).await?;
            if answer.status != 200 {
                return Err(remote::refusal(&answer));
            }
            for line in answer.body.split(|byte| *byte == b'\n') {
                let Ok(call) = serde_json::from_slice::<Value>(line) else { continue };
                if let Some(id) = call["id"].as_str() {
                    known.insert(id.to_owned(), !call["ended_at"].is_null());
                }
            }
        }
        Ok(known)
    }

    /// Those of some calls that were deleted after they had begun, or that one was which they
    /// are below. The server does not show deleted calls, and has their ids all the same.
    pub(super) async fn deleted_later(
        &self,
        calls: HashSet<String>,
    ) -> Result<HashSet<String>, LinkError> {
        self.with_spool(move |spool| {
            let mut family = Family::of(&calls);
            spool.each_from(&BTreeMap::new(), &mut |record| {
                family.take(&record);
                ControlFlow::Continue(())
            })?;
            Ok(calls.iter().filter(|call| family.is_deleted(call)).cloned().collect())
        })
        .await
    }
}

/// When a record was logged.
type Place = (Timestamp, Position);

/// Calls, those that they are below, and deletions, as they were logged.
struct Family {
    /// When the calls began that are looked for; `None`: their start is not here.
    began: HashMap<String, Option<Place>>,
    parents: HashMap<String, Option<String>>,
    deletions: Vec<(Place, Vec<String>)>,
}

impl Family {
    fn of(calls: &HashSet<String>) -> Self {
        let began = calls.iter().map(|call| (call.clone(), None)).collect();
        Self { began, parents: HashMap::new(), deletions: Vec::new() }
    }

    fn take(&mut self, record: &StoredRecord) {
        let place = (record.stamp.wall, record.id.position);
        match EntryType::of_name(&record.facts.kind) {
            Some(EntryType::CallStart | EntryType::CallComplete) => {
                if let Some((id, parent)) = parent_of(&record.body) {
                    if let Some(began) = self.began.get_mut(&id) {
                        *began = began.or(Some(place));
                    }
                    self.parents.insert(id, parent);
                }
            }
            Some(EntryType::CallsDelete) => {
                self.deletions.push((place, deleted_by(&record.body)));
            }
            _ => {}
        }
    }

    fn is_deleted(&self, call: &str) -> bool {
        let began = self.began.get(call).copied().flatten();
        let counts = |place: &Place| began.is_none_or(|began| is_after(*place, began));
        let deletions = self.deletions.iter().filter(|(place, _)| counts(place));
        let deleted: HashSet<&str> =
            deletions.flat_map(|(_, calls)| calls).map(String::as_str).collect();
        let (mut next, mut seen) = (Some(call), HashSet::new());
        // Nobody says that calls are in no circle.
        while let Some(call) = next.filter(|call| seen.insert(*call)) {
            if deleted.contains(call) {
                return true;
            }
            next = self.parents.get(call).and_then(Option::as_deref);
        }
        false
    }
}

/// Within a chain sequences tell; between two, the clock is all that there is.
fn is_after(one: Place, other: Place) -> bool {
    if one.1.chain == other.1.chain { one.1 > other.1 } else { one.0 >= other.0 }
}

/// A call and the one that it is below.
fn parent_of(line: &[u8]) -> Option<(String, Option<String>)> {
    #[derive(Deserialize)]
    struct Call {
        id: String,
        parent_id: Option<String>,
    }
    let Call { id, parent_id } = data_of(line)?;
    Some((id, parent_id))
}

fn deleted_by(line: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Calls {
        call_ids: Vec<String>,
    }
    data_of(line).map(|Calls { call_ids }| call_ids).unwrap_or_default()
}

fn data_of<T: for<'a> Deserialize<'a>>(line: &[u8]) -> Option<T> {
    #[derive(Deserialize)]
    struct Line<T> {
        data: T,
    }
    serde_json::from_slice(line).ok().map(|Line { data }| data)
}
