//! `backhaul sync` of Weave's data: delivers what waits, once and now.

use std::collections::BTreeMap;
use std::path::Path;

use backhaul_store::Books;
use backhaul_sync::{Blocked, BlockedKind, SyncReport, shown_url};
use backhaul_weave::{Kind, OfflineDataSyncer, OfflineTraceServer, ProjectId, WeaveForwarder};
use serde_json::{Map, Value, json};

use super::progress::Progress;
use super::sync::sync_by_owner;
use crate::config::Config;
use crate::control::Client;
use crate::control::message::Overview;
use crate::data_dir::{DataDir, WEAVE, weave_spool};
use crate::exit::OrUsage as _;
use crate::offline::OutageSwitch;
use crate::printer::Printer;
use crate::synced::Synced;

/// What the sync of Weave's data came to.
#[derive(Default)]
pub(super) struct SyncedWeave {
    /// By spool.
    pub(super) spools: Vec<(String, Synced)>,
    /// By project, as the server calls it, and kind: how many arrived, and how many did not.
    statistics: BTreeMap<String, BTreeMap<Kind, (u64, u64)>>,
}

impl SyncedWeave {
    pub(super) fn statistics(&self) -> Value {
        let kinds = |kinds: &BTreeMap<Kind, (u64, u64)>| -> Map<String, Value> {
            kinds.iter().map(|(kind, numbers)| (kind.to_string(), json!(numbers))).collect()
        };
        self.statistics.iter().map(|(name, it)| (name.clone(), json!(kinds(it)))).collect()
    }

    /// Takes in what came of a kind of a project, which the server calls so.
    fn add(&mut self, project: &str, kind: Kind, spool: String, synced: Synced) {
        let kinds = self.statistics.entry(project.to_owned()).or_default();
        for each in Kind::ALL {
            kinds.entry(each).or_default();
        }
        kinds.insert(kind, (synced.synced, synced.failed + synced.remaining));
        self.spools.push((spool, synced));
    }
}

/// Delivers what waits of one project, or of all.
pub(super) async fn sync(
    printer: Printer,
    data_dir: &DataDir,
    project: Option<&str>,
    config: &Config,
) -> anyhow::Result<SyncedWeave> {
    let mut synced = SyncedWeave::default();
    let wanted: Option<ProjectId> = project.map(str::parse).transpose().or_usage()?;
    let Some(dir) = config.weave.dir.as_deref().filter(|dir| dir.is_dir()) else {
        return match wanted {
            Some(project) => Err(nothing_of(&project, config.weave.dir.as_deref())),
            None => Ok(synced),
        };
    };
    let server = OfflineTraceServer::open(dir, config.weave.options(&config.offline))?;
    let projects = server.projects()?;
    // By its name, or as `status` shows it, which is the name of its folder.
    let is_shown_so = |it: &ProjectId| project.is_some_and(|said| it.folder() == Path::new(said));
    let wanted =
        wanted.map(|wanted| projects.iter().find(|it| is_shown_so(it)).cloned().unwrap_or(wanted));
    if let Some(project) = wanted.as_ref().filter(|project| !projects.contains(project)) {
        return Err(nothing_of(project, Some(dir)));
    }
    let projects = projects.into_iter().filter(|it| wanted.as_ref().is_none_or(|one| one == it));
    let mut resting = Vec::new();
    for project in projects {
        if !sync_by_its_owner(printer, dir, &project, config, &mut synced).await? {
            resting.push(project);
        }
    }
    if !resting.is_empty() {
        sync_here(printer, data_dir, server, &resting, config, &mut synced).await?;
    }
    Ok(synced)
}

fn nothing_of(project: &ProjectId, dir: Option<&Path>) -> anyhow::Error {
    let dir = dir.map_or_else(|| "~/.weave/offline".to_owned(), |dir| dir.display().to_string());
    anyhow::anyhow!(
        "nothing of the project {project} is in {dir}: look elsewhere with --offline-dir, or say \
         --project with one that `backhaul status` shows"
    )
}

/// Has the process sync that has the spools of a project open. `false`: there is none.
async fn sync_by_its_owner(
    printer: Printer,
    dir: &Path,
    project: &ProjectId,
    config: &Config,
    synced: &mut SyncedWeave,
) -> anyhow::Result<bool> {
    let path = |kind: Kind| dir.join(project.folder()).join(kind.name());
    let mut owned = Vec::new();
    for kind in Kind::ALL {
        let name = weave_spool(project, kind);
        let Some(before) = books_of_owner(&path(kind)).await? else { continue };
        let part = sync_kind_by_its_owner(printer, &name, &path(kind), config).await?;
        owned.extend(part.map(|part| (kind, name, before, part)));
    }
    let is_owned = !owned.is_empty();
    let got_through = owned.iter().any(|(.., part)| part.synced > 0);
    for (kind, name, before, mut part) in owned {
        // A link that others have found since counts for all.
        let was_offline = part.blocked_by.as_deref() == Some(BlockedKind::Offline.name());
        if was_offline && got_through {
            let again = sync_kind_by_its_owner(printer, &name, &path(kind), config).await?;
            part = again.map_or(part.clone(), |again| again.after(&part));
            if let Some(after) = books_of_owner(&path(kind)).await? {
                // What arrived between the two is of neither.
                part.synced = after.delivered.saturating_sub(before.delivered);
                part.failed = after.rejected.saturating_sub(before.rejected);
            }
        }
        synced.add(&project.to_string(), kind, name, part);
    }
    Ok(is_owned)
}

