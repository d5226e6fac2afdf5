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
        let mut left = Vec::with_capacity(items.len());
        for item in items {
            left.extend(self.settle(item, &known).await?);
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

    async fn settle(&mut self, item: Item, known: &Known) -> Result<Option<Item>, LinkError> {
        if let Part::Other(EntryType::OtelExport, value) = &item.part {
            let spans = otel::span_ids(value);
            let is_there = !spans.is_empty() && spans.iter().all(|span| known.contains_key(span));
            return Ok(self.unless_known(item, is_there));
        }
        match known.get(&item.call) {
            None if item.begins_its_call() || self.job.memory().knows_call(&item.call) => {
                Ok(Some(item))
            }
            None => self.without_its_call(item).await,
            Some(_) if !item.begins_its_call() => Ok(Some(item)),
            Some(has_ended) => {
                self.job.memory().has_call(&item.call);
                let is_whole = *has_ended || matches!(item.part, Part::Start(_));
                if is_whole {
                    return Ok(self.unless_known(item, true));
                }
                if let [(start, _), _] = &*item.records {
                    self.fates.say(*start, Verdict::Duplicate);
                }
                Ok(item.end())
            }
        }
    }

    fn unless_known(&mut self, item: Item, is_known: bool) -> Option<Item> {
        if !is_known {
            return Some(item);
        }
        item.records.iter().for_each(|(at, _)| self.fates.say(*at, Verdict::Duplicate));
        None
    }

    /// The server does not have the call that something is about. Its start may be on its way
    /// from another process; it may have been refused; or the call was deleted since.
    async fn without_its_call(&mut self, item: Item) -> Result<Option<Item>, LinkError> {
        if self.job.is_deleted_later(&item.call).await? {
            return Ok(self.unless_known(item, true));
        }
        let pending = self.job.with_spool(|spool| Ok(spool.books()?.pending)).await?;
        let others_wait = self.job.memory().others_wait(pending, self.batch);
        let reason = format!("the server does not have the call {}", item.call);
        self.stuck.insert(item.call.clone());
        for (at, _) in &item.records {
            let verdict = Verdict::Later {
                reason: reason.clone(),
                retry_after: None,
                spends_retry: !others_wait,
            };
            self.fates.say(*at, verdict);
        }
        Ok(None)
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

    /// Whether a call was deleted after it had begun, or one that it is below. The server does
    /// not show a deleted call, and has its id all the same.
    pub(super) async fn is_deleted_later(&self, call: &str) -> Result<bool, LinkError> {
        let call = call.to_owned();
        self.with_spool(move |spool| {
            let mut family = Family::default();
            spool.each_from(&BTreeMap::new(), &mut |record| {
                family.take(&call, &record);
                ControlFlow::Continue(())
            })?;
            Ok(family.is_deleted(call))
        })
        .await
    }
}

/// When a record was logged.
type Place = (Timestamp, Position);

/// Calls, those that they are below, and deletions, as they were logged.
#[derive(Default)]
struct Family {
    /// When the call began that is looked for; `None`: its start is not here.
    began: Option<Place>,
    parents: BTreeMap<String, Option<String>>,
    deletions: Vec<(Place, Vec<String>)>,
}

impl Family {
    fn take(&mut self, call: &str, record: &StoredRecord) {
        let place = (record.stamp.wall, record.id.position);
        match EntryType::of_name(&record.facts.kind) {
            Some(EntryType::CallStart | EntryType::CallComplete) => {
                if let Some((id, parent)) = parent_of(&record.body) {
                    self.began = self.began.or((id == call).then_some(place));
                    self.parents.insert(id, parent);
                }
            }
            Some(EntryType::CallsDelete) => {
                self.deletions.push((place, deleted_by(&record.body)));
            }
            _ => {}
        }
    }

    fn is_deleted(mut self, call: String) -> bool {
        let began = self.began;
        let counts = |place: &Place| began.is_none_or(|began| is_after(*place, began));
        let deletions = self.deletions.iter().filter(|(place, _)| counts(place));
        let deleted: HashSet<&String> = deletions.flat_map(|(_, calls)| calls).collect();
        let mut next = Some(call);
        while let Some(call) = next {
            if deleted.contains(&call) {
                return true;
            }
            // Removed, so that no circle is walked for ever.
            next = self.parents.remove(&call).flatten();
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
