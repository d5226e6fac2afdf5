//! Calls: starts and ends that meet go as one, in as few requests as the server takes.
//!
//! # What has to hold
//! - The start of a call goes before its end, and what is done to a call after both: a server
//!   may lose what is about a call that it does not have.
//! - A start that the server has is not sent again: it answers 500 to that, or has it twice.
//!   Which it has is asked before records in doubt are sent (`doubt.rs`), also of the parts of
//!   a request that was refused: older servers store the first items before they refuse a later
//!   one. An end may come twice: the last one counts, and both are the same.
//! - A start whose end may be behind it goes with the next batch, once: alone, and its end after
//!   it, it takes two requests where a whole call takes a thousandth of one. The next batch
//!   begins with it, so that nothing is deleted meanwhile.
//! - One bad call spoils no other: a request that is refused is halved until it is found.

mod item;
mod known;
mod send;

use std::collections::{HashMap, HashSet};

use backhaul_store::{Batch, RecordId};
use backhaul_sync::{LinkError, Verdict};
use serde_json::Value;

use self::item::{Item, Part, Record, Step, steps};
use super::fates::{Fates, is_failure_of_the_server, is_refusal, waits};
use super::job::{Job, unreadable};
use crate::entry::{Entry, EntryType};

/// A batch of calls on its way.
pub(super) struct Run<'a> {
    job: &'a Job,
    batch: &'a Batch,
    fates: Fates,
    /// Calls of which a record of this batch did not arrive.
    stuck: HashSet<String>,
    /// Requests over which the server failed, in a row.
    failures: u32,
    /// Nothing more is sent.
    is_over: bool,
}

/// Delivers a batch of calls: a verdict for each record.
pub(super) async fn deliver(job: &Job, batch: &Batch) -> Result<Vec<Verdict>, LinkError> {
    let fates = Fates::new(batch.records.len());
    let (stuck, failures, is_over) = (HashSet::new(), 0, false);
    let mut run = Run { job, batch, fates, stuck, failures, is_over };
    let mut records = Vec::with_capacity(batch.records.len());
    for (at, offer) in batch.records.iter().enumerate() {
        match Entry::of_record(&offer.record) {
            Ok(entry) => records.push(Record {
                at,
                id: offer.record.id,
                entry_type: entry.entry_type(),
                value: job.value_of(&entry),
                bytes: offer.record.body.len(),
            }),
            Err(error) => run.fates.say(at, unreadable(&error)),
        }
    }
    let calls: Vec<(usize, RecordId, String)> =
        records.iter().map(|record| (record.at, record.id, record.call().to_owned())).collect();
    let offered = calls.iter().map(|(_, id, call)| (call.clone(), id.position));
    job.memory().are_offered(offered);
    run.take(steps(records)).await;
    let verdicts = run.fates.conclude()?;
    let mut memory = job.memory();
    for (at, id, call) in calls {
        if let Some(verdict) = verdicts.get(at) {
            memory.note(&call, id, verdict);
        }
    }
    drop(memory);
    Ok(verdicts)
}

