//! `backhaul sync`: delivers what waits, once and now.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use backhaul::config::{ByteSize, Config, OfflineConfig};
use backhaul_agent::CloudRunLogger;
use backhaul_store::{Books, ErrorKind, Layout, Spool};
use backhaul_sync::{Blocked, BlockedKind, SyncManager, SyncReport};
use serde_json::{Map, Value, json};

use crate::cli;
use crate::data_dir::DataDir;
use crate::exit::{self, OrUsage as _, Outcome};
use crate::presence::Presence;
use crate::printer::Printer;
use crate::runtime;

/// How often progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// How often and how many times another process is asked for the part of delivering: it
/// looks for such wishes once a second.
const HANDOVER_INTERVAL: Duration = Duration::from_millis(250);
const HANDOVER_TRIES: u32 = 16;

pub(crate) fn run(args: &cli::Sync, config: &Config) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.json };
    let data_dir = DataDir::of(config).or_usage()?;
    let spools = data_dir.choose(None).or_usage()?;
    let hub = config.offline.primary_logger().or_usage()?;
    let hub = hub
        .context("where to? Say --runs-url http://HUB:7117, or set BACKHAUL_RUNS_URL")
        .or_usage()?;
    let runtime = runtime::start(1)?;
    let synced =
        runtime.block_on(sync_all(printer, &data_dir, spools, &Arc::new(hub), &config.offline));
    runtime.shutdown_timeout(Duration::from_secs(1));
    report(printer, &synced?)
}

/// What the sync of a spool came to.
struct Synced {
    name: String,
    report: SyncReport,
    /// Records that were found damaged, ran out of time or made room meanwhile.
    damaged: u64,
    expired: u64,
    evicted: u64,
    /// Why what became of the records could not be written down.
    trouble: Option<String>,
}

impl Synced {
    fn new(name: String, report: SyncReport, before: &Books, spool: &Spool) -> Self {
        let (after, trouble) = match spool.status() {
            Ok(status) => (status.books, status.trouble),
            Err(error) => (*before, Some(error.to_string())),
        };
        Self {
            name,
            report,
            damaged: after.damaged.saturating_sub(before.damaged),
            expired: after.expired.saturating_sub(before.expired),
            evicted: after.evicted.saturating_sub(before.evicted),
            trouble,
        }
    }

    fn is_complete(&self) -> bool {
        let lost = self.damaged + self.expired + self.evicted;
        self.report.is_complete() && lost == 0 && self.trouble.is_none()
    }
}

async fn sync_all(
    printer: Printer,
    data_dir: &DataDir,
    spools: Vec<(String, PathBuf)>,
    hub: &Arc<CloudRunLogger>,
    config: &OfflineConfig,
) -> anyhow::Result<Vec<Synced>> {
    let mut synced = Vec::new();
    for (name, path) in spools {
        let (spool, before) = open(&name, &path, config)?;
        // Nobody is told to wait a whole backoff for an operator who is there.
        let courier = SyncManager::new(spool.clone(), Arc::clone(hub) as _, config.sync.clone())?;
        let mut report = with_progress(printer, &name, &courier).await;
        let mut patience = HANDOVER_TRIES;
        while is_held_by_other(&report) && patience > 0 {
            tokio::time::sleep(HANDOVER_INTERVAL).await;
            report = with_progress(printer, &name, &courier).await;
            patience -= 1;
        }
        if let Some(blocked) = report.blocked_by.take() {
            report.blocked_by = Some(explained(blocked, data_dir, &name));
        }
        synced.push(Synced::new(name, report, &before, &spool));
    }
    Ok(synced)
}

/// Opens a spool to deliver from it, and gives its books from before. An agent's queue
/// also takes over the runs that a crash cut short.
fn open(name: &str, path: &Path, config: &OfflineConfig) -> anyhow::Result<(Spool, Books)> {
    let cannot = |error| exit::of_store(error, format!("cannot open the spool {name}"));
    let as_found = Spool::open_read_only(path).map_err(cannot)?;
    let before = as_found.status().map_err(cannot)?.books;
    let spool = match as_found.layout() {
        Layout::Folder => {
            let config = OfflineConfig { storage_path: Some(path.to_owned()), ..config.clone() };
            let queue = config.queue()?.open();
            queue.with_context(|| format!("cannot open the spool {name}"))?.spool().clone()
        }
        Layout::Segments => match Spool::open(path, config.spool_options()) {
            Err(error) if error.kind() == ErrorKind::Busy => {
                return Err(error).with_context(|| format!("the spool {name} is in use"));
            }
            opened => opened.map_err(cannot)?,
        },
    };
    Ok((spool, before))
}

