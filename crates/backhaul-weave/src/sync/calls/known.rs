//! What the server has of calls.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

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
    async fn known_calls(&self, calls: Vec<String>) -> Result<Known, LinkError> {
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

    /// Whether a deletion was logged of a call, or of one that it is below. The server does not
    /// show a deleted call, and has its id all the same.
    pub(super) async fn is_deleted_later(&self, call: &str) -> Result<bool, LinkError> {
        let mut call = Some(call.to_owned());
        self.with_spool(move |spool| {
            let mut parents = BTreeMap::new();
            let mut deleted = HashSet::new();
            spool.each_from(&BTreeMap::new(), &mut |record| {
                match EntryType::of_name(&record.facts.kind) {
                    Some(EntryType::CallStart | EntryType::CallComplete) => {
                        parents.extend(parent_of(&record.body));
                    }
                    Some(EntryType::CallsDelete) => deleted.extend(deleted_by(&record.body)),
                    _ => {}
                }
                ControlFlow::Continue(())
            })?;
            while let Some(one) = call.take() {
                if deleted.contains(&one) {
                    return Ok(true);
                }
                // Removed, so that no circle is walked for ever.
                call = parents.remove(&one).flatten();
            }
            Ok(false)
        })
        .await
    }
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
