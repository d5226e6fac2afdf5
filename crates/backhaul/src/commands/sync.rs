//! `backhaul sync`: delivers what waits, once and now.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, HubUrl};
use backhaul_store::{Books, Spool};
use backhaul_sync::{BlockedKind, SyncManager, SyncReport};
use serde_json::{Map, Value, json};

use super::operate::{HANDOVER_INTERVAL, HANDOVER_TRIES};
use super::progress::Progress;
use super::resting::open_spool;
use super::sync_weave::{self, SyncedWeave};
use crate::cli;
use crate::control::{self, Client, message};
use crate::courier;
use crate::data_dir::{self, DataDir};
use crate::exit::{self, OrUsage as _, Outcome};
use crate::hub_address;
use crate::offline::OutageSwitch;
use crate::printer::Printer;
use crate::runtime;
use crate::synced::Synced;

const NO_HUB: &str = "Say --runs-url http://HUB:7117, or set BACKHAUL_RUNS_URL";
/// Who is waited for where a process that runs is asked to deliver.
const OWNER: &str = "the backhaul that runs here";

pub(crate) fn run(args: &cli::Sync, config: &Config) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.json };
    let data_dir = DataDir::of(config).or_usage()?;
    let runtime = runtime::start(1)?;
    let synced = runtime.block_on(sync_all(printer, &data_dir, args.project.as_deref(), config));
    runtime.shutdown_timeout(Duration::from_secs(1));
    let (runs, weave) = synced?;
    match weave {
        Ok(weave) => print(printer, runs, weave),
        Err(error) => {
            if !runs.is_empty() {
                print(printer, runs, SyncedWeave::default())?;
            }
            Err(error)
        }
    }
}

/// Delivers everything. That Weave's data cannot be, where no key is known say, is in the way of
/// nothing else.
async fn sync_all(
    printer: Printer,
    data_dir: &DataDir,
    project: Option<&str>,
    config: &Config,
) -> anyhow::Result<(Vec<(String, Synced)>, anyhow::Result<SyncedWeave>)> {
    let weave = sync_weave::sync(printer, data_dir, project, config).await;
    if project.is_some() {
        return Ok((Vec::new(), weave));
    }
    let is_weaves = |name: &str| data_dir::of_weave(name).is_some();
    let only_runs = weave.as_ref().is_ok_and(|weave| weave.spools.is_empty());
    let spools = match only_runs {
        true => data_dir.choose(None).or_usage()?,
        false => data_dir.present(),
    };
    let spools = spools.into_iter().filter(|(name, _)| !is_weaves(name)).collect();
    Ok((sync_runs(printer, data_dir, spools, only_runs, config).await?, weave))
}

/// Delivers run records. Where Weave's data is there too, those for which no hub is named are
/// left behind.
async fn sync_runs(
    printer: Printer,
    data_dir: &DataDir,
    spools: Vec<(String, PathBuf)>,
    is_all: bool,
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
        let Some(hub) = &hub else {
            if is_all {
                return Err(anyhow::anyhow!("where to? {NO_HUB}")).or_usage();
            }
            synced.push((name, left_behind(&path)?));
            continue;
        };
        let outage = OutageSwitch::of(data_dir.of_spool(&path), config.outage);
        let (spool, before) = open(&name, &path, config)?;
        // Nobody is told to wait a whole backoff for an operator who is there.
        let options = offline.sync.clone();
        let courier = courier::of_runs(spool, Arc::clone(hub), offline, options)?;
        courier.offline_while(move || outage.outage());
        let to = url.map(hub_address::shown).unwrap_or_default();
        let report = sync_here(printer, &name, &to, &courier).await;
        synced.push((name, Synced::new(&report, &before, courier.spool())));
    }
    Ok(synced)
}

/// What waits for a hub that nobody has named.
fn left_behind(path: &Path) -> anyhow::Result<Synced> {
    let remaining = Spool::open_read_only(path)?.status()?.books.pending;
    let reason = (remaining > 0).then(|| NO_HUB.to_owned());
    let blocked_by = reason.as_ref().map(|_| BlockedKind::Refused.name().to_owned());
    Ok(Synced { remaining, reason, blocked_by, ..Synced::default() })
}

/// Has the process sync that has the spool open. `Ok(None)`: there is none that delivers.
pub(super) async fn sync_by_owner(
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
    let progress = Progress { printer, name, to: OWNER, whole };
    control::unless_absent(progress.of(sync, waiting).await)
}

async fn sync_here(printer: Printer, name: &str, to: &str, courier: &SyncManager) -> SyncReport {
    let pending = || courier.status().pending_count;
    let progress = Progress { printer, name, to, whole: pending() };
    let sync = async || progress.of(courier.sync_now(), async || pending()).await;
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

/// Says what the syncs came to.
fn print(
    printer: Printer,
    mut synced: Vec<(String, Synced)>,
    mut weave: SyncedWeave,
) -> anyhow::Result<Outcome> {
    synced.append(&mut weave.spools);
    let all = synced.iter().map(|(_, synced)| synced);
    let whole = all.fold(Synced::default(), |whole, synced| whole.beside(synced));
    if printer.json {
        let spools: Map<String, Value> =
            synced.iter().map(|(name, synced)| (name.clone(), json!(synced))).collect();
        let mut said = json!(whole);
        if let Some(said) = said.as_object_mut() {
            said.insert("spools".to_owned(), spools.into());
            said.insert("weave".to_owned(), weave.statistics());
        }
        printer.object(&said)?;
    } else {
        let shown = by_project(&synced);
        let common = common_reasons(&shown);
        for (name, synced) in shown {
            let is_common = synced.reason.as_ref().is_some_and(|it| common.contains_key(it));
            let reason = synced.reason.filter(|_| !is_common);
            let sentence = Synced { reason, ..synced }.sentence();
            printer.data(format_args!("{name}: {sentence}"))?;
        }
        for (reason, remaining) in common {
            printer.data(format_args!("{remaining} records wait: {reason}"))?;
        }
    }
    Ok(if whole.is_complete() { Outcome::Done } else { Outcome::LeftBehind })
}

/// The kinds of data of one project of Weave's are shown as one.
fn by_project(synced: &[(String, Synced)]) -> Vec<(&str, Synced)> {
    let mut shown: Vec<(&str, Synced)> = Vec::new();
    for (name, synced) in synced {
        let name = data_dir::shown_as(name);
        match shown.last_mut().filter(|(last, _)| *last == name) {
            Some((_, last)) => *last = std::mem::take(last).beside(synced),
            None => shown.push((name, synced.clone())),
        }
    }
    shown
}

/// What is in the way of several, which is said once, and how many records wait for it.
fn common_reasons(shown: &[(&str, Synced)]) -> BTreeMap<String, u64> {
    let mut reasons: BTreeMap<String, (u64, usize)> = BTreeMap::new();
    for (_, synced) in shown {
        if let Some(reason) = &synced.reason {
            let (remaining, spools) = reasons.entry(reason.clone()).or_default();
            *remaining += synced.remaining;
            *spools += 1;
        }
    }
    let common = reasons.into_iter().filter(|(_, (_, spools))| *spools > 1);
    common.map(|(reason, (remaining, _))| (reason, remaining)).collect()
}
