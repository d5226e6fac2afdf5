//! Counts what the two stores hold, whatever their processes said.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use backhaul_agent::RunRecord;
use backhaul_store::{RecordId, Spool, StoredRecord};
use serde::Serialize;
use serde_json::Value;

use crate::data_dir::{OFFLINE, RUNS};
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
    /// Records that the hub's store holds once more than it should.
    pub(crate) duplicates: u64,
    /// Records that the agent's store keeps as refused.
    pub(crate) failed: u64,
    /// Acknowledged by the agent's store, and not in the hub's.
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
            row("duplicates", self.duplicates, "are there more than once"),
            row("failed", self.failed, "were refused"),
            row("lost", self.lost, "are missing"),
        ]
        .into_iter()
        .unzip();
        let lines = table(&numbers);
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
}

pub(crate) fn glance(agent: &Path, hub: &Path) -> anyhow::Result<Glance> {
    let agent = Spool::open_read_only(agent.join(OFFLINE))?.status()?.books;
    let hub = Spool::open_read_only(hub.join(RUNS))?.status()?.books;
    Ok(Glance { written: agent.accepted, waiting: agent.pending, at_the_hub: hub.accepted })
}

/// Counts everything. `acknowledged`: the runs that the agent was told are stored.
pub(crate) fn count(
    agent: &Path,
    hub: &Path,
    acknowledged: &BTreeSet<String>,
) -> anyhow::Result<Counts> {
    let agent = Spool::open_read_only(agent.join(OFFLINE))?;
    let books = agent.status()?.books;
    let mut counts = Counts {
        written: books.accepted,
        resent: books.duplicates,
        failed: books.rejected,
        ..Counts::default()
    };
    let mut written: BTreeMap<RecordId, String> = BTreeMap::new();
    each_record(&agent, &mut |record| {
        let run = RunRecord::from_json(&record.body)?;
        let is_interrupted = run.metadata.get("interrupted") == Some(&Value::Bool(true));
        counts.interrupted += u64::from(is_interrupted);
        written.insert(record.id, run.run_id);
        Ok(())
    })?;
    let mut origins: BTreeSet<RecordId> = BTreeSet::new();
    let mut runs: BTreeSet<String> = BTreeSet::new();
    each_record(&Spool::open_read_only(hub.join(RUNS))?, &mut |record| {
        let from = record.facts.labels.get(FROM).and_then(|from| from.parse().ok());
        let is_new_origin = from.is_none_or(|from| origins.insert(from));
        let is_new_run = runs.insert(RunRecord::from_json(&record.body)?.run_id);
        counts.duplicates += u64::from(!(is_new_origin && is_new_run));
        Ok(())
    })?;
    counts.delivered = written.keys().filter(|id| origins.contains(id)).count() as u64;
    // Records that left the agent's disk, and runs it was told are stored, count too.
    let unread = counts.written.saturating_sub(written.len() as u64);
    let unknown = acknowledged.iter().filter(|run| !runs.contains(*run)).count() as u64;
    let missing = written.len() as u64 - counts.delivered;
    counts.lost = missing.max(unknown) + unread;
    Ok(counts)
}

/// How many tool calls the interrupted run had made, where it is in the store.
pub(crate) fn interrupted_calls(agent: &Path, run_id: &str) -> anyhow::Result<Option<usize>> {
    let mut found = None;
    each_record(&Spool::open_read_only(agent.join(OFFLINE))?, &mut |record| {
        let run = RunRecord::from_json(&record.body)?;
        if run.run_id == run_id {
            found = Some(run.total_tool_calls());
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
