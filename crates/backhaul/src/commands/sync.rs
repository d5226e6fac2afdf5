//! `backhaul sync`: delivers what waits, once and now.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use backhaul_agent::{CloudRunLogger, OfflineQueue};
use backhaul_store::{Books, ErrorKind, Layout, Options, Spool};
use backhaul_sync::{BlockedKind, SyncManager, SyncOptions, SyncReport};

use super::operate::{HANDOVER_INTERVAL, HANDOVER_TRIES};
use crate::cli;
use crate::control::{self, Client, message};
use crate::data_dir::DataDir;
use crate::exit::{self, OrUsage as _, Outcome};
use crate::hub_link;
use crate::outage::OutageSwitch;
use crate::printer::Printer;
use crate::runtime;
use crate::synced::{self, Synced};

/// How often progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) fn run(args: cli::Sync) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.json };
    let data_dir = DataDir::resolve(args.data_dir.data_dir).or_usage()?;
    let spools = data_dir.choose(None).or_usage()?;
    let url = hub_link::url(args.runs_url);
    let hub = url.as_deref().map(|url| hub_link::open(url, args.token_file.as_deref()));
    let hub = hub.transpose().or_usage()?;
    let runtime = runtime::start(1)?;
    let synced = runtime.block_on(sync_all(printer, spools, url.as_deref(), hub.as_ref()));
    runtime.shutdown_timeout(Duration::from_secs(1));
    synced::print(printer, &synced?)
}

async fn sync_all(
    printer: Printer,
    spools: Vec<(String, PathBuf)>,
    url: Option<&str>,
    hub: Option<&Arc<CloudRunLogger>>,
) -> anyhow::Result<Vec<Synced>> {
    let mut synced = Vec::new();
    for (name, path) in spools {
        if let Some(of_owner) = sync_by_owner(printer, &name, &path, url).await? {
            synced.push(of_owner);
            continue;
        }
        let hub = hub
            .context("where to? Say --runs-url http://HUB:7117, or set BACKHAUL_RUNS_URL")
            .or_usage()?;
        synced.push(sync_here(printer, name, &path, hub).await?);
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
    let whole = client.pending(name).await?;
    let asked = message::Sync { runs_url: url.map(ToOwned::to_owned) };
    let sync = client.post("/v1/sync", &asked);
    let waiting = async || match Client::of_spool(path).await {
        Ok(Some(mut client)) => client.pending(name).await.unwrap_or(whole),
        _ => whole,
    };
    control::unless_absent(with_progress(printer, name, whole, sync, waiting).await)
}

async fn sync_here(
    printer: Printer,
    name: String,
    path: &Path,
    hub: &Arc<CloudRunLogger>,
) -> anyhow::Result<Synced> {
    let (spool, before) = open(&name, path)?;
    // Nobody is told to wait a whole backoff for an operator who is there.
    let courier = SyncManager::new(spool.clone(), Arc::clone(hub) as _, SyncOptions::default())?;
    let outage = OutageSwitch::of(path.parent().unwrap_or(Path::new("."))).or_usage()?;
    courier.offline_while(move || outage.outage());
    let pending = || courier.status().pending_count;
    let whole = pending();
    let sync =
        async || with_progress(printer, &name, whole, courier.sync_now(), async || pending()).await;
    let mut report = sync().await;
    let mut patience = HANDOVER_TRIES;
    while is_held_by_other(&report) && patience > 0 {
        tokio::time::sleep(HANDOVER_INTERVAL).await;
        report = sync().await;
        patience -= 1;
    }
    Ok(Synced::new(name, &report, &before, &spool))
}

/// Opens a spool to deliver from it, and gives its books from before. An agent's queue
/// also takes over the runs that a crash cut short.
fn open(name: &str, path: &Path) -> anyhow::Result<(Spool, Books)> {
    let cannot = |error| exit::of_store(error, format!("cannot open the spool {name}"));
    let as_found = Spool::open_read_only(path).map_err(cannot)?;
    let before = as_found.status().map_err(cannot)?.books;
    let spool = match as_found.layout() {
        Layout::Folder => {
            let queue = OfflineQueue::new(path);
            queue.with_context(|| format!("cannot open the spool {name}"))?.spool().clone()
        }
        Layout::Segments => match Spool::open(path, Options::default()) {
            Err(error) if error.kind() == ErrorKind::Busy => {
                return Err(error).with_context(|| format!("the spool {name} is in use"));
            }
            opened => opened.map_err(cannot)?,
        },
    };
    Ok((spool, before))
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
