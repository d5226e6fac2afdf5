//! Counts what the two stores hold, whatever their processes said.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use backhaul_agent::RunRecord;
use backhaul_store::{RecordId, Spool, StoredRecord};
use serde::Serialize;
use serde_json::Value;

use super::process::Said;
use crate::data_dir::{OFFLINE, RUNS, TOOLS};
use crate::hub::FROM;
use crate::printer::table;

/// The result of the demo.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Counts {
    /// Records that the agent's store acknowledged.
    pub(crate) written: u64,
    /// Of these: how many waited on disk when the hub came back.
    pub(crate) queued: u64,
    /// Of the written: runs that the kill cut short.
    pub(crate) interrupted: u64,
    /// Of the written: how many are in the hub's store.
    pub(crate) delivered: u64,
    /// Of the delivered: how many were sent again, and known by the hub.
    pub(crate) resent: u64,
    /// Records that the hub's store holds once more than it should, and messages of one run
    /// under several keys.
    pub(crate) duplicates: u64,
    /// Records that the agent's store keeps as refused.
    pub(crate) failed: u64,
    /// Messages that came to the people on duty: one for each run.
    pub(crate) messages: u64,
    /// Of these: how many came more than once, under the same key.
    pub(crate) repeated: u64,
    /// Acknowledged by the agent's store, and not in the hub's; and runs without a message.
    pub(crate) lost: u64,
}

impl Counts {
    pub(crate) fn is_flawless(&self) -> bool {
        self.lost == 0 && self.duplicates == 0 && self.failed == 0 && self.written > 0
    }

    pub(crate) fn table(&self) -> String {
        let row = |name: &str, count: u64, meaning: &str| {
            (vec![name.to_owned(), count.to_string()], meaning.to_owned())
        };
        let (numbers, meanings): (Vec<_>, Vec<_>) = [
            row("written", self.written, "records that the agent's store acknowledged"),
            row("queued", self.queued, "of these, waited on disk for the hub to come back"),
            row("interrupted", self.interrupted, "of these, cut short by the kill and recovered"),
            row("delivered", self.delivered, "are in the hub's store"),
            row("resent", self.resent, "were sent again, because an answer was lost"),
            row("failed", self.failed, "were refused"),
            row("messages", self.messages, "came to the people on duty, one for each run"),
            row("repeated", self.repeated, "came again after a crash, under the key they had"),
            row("duplicates", self.duplicates, "are there more than once"),
            row("lost", self.lost, "are missing"),
        ]
        .into_iter()
        .unzip();
        let lines = table(&numbers, None);
        let lines =
            lines.lines().zip(meanings).map(|(line, meaning)| format!("{line}   {meaning}"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// What a look at a store says while the demo runs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Glance {
    pub(crate) written: u64,
    pub(crate) waiting: u64,
    pub(crate) at_the_hub: u64,
    /// Tool calls that wait for a network.
    pub(crate) messages_waiting: u64,
}

pub(crate) fn glance(agent: &Path, hub: &Path) -> anyhow::Result<Glance> {
    let books = |dir: PathBuf| anyhow::Ok(Spool::open_read_only(dir)?.status()?.books);
    let records = books(agent.join(OFFLINE))?;
    Ok(Glance {
        written: records.accepted,
        waiting: records.pending,
        at_the_hub: books(hub.join(RUNS))?.accepted,
        messages_waiting: books(agent.join(TOOLS))?.pending,
    })
}

/// Counts everything. `said`: what the agent said, which has to be true.
pub(crate) fn count(agent: &Path, hub: &Path, said: &Said) -> anyhow::Result<Counts> {
    let agent = Spool::open_read_only(agent.join(OFFLINE))?;
    let books = agent.status()?.books;
    let mut counts = Counts {
        written: books.accepted,
        resent: books.duplicates,
        failed: books.rejected,
        messages: said.messages.len() as u64,
        repeated: said.messages.values().filter(|times| **times > 1).count() as u64,
        ..Counts::default()
    };
    let mut written: BTreeSet<RecordId> = BTreeSet::new();
    each_record(&agent, &mut |record| {
        counts.interrupted += u64::from(is_interrupted(&RunRecord::from_json(&record.body)?));
        written.insert(record.id);
        Ok(())
    })?;
    let mut origins: BTreeSet<RecordId> = BTreeSet::new();
    let mut ended: BTreeSet<String> = BTreeSet::new();
    let mut runs: BTreeSet<String> = BTreeSet::new();
    each_record(&Spool::open_read_only(hub.join(RUNS))?, &mut |record| {
        let from = record.facts.labels.get(FROM).and_then(|from| from.parse().ok());
        let is_new_origin = from.is_none_or(|from| origins.insert(from));
        let run = RunRecord::from_json(&record.body)?;
        runs.insert(run.run_id.clone());
        // A run that was cut short and went on has a record of each.
        let is_new_run = is_interrupted(&run) || ended.insert(run.run_id);
        counts.duplicates += u64::from(!(is_new_origin && is_new_run));
        Ok(())
    })?;
    counts.delivered = written.intersection(&origins).count() as u64;
    // Records that left the agent's disk, and runs it was told are stored, count too.
    let unread = counts.written.saturating_sub(written.len() as u64);
    let unknown = said.acknowledged.difference(&ended).count() as u64;
    let missing = written.len() as u64 - counts.delivered;
    let runs = runs.len() as u64;
    counts.lost = missing.max(unknown) + unread + runs.saturating_sub(counts.messages);
    counts.duplicates += counts.messages.saturating_sub(runs);
    Ok(counts)
}

fn is_interrupted(run: &RunRecord) -> bool {
    run.metadata.get("interrupted") == Some(&Value::Bool(true))
}

/// The nodes that a run which went on after a crash had behind it, where it is in the store.
pub(crate) fn finished_before(agent: &Path, run_id: &str) -> anyhow::Result<Option<Vec<String>>> {
    let mut found = None;
    each_record(&Spool::open_read_only(agent.join(OFFLINE))?, &mut |record| {
        let mut run = RunRecord::from_json(&record.body)?;
        if run.run_id == run_id
            && let Some(nodes) = run.metadata.remove("finished_before")
        {
            found = Some(serde_json::from_value(nodes)?);
        }
        Ok(())
    })?;
    Ok(found)
}

fn each_record(
    spool: &Spool,
    visit: &mut dyn FnMut(StoredRecord) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut failed = Ok(());
    spool.each_from(&BTreeMap::new(), &mut |record| {
        failed = visit(record);
        if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    failed
}
