//! `backhaul sync`: delivers what waits, once and now.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, HubUrl};
use anyhow::Context as _;
use backhaul_store::{Books, Spool};
use backhaul_sync::{BlockedKind, SyncManager, SyncReport};
use serde_json::{Map, Value, json};

use super::operate::{HANDOVER_INTERVAL, HANDOVER_TRIES};
use super::resting::open_spool;
use crate::cli;
use crate::control::{self, Client, message};
use crate::courier;
use crate::data_dir::DataDir;
use crate::exit::{self, OrUsage as _, Outcome};
use crate::offline::OutageSwitch;
use crate::printer::Printer;
use crate::runtime;
use crate::synced::Synced;

/// How often progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &cli::Sync, config: &Config) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.json };
    let data_dir = DataDir::of(config).or_usage()?;
    let spools = data_dir.choose(None).or_usage()?;
    let runtime = runtime::start(1)?;
    let synced = runtime.block_on(sync_all(printer, &data_dir, spools, config));
    runtime.shutdown_timeout(Duration::from_secs(1));
    print(printer, &synced?)
}

async fn sync_all(
    printer: Printer,
    data_dir: &DataDir,
    spools: Vec<(String, PathBuf)>,
    config: &Config,
) -> anyhow::Result<Vec<(String, Synced)>> {
    let offline = &config.offline;
    let url = offline.runs_url.as_ref().map(HubUrl::as_str);
    let hub = offline.primary_logger().or_usage()?.map(Arc::new);
    let mut synced = Vec::new();
    for (name, path) in spools {
        if let Some(of_owner) = sync_by_owner(printer, &name, &path, url).await? {
            synced.push((name, of_owner));
            continue;
        }
        let hub = hub
            .as_ref()
            .context("where to? Say --runs-url http://HUB:7117, or set BACKHAUL_RUNS_URL")
            .or_usage()?;
        let outage = OutageSwitch::of(data_dir.of_spool(&path), config.outage);
        let (spool, before) = open(&name, &path, config)?;
        // Nobody is told to wait a whole backoff for an operator who is there.
        let options = offline.sync.clone();
        let courier = courier::of_runs(spool, Arc::clone(hub), offline, options)?;
        courier.offline_while(move || outage.outage());
        let report = sync_here(printer, &name, &courier).await;
        synced.push((name, Synced::new(&report, &before, courier.spool())));
    }
    Ok(synced)
}

/// Has the process sync that has the spool open. `Ok(None)`: there is none that delivers.
async fn sync_by_owner(
    printer: Printer,
    name: &str,
    path: &Path,
    url: Option<&str>,
) -> anyhow::Result<Option<Synced>> {
    let Some(mut client) = Client::of_spool(path).await? else { return Ok(None) };
    let whole = client.pending().await?;
    let asked = message::Sync { runs_url: url.map(ToOwned::to_owned) };
    let sync = client.post("/v1/sync", &asked);
    let waiting = async || match Client::of_spool(path).await {
        Ok(Some(mut client)) => client.pending().await.unwrap_or(whole),
        _ => whole,
    };
    control::unless_absent(with_progress(printer, name, whole, sync, waiting).await)
}

async fn sync_here(printer: Printer, name: &str, courier: &SyncManager) -> SyncReport {
    let pending = || courier.status().pending_count;
    let whole = pending();
    let sync =
        async || with_progress(printer, name, whole, courier.sync_now(), async || pending()).await;
    let mut report = sync().await;
    let mut patience = HANDOVER_TRIES;
    while is_held_by_other(&report) && patience > 0 {
        tokio::time::sleep(HANDOVER_INTERVAL).await;
        report = sync().await;
        patience -= 1;
    }
    report
}

/// Opens a spool to deliver from it, and gives its books from before.
fn open(name: &str, path: &Path, config: &Config) -> anyhow::Result<(Spool, Books)> {
    let cannot = |error| exit::of_store(error, format!("cannot open the spool {name}"));
    let as_found = Spool::open_read_only(path).map_err(cannot)?;
    let before = as_found.status().map_err(cannot)?.books;
    drop(as_found);
    Ok((open_spool(name, path, config)?, before))
}

/// Whether another process holds the part of delivering. One that never delivers gives
/// it up when it is asked for.
fn is_held_by_other(report: &SyncReport) -> bool {
    report.blocked_by.as_ref().is_some_and(|blocked| blocked.kind == BlockedKind::OtherProcess)
}

/// Says from time to time how far it is.
async fn with_progress<T>(
    printer: Printer,
    name: &str,
    whole: u64,
    sync: impl Future<Output = T>,
    waiting: impl AsyncFn() -> u64,
) -> T {
    let mut sync = std::pin::pin!(sync);
    let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
    ticks.tick().await;
    loop {
        tokio::select! {
            done = &mut sync => {
                printer.end_progress();
                return done;
            }
            _ = ticks.tick() => {
                let done = whole.saturating_sub(waiting().await);
                printer.progress(format_args!("{name}: {done} of {whole} delivered"));
            }
        }
    }
}

/// Says what the syncs came to.
fn print(printer: Printer, synced: &[(String, Synced)]) -> anyhow::Result<Outcome> {
    let sum =
        |count: fn(&Synced) -> u64| synced.iter().map(|(_, synced)| count(synced)).sum::<u64>();
    let blocked =
        synced.iter().map(|(_, synced)| synced).find(|synced| synced.blocked_by.is_some());
    if printer.json {
        let spools: Map<String, Value> =
            synced.iter().map(|(name, synced)| (name.clone(), json!(synced))).collect();
        printer.object(&json!({
            "synced": sum(|synced| synced.synced),
            "duplicates": sum(|synced| synced.duplicates),
            "failed": sum(|synced| synced.failed),
            "remaining": sum(|synced| synced.remaining),
            "damaged": sum(|synced| synced.damaged),
            "expired": sum(|synced| synced.expired),
            "evicted": sum(|synced| synced.evicted),
            "trouble": synced.iter().find_map(|(_, synced)| synced.trouble.clone()),
            "bytes": sum(|synced| synced.bytes),
            "blocked_by": blocked.and_then(|blocked| blocked.blocked_by.clone()),
            "reason": blocked.and_then(|blocked| blocked.reason.clone()),
            "spools": spools,
        }))?;
    } else {
        for (name, synced) in synced {
            printer.data(format_args!("{name}: {}", synced.sentence()))?;
        }
    }
    let complete = synced.iter().all(|(_, synced)| synced.is_complete());
    Ok(if complete { Outcome::Done } else { Outcome::LeftBehind })
}