impl Run<'_> {
    async fn take(&mut self, steps: Vec<Step>) {
        let last = steps.len().saturating_sub(1);
        for (at, step) in steps.into_iter().enumerate() {
            match step {
                Step::Send(items) => self.send(items, at == last).await,
                Step::Delete(record) => self.delete(record).await,
            }
        }
    }

    /// Sends what was logged between two deletions. `is_last`: nothing of the batch comes after.
    async fn send(&mut self, items: Vec<Item>, is_last: bool) {
        let items = self.without_those_that_wait(items);
        let settled = match self.settle_known(items).await {
            Ok(items) if is_last => self.without_lone_starts(items).await,
            settled => settled,
        };
        let items = match settled {
            Ok(items) => items,
            Err(error) => return self.stop(&error),
        };
        let (calls, after) = items.into_iter().partition(Item::is_of_the_call_itself);
        self.send_calls(calls).await;
        for item in after {
            self.send_alone(item).await;
        }
    }

    /// Puts off what comes after a record of its call that was put off.
    fn without_those_that_wait(&mut self, items: Vec<Item>) -> Vec<Item> {
        let memory = self.job.memory();
        let (waiting, free): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|item| {
            !item.begins_its_call() && memory.has_to_wait(&item.call, item.position())
        });
        drop(memory);
        // What is in this batch of their call and before them need not wait with them.
        let reason = "an earlier record of its call waits";
        waiting.iter().for_each(|item| self.say(item, &waits(reason, None)));
        free
    }

    /// Leaves starts to the next batch that are alone here, where more records wait: their ends
    /// may be among them.
    async fn without_lone_starts(&mut self, items: Vec<Item>) -> Result<Vec<Item>, LinkError> {
        let goes_alone =
            self.batch.records.len() == 1 || !self.job.server.complete_calls.is_likely();
        if goes_alone || !self.more_wait().await? {
            return Ok(items);
        }
        let mut of_calls: HashMap<String, usize> = HashMap::new();
        for item in &items {
            *of_calls.entry(item.call.clone()).or_default() += 1;
        }
        let memory = self.job.memory();
        let (lone, others): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|item| {
            matches!(item.part, Part::Start(_))
                && of_calls.get(&item.call) == Some(&1)
                && memory.may_go_with_next(item.position())
        });
        drop(memory);
        lone.iter().for_each(|item| self.say(item, &Verdict::WithNext));
        Ok(others)
    }

    /// Whether records can be offered that are neither in this batch nor put off.
    async fn more_wait(&self) -> Result<bool, LinkError> {
        let within_window = self.job.with_spool(|spool| spool.within_window()).await?;
        Ok(self.job.memory().others_wait(within_window, self.batch))
    }

    fn put_off(&mut self, item: &Item, reason: &str) {
        self.stuck.insert(item.call.clone());
        self.say(item, &waits(reason, None));
    }

    fn say(&mut self, item: &Item, verdict: &Verdict) {
        item.records.iter().for_each(|(at, _)| self.fates.say(*at, verdict.clone()));
    }

    /// Sends what happened to a call, or spans.
    async fn send_alone(&mut self, item: Item) {
        if self.is_over {
            return;
        }
        if self.stuck.contains(&item.call) {
            return self.put_off(&item, "an earlier record of its call did not get through");
        }
        match self.job.send_item(&item).await {
            Ok(()) => self.arrived(&item),
            Err(error) => self.failed(&item, &error),
        }
    }

    /// Deletes calls, once everything of them that was logged before has arrived.
    async fn delete(&mut self, record: Record) {
        if self.is_over {
            return;
        }
        let ids = record.value["call_ids"].as_array().into_iter().flatten();
        let calls: Vec<String> = ids.filter_map(Value::as_str).map(ToOwned::to_owned).collect();
        let waits_for = {
            let memory = self.job.memory();
            let position = record.id.position;
            let is_stuck =
                |call: &&String| self.stuck.contains(*call) || memory.has_to_wait(call, position);
            calls.iter().find(is_stuck).cloned()
        };
        if let Some(call) = waits_for {
            let reason = format!("a record of the call {call} waits");
            return self.fates.say(record.at, waits(reason, None));
        }
        match self.is_deleted(&record.id, calls).await {
            Ok(false) => {}
            Ok(true) => return self.fates.say(record.at, Verdict::Duplicate),
            Err(error) => return self.stop(&error),
        }
        let item = Item::alone(record);
        match self.job.post("/calls/delete", item.value().clone()).await {
            Ok(_) => self.arrived(&item),
            Err(error) => self.failed(&item, &error),
        }
    }

    /// Whether the server has done a deletion that is in doubt. Done again, it would take calls
    /// with it that were begun below since.
    async fn is_deleted(&self, id: &RecordId, calls: Vec<String>) -> Result<bool, LinkError> {
        if !self.job.is_in_doubt(id) {
            return Ok(false);
        }
        Ok(self.job.known_calls(calls).await?.is_empty())
    }

    fn arrived(&mut self, item: &Item) {
        self.failures = 0;
        let mut memory = self.job.memory();
        match item.ends_its_call() {
            Some(true) => memory.call_is_over(&item.call),
            Some(false) => memory.has_call(&item.call),
            None => {}
        }
        drop(memory);
        self.say(item, &Verdict::Delivered);
    }

    /// Notes that a request with one item did not go well.
    fn failed(&mut self, item: &Item, error: &LinkError) {
        self.note_doubt(std::slice::from_ref(item));
        self.stuck.insert(item.call.clone());
        let records: Vec<usize> = item.records.iter().map(|(at, _)| *at).collect();
        self.fates.fail(&records, error, true);
        self.failures += u32::from(is_failure_of_the_server(error));
        let goes_on = is_refusal(error) || is_failure_of_the_server(error) && self.failures < 2;
        self.is_over |= !goes_on;
    }

    /// Nothing more can be sent: what is open waits for the same reason.
    fn stop(&mut self, error: &LinkError) {
        self.is_over = true;
        self.fates.fail_open(error);
    }

    fn note_doubt(&self, items: &[Item]) {
        let mut memory = self.job.memory();
        for (_, id) in items.iter().flat_map(|item| &item.records) {
            memory.doubt.note(*id);
        }
    }
}

impl Record {
    /// The call that it is about; empty where it is about several.
    pub(super) fn call(&self) -> &str {
        let field = match self.entry_type {
            EntryType::CallUpdate => "call_id",
            EntryType::CallsDelete | EntryType::OtelExport => return "",
            _ => "id",
        };
        self.value[field].as_str().unwrap_or_default()
    }
}