/// The books of a spool, as the process knows them that has it open.
async fn books_of_owner(path: &Path) -> anyhow::Result<Option<Books>> {
    let Some(mut client) = Client::of_spool(path).await? else { return Ok(None) };
    let overview: Overview = client.get("/v1/status").await?;
    Ok(Some(overview.spool.books.books))
}

/// Has the process sync that has a spool open. What was put off is asked for again, as often
/// as its retries go.
async fn sync_kind_by_its_owner(
    printer: Printer,
    name: &str,
    path: &Path,
    config: &Config,
) -> anyhow::Result<Option<Synced>> {
    let options = &config.offline.sync;
    let mut whole: Option<Synced> = None;
    for round in 0..=options.max_retries {
        let Some(part) = sync_by_owner(printer, name, path, None).await? else { break };
        let is_put_off = part.blocked_by.as_deref() == Some(BlockedKind::PutOff.name());
        whole = Some(match whole {
            Some(earlier) => part.after(&earlier),
            None => part,
        });
        if !is_put_off || round == options.max_retries {
            break;
        }
        tokio::time::sleep(options.backoff().delay(round)).await;
    }
    Ok(whole)
}

async fn sync_here(
    printer: Printer,
    data_dir: &DataDir,
    server: OfflineTraceServer,
    projects: &[ProjectId],
    config: &Config,
    synced: &mut SyncedWeave,
) -> anyhow::Result<()> {
    let remote = config.weave.remote(&config.offline).or_usage()?;
    let to = shown_url(remote.trace_url().as_str());
    let to = to.trim_end_matches('/');
    let options = config.weave.sync_options(&config.offline);
    let syncer = OfflineDataSyncer::of_server(remote, server.clone(), options).or_usage()?;
    let forwarder = syncer.forwarder();
    let outage = OutageSwitch::of(data_dir.path(), config.outage);
    forwarder.offline_while(move || outage.outage());
    if let Some(prioritizer) = config.offline.prioritizer()? {
        forwarder.prioritize(prioritizer);
    }
    let mut silence = None;
    for project in projects {
        let before = books(&server, project)?;
        let whole = pending(&before);
        let waiting = async || books(&server, project).map_or(whole, |books| pending(&books));
        let name = format!("{WEAVE}/{project}");
        let project_name = project.to_string();
        let mut name_there = None;
        if silence.is_none() {
            let progress = Progress { printer, name: &name, to, whole };
            let statistics = progress.of(syncer.sync_project(&project_name), waiting).await?;
            name_there = statistics.keys().next().cloned();
        }
        let in_the_way = silence.clone().or_else(|| in_the_way_of(forwarder, project));
        for (kind, report) in reports(&server, forwarder, project, &before, in_the_way.as_ref())? {
            let name_there = name_there.as_ref().unwrap_or(&project_name);
            synced.add(name_there, kind, weave_spool(project, kind), report);
        }
        // Nobody is there: to ask again for each project would take the time of each.
        if !forwarder.is_known(project) {
            silence = in_the_way.filter(|it| it.kind == BlockedKind::Offline);
        }
    }
    Ok(())
}

/// What is in the way of one kind of a project and so of those after it, which were not tried.
fn in_the_way_of(forwarder: &WeaveForwarder, project: &ProjectId) -> Option<Blocked> {
    use BlockedKind::{Offline, Outage, Refused};
    let couriers = forwarder.status().into_iter().filter(|it| it.project == *project);
    let mut blocked = couriers.filter_map(|it| it.status.blocked_by);
    blocked.find(|it| matches!(it.kind, Offline | Outage | Refused))
}

fn pending(books: &BTreeMap<Kind, Books>) -> u64 {
    books.values().map(|books| books.pending).sum()
}

/// The books of each kind of a project that there is.
fn books(
    server: &OfflineTraceServer,
    project: &ProjectId,
) -> anyhow::Result<BTreeMap<Kind, Books>> {
    let mut books = BTreeMap::new();
    for kind in Kind::ALL {
        if let Some(spool) = server.spool(project, kind)? {
            books.insert(kind, spool.status()?.books);
        }
    }
    Ok(books)
}

/// What came of each kind, over all rounds.
fn reports(
    server: &OfflineTraceServer,
    forwarder: &WeaveForwarder,
    project: &ProjectId,
    before: &BTreeMap<Kind, Books>,
    in_the_way: Option<&Blocked>,
) -> anyhow::Result<Vec<(Kind, Synced)>> {
    let statuses = forwarder.status();
    let mut reports = Vec::new();
    for kind in Kind::ALL {
        let Some(spool) = server.spool(project, kind)? else { continue };
        let (before, after) =
            (before.get(&kind).copied().unwrap_or_default(), spool.status()?.books);
        let courier = statuses.iter().find(|it| it.project == *project && it.kind == kind);
        let report = SyncReport {
            synced: after.delivered.saturating_sub(before.delivered),
            duplicates: after.duplicates.saturating_sub(before.duplicates),
            failed: after.rejected.saturating_sub(before.rejected),
            remaining: after.pending,
            bytes: courier.map_or(0, |it| it.status.synced_bytes),
            blocked_by: courier
                .and_then(|it| it.status.blocked_by.clone())
                .or_else(|| in_the_way.cloned())
                .filter(|_| after.pending > 0),
            ..SyncReport::default()
        };
        reports.push((kind, Synced::new(&report, &before, &spool)));
    }
    Ok(reports)
}