/// What is in the way, with what to do about it where that can be told.
fn explained(blocked: Blocked, data_dir: &DataDir, name: &str) -> Blocked {
    if blocked.kind != BlockedKind::OtherProcess {
        return blocked;
    }
    let hub = Presence::ask(data_dir, name).filter(|hub| hub.forwards == Some(true));
    let Some(hub) = hub else { return blocked };
    let reason = format!(
        "the hub that runs here (process {}) delivers from the spool by itself, to its own \
         --runs-url: `backhaul status` shows how far it is",
        hub.process
    );
    Blocked { reason, ..blocked }
}

/// Whether another process holds the part of delivering. One that never delivers gives
/// it up when it is asked for.
fn is_held_by_other(report: &SyncReport) -> bool {
    report.blocked_by.as_ref().is_some_and(|blocked| blocked.kind == BlockedKind::OtherProcess)
}

async fn with_progress(printer: Printer, name: &str, courier: &SyncManager) -> SyncReport {
    let whole = courier.status().pending_count;
    let sync = courier.sync_now();
    let mut sync = std::pin::pin!(sync);
    loop {
        tokio::select! {
            report = &mut sync => {
                printer.end_progress();
                return report;
            }
            () = tokio::time::sleep(PROGRESS_INTERVAL) => {
                let waiting = courier.status().pending_count;
                let done = whole.saturating_sub(waiting);
                printer.progress(format_args!("{name}: {done} of {whole} delivered"));
            }
        }
    }
}

fn report(printer: Printer, synced: &[Synced]) -> anyhow::Result<Outcome> {
    let sum = |count: fn(&Synced) -> u64| synced.iter().map(count).sum::<u64>();
    let blocked = synced.iter().find_map(|synced| synced.report.blocked_by.as_ref());
    if printer.json {
        let spools: Map<String, Value> =
            synced.iter().map(|synced| (synced.name.clone(), object(synced))).collect();
        printer.object(&json!({
            "synced": sum(|synced| synced.report.synced),
            "duplicates": sum(|synced| synced.report.duplicates),
            "failed": sum(|synced| synced.report.failed),
            "remaining": sum(|synced| synced.report.remaining),
            "damaged": sum(|synced| synced.damaged),
            "expired": sum(|synced| synced.expired),
            "evicted": sum(|synced| synced.evicted),
            "trouble": synced.iter().find_map(|synced| synced.trouble.clone()),
            "bytes": sum(|synced| synced.report.bytes),
            "blocked_by": blocked.map(|blocked| blocked.kind.name()),
            "reason": blocked.map(|blocked| blocked.reason.clone()),
            "spools": spools,
        }))?;
    } else {
        for synced in synced {
            printer.data(sentence(synced))?;
        }
    }
    let complete = synced.iter().all(Synced::is_complete);
    Ok(if complete { Outcome::Done } else { Outcome::LeftBehind })
}

fn object(synced: &Synced) -> Value {
    let report = &synced.report;
    json!({
        "synced": report.synced,
        "duplicates": report.duplicates,
        "failed": report.failed,
        "remaining": report.remaining,
        "damaged": synced.damaged,
        "expired": synced.expired,
        "evicted": synced.evicted,
        "trouble": synced.trouble,
        "bytes": report.bytes,
        "blocked_by": report.blocked_by.as_ref().map(|blocked| blocked.kind.name()),
        "reason": report.blocked_by.as_ref().map(|blocked| blocked.reason.clone()),
    })
}

fn sentence(synced: &Synced) -> String {
    let Synced { name, report, .. } = synced;
    let mut text = format!("{name}: {} delivered ({})", report.synced, ByteSize(report.bytes));
    if report.duplicates > 0 {
        text.push_str(&format!(", {} of them were there already", report.duplicates));
    }
    if report.failed > 0 {
        text.push_str(&format!(", {} refused (see `backhaul queue list`)", report.failed));
    }
    let lost = [
        (synced.damaged, "found damaged"),
        (synced.expired, "expired"),
        (synced.evicted, "evicted to make room"),
    ];
    for (count, what) in lost.into_iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!(", {count} {what}"));
    }
    text.push_str(&format!(", {} remaining", report.remaining));
    if let Some(blocked) = &report.blocked_by {
        text.push_str(&format!(": {blocked}"));
    }
    if let Some(trouble) = &synced.trouble {
        text.push_str(&format!("; TROUBLE: {trouble}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settlement_that_was_not_written_down_is_no_success() {
        let mut synced = Synced {
            name: "runs".to_owned(),
            report: SyncReport::default(),
            damaged: 0,
            expired: 0,
            evicted: 0,
            trouble: None,
        };
        assert!(synced.is_complete());
        synced.trouble = Some("the disk is full".to_owned());
        assert!(!synced.is_complete());
        assert!(sentence(&synced).ends_with("TROUBLE: the disk is full"));
        assert_eq!(object(&synced)["trouble"], "the disk is full");
    }
}
