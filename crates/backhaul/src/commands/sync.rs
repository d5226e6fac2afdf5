//! `backhaul sync`: delivers what waits, once and now.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use backhaul_agent::{CloudRunLogger, OfflineQueue};
use backhaul_store::{ErrorKind, Layout, Options, Spool};
use backhaul_sync::{SyncManager, SyncOptions, SyncReport};
use serde_json::{Map, Value, json};

use crate::byte_size::ByteSize;
use crate::cli;
use crate::data_dir::DataDir;
use crate::exit::{OrUsage as _, Outcome};
use crate::hub_link;
use crate::printer::Printer;

/// How often progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) fn run(args: cli::Sync) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.json };
    let data_dir = DataDir::resolve(args.data_dir.data_dir).or_usage()?;
    let spools = data_dir.choose(None).or_usage()?;
    let url = args
        .runs_url
        .context("where to? Say --runs-url http://HUB:7117, or set BACKHAUL_RUNS_URL")
        .or_usage()?;
    let hub = hub_link::open(&url, args.token_file.as_deref()).or_usage()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let synced = runtime.block_on(sync_all(printer, spools, &hub));
    runtime.shutdown_timeout(Duration::from_secs(1));
    report(printer, &synced?)
}

/// A spool's name, and what its sync came to.
type Synced = (String, SyncReport);

async fn sync_all(
    printer: Printer,
    spools: Vec<(String, PathBuf)>,
    hub: &Arc<CloudRunLogger>,
) -> anyhow::Result<Vec<Synced>> {
    let mut synced = Vec::new();
    for (name, path) in spools {
        let spool = open(&name, &path)?;
        // Nobody is told to wait a whole backoff for an operator who is there.
        let courier = SyncManager::new(spool, Arc::clone(hub) as _, SyncOptions::default())?;
        let report = with_progress(printer, &name, &courier).await;
        synced.push((name, report));
    }
    Ok(synced)
}

/// Opens a spool to deliver from it. An agent's queue also takes over the runs that a
/// crash cut short.
fn open(name: &str, path: &Path) -> anyhow::Result<Spool> {
    let layout = Spool::open_read_only(path)?.layout();
    let opened = match layout {
        Layout::Folder => OfflineQueue::new(path).map(|queue| queue.spool().clone()),
        Layout::Segments => {
            return match Spool::open(path, Options::default()) {
                Err(error) if error.kind() == ErrorKind::Busy => {
                    Err(error).with_context(|| format!("the spool {name} is in use"))
                }
                opened => opened.with_context(|| format!("cannot open the spool {name}")),
            };
        }
    };
    opened.with_context(|| format!("cannot open the spool {name}"))
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
    let remaining: u64 = synced.iter().map(|(_, report)| report.remaining).sum();
    let blocked = synced.iter().find_map(|(_, report)| report.blocked_by.as_ref());
    let failed: u64 = synced.iter().map(|(_, report)| report.failed).sum();
    if printer.json {
        let spools: Map<String, Value> =
            synced.iter().map(|(name, report)| (name.clone(), object(report))).collect();
        printer.object(&json!({
            "synced": synced.iter().map(|(_, report)| report.synced).sum::<u64>(),
            "duplicates": synced.iter().map(|(_, report)| report.duplicates).sum::<u64>(),
            "failed": failed,
            "remaining": remaining,
            "bytes": synced.iter().map(|(_, report)| report.bytes).sum::<u64>(),
            "blocked_by": blocked.map(|blocked| blocked.kind.name()),
            "reason": blocked.map(|blocked| blocked.reason.clone()),
            "spools": spools,
        }))?;
    } else {
        for (name, report) in synced {
            printer.data(sentence(name, report))?;
        }
    }
    let complete = synced.iter().all(|(_, report)| report.is_complete());
    Ok(if complete { Outcome::Done } else { Outcome::LeftBehind })
}

fn object(report: &SyncReport) -> Value {
    json!({
        "synced": report.synced,
        "duplicates": report.duplicates,
        "failed": report.failed,
        "remaining": report.remaining,
        "bytes": report.bytes,
        "blocked_by": report.blocked_by.as_ref().map(|blocked| blocked.kind.name()),
        "reason": report.blocked_by.as_ref().map(|blocked| blocked.reason.clone()),
    })
}

fn sentence(name: &str, report: &SyncReport) -> String {
    let mut text = format!("{name}: {} delivered ({})", report.synced, ByteSize(report.bytes));
    if report.duplicates > 0 {
        text.push_str(&format!(", {} of them were there already", report.duplicates));
    }
    if report.failed > 0 {
        text.push_str(&format!(", {} refused (see `backhaul queue list`)", report.failed));
    }
    text.push_str(&format!(", {} remaining", report.remaining));
    if let Some(blocked) = &report.blocked_by {
        text.push_str(&format!(": {blocked}"));
    }
    text
}
