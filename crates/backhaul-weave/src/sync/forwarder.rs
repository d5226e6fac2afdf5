//! Delivery for as long as a process runs.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backhaul_store::Books;
use backhaul_sync::{
    Blocked, BlockedKind, ConnectivityMonitor, PlannedOutage, SyncEvent, SyncManager, SyncOptions,
    SyncPrioritizer, SyncStatus,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::couriers::{ProjectCouriers, Setup, books, is_of_all};
use super::server::Server;
use super::statistics::SyncStatistics;
use crate::error::TraceError;
use crate::kind::Kind;
use crate::offline::OfflineTraceServer;
use crate::project::ProjectId;
use crate::remote::Remote;

/// In which a process that only logs lets another one deliver: it looks once a second whether
/// one wants to.
const HANDOVER: Duration = Duration::from_millis(1_500);

/// Of each kind: how many records arrived, and how many did not.
type Numbers = [(u64, u64); Kind::ALL.len()];

/// Delivers what an [`OfflineTraceServer`] holds, and what is stored in it later, to a real
/// server: a courier for each kind of each project's data.
///
/// What a record refers to goes before it: files, tables, ops and objects before calls, and
/// those before feedback. Where the server calls something by another digest, what refers to it
/// is rewritten. Nothing is there twice, whatever is broken off and when.
///
/// Cheap to clone; all clones are one. Belongs to the tokio runtime that it is used on.
///
/// ```no_run
/// use std::time::Duration;
/// use backhaul_sync::{SyncOptions, Transport};
/// use backhaul_weave::{
///     Credentials, OfflineOptions, OfflineTraceServer, Remote, WeaveForwarder,
/// };
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let server = OfflineTraceServer::open("/var/lib/weave", OfflineOptions::default())?;
/// let transport = Transport::new(Duration::from_secs(60))?;
/// let remote = Remote::new(transport, None, None, Credentials::new(None))?;
///
/// let forwarder = WeaveForwarder::new(server, remote, SyncOptions::default())?;
/// forwarder.start().await;
/// // Until the process is told to end.
/// forwarder.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct WeaveForwarder {
    inner: Arc<Inner>,
}

struct Inner {
    server: Arc<Server>,
    setup: Mutex<Setup>,
    projects: Mutex<BTreeMap<ProjectId, Arc<ProjectCouriers>>>,
    background: Mutex<Background>,
}

/// What runs between start and stop.
#[derive(Default)]
struct Background {
    /// Kinds of which something was stored, and whose couriers do not run yet.
    news: Option<mpsc::UnboundedSender<(ProjectId, Kind)>>,
    /// Those whose couriers run.
    running: HashSet<(ProjectId, Kind)>,
    task: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for WeaveForwarder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeaveForwarder")
            .field("remote", &self.inner.server.remote)
            .field("dir", &self.inner.server.offline.dir())
            .finish_non_exhaustive()
    }
}

/// How the courier of one kind of a project's data stands.
#[derive(Debug, Clone)]
pub struct CourierStatus {
    /// The project, as it is called here.
    pub project: ProjectId,
    /// The kind.
    pub kind: Kind,
    /// How it stands.
    pub status: SyncStatus,
}

impl WeaveForwarder {
    /// A forwarder that does nothing yet. A `batch_size` of `None` is 1,000 records.
    ///
    /// # Errors
    /// Where what is known of the server cannot be read, and for options that make no sense.
    pub fn new(
        server: OfflineTraceServer,
        remote: Remote,
        options: SyncOptions,
    ) -> Result<Self, TraceError> {
        options.check().map_err(|error| {
            TraceError::new(crate::error::TraceErrorKind::InvalidInput, error.to_string())
        })?;
        let server = Arc::new(Server::open(server, remote)?);
        let inner = Inner {
            server,
            setup: Mutex::new(Setup { options, ..Setup::default() }),
            projects: Mutex::default(),
            background: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Has a monitor say whether there is a link: see [`SyncManager::watch`]. To be called
    /// before anything is delivered, as the next four.
    pub fn watch(&self, monitor: &ConnectivityMonitor) {
        self.inner.setup().monitor = Some(monitor.clone());
    }

    /// Has `prioritizer` say which records of a spool go first: see
    /// [`SyncManager::with_prioritizer`]. Its rules see `project`, `kind` and `type` in the
    /// metadata of each record.
    pub fn prioritize(&self, prioritizer: SyncPrioritizer) {
        self.inner.setup().prioritizer = Some(prioritizer);
    }

    /// Has `outage` asked before each request: see [`SyncManager::offline_while`].
    pub fn offline_while(
        &self,
        outage: impl Fn() -> Option<PlannedOutage> + Send + Sync + 'static,
    ) {
        self.inner.setup().outage = Some(Arc::new(outage));
    }

    /// Has `callback` called with what happens, and whose it is, on threads that may wait: see
    /// [`SyncManager::on_event`].
    pub fn on_event(
        &self,
        callback: impl Fn(&ProjectId, Kind, &SyncEvent) + Send + Sync + 'static,
    ) {
        self.inner.setup().on_event = Some(Arc::new(callback));
    }

    /// Has `callback` called with each courier that is opened, inside the runtime, and whose it
    /// is: for what is to be there beside it, such as a control socket.
    pub fn on_courier(
        &self,
        callback: impl Fn(&ProjectId, Kind, &SyncManager) + Send + Sync + 'static,
    ) {
        self.inner.setup().on_courier = Some(Arc::new(callback));
    }

    /// The server that it delivers to.
    pub fn remote(&self) -> &Remote {
        &self.inner.server.remote
    }

    /// Starts delivering in the background: what waits, and what is stored from now on by this
    /// process. What other processes store is found after
    /// [`SyncOptions::sync_interval_seconds`], where the project has it already.
    pub async fn start(&self) {
        let (news, mut heard) = mpsc::unbounded_channel();
        let inner = Arc::downgrade(&self.inner);
        self.inner.server.offline.on_stored(move |project, kind| {
            if let Some(inner) = inner.upgrade() {
                inner.hear(project, kind);
            }
        });
        {
            let mut background = self.inner.background();
            if background.news.is_some() {
                return;
            }
            background.news = Some(news.clone());
        }
        for project in self.inner.server.offline.projects().unwrap_or_default() {
            Kind::ALL.into_iter().for_each(|kind| drop(news.send((project.clone(), kind))));
        }
        let inner = Arc::downgrade(&self.inner);
        let task = tokio::spawn(async move {
            while let Some((project, kind)) = heard.recv().await {
                let Some(inner) = inner.upgrade() else { return };
                // Nobody tells of the record that there is such a project.
                for kind in BTreeSet::from([Kind::Metadata, kind]) {
                    inner.start_courier(&project, kind).await;
                }
            }
        });
        self.inner.background().task = Some(task);
    }

    /// Stops delivering in the background. Requests under way are waited for, as long as
    /// [`SyncOptions::stop_timeout`] says; past that their records wait again.
    pub async fn stop(&self) {
        let background = std::mem::take(&mut *self.inner.background());
        drop(background.news);
        if let Some(task) = background.task {
            let _ = task.await;
        }
        let couriers = self.inner.couriers().into_iter().map(|(_, _, courier)| courier);
        // Those that others wait for are stopped last.
        let couriers: Vec<SyncManager> = couriers.rev().collect();
        SyncManager::stop_all(&couriers).await;
    }

    /// Delivers now what waits of one project, or of all, whatever intervals and backoffs say,
    /// and says what came of it. A server that cannot be reached is no error.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub async fn sync_now(
        &self,
        project: Option<&ProjectId>,
    ) -> Result<SyncStatistics, TraceError> {
        self.sync(project, false).await
    }

    /// The same, but that records which were put off are waited for, as often as their retries
    /// go, and a process that has the folder open and only logs, until it lets go of delivering.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub async fn drain(&self, project: Option<&ProjectId>) -> Result<SyncStatistics, TraceError> {
        self.sync(project, true).await
    }

    async fn sync(
        &self,
        project: Option<&ProjectId>,
        patiently: bool,
    ) -> Result<SyncStatistics, TraceError> {
        let projects = match project {
            Some(project) => vec![project.clone()],
            None => self.inner.server.offline.projects()?,
        };
        let mut statistics = SyncStatistics::default();
        let mut is_silent = false;
        for project in projects {
            let (numbers, blocked) = self.sync_project(&project, patiently, is_silent).await?;
            is_silent |= blocked.is_some_and(|blocked| blocked.kind == BlockedKind::Offline)
                && !self.is_known(&project);
            let name = self.inner.server.name_of(&project).await;
            statistics.add(&name, numbers);
        }
        Ok(statistics)
    }

    /// Whether the server has said, since this forwarder was made, what it calls a project. It is
    /// asked so before anything else: where it is not even known, and the link is to blame, other
    /// projects need not be tried.
    pub fn is_known(&self, project: &ProjectId) -> bool {
        self.inner.server.knows(project)
    }

    /// How many records of each kind arrived, and how many did not; and what is in the way of
    /// all of them. `only_counted`: nothing is tried.
    async fn sync_project(
        &self,
        project: &ProjectId,
        patiently: bool,
        only_counted: bool,
    ) -> Result<(Numbers, Option<Blocked>), TraceError> {
        let couriers = self.inner.project(project);
        let mut those_there = Vec::new();
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            if let Some(courier) = couriers.courier(kind).await? {
                let before = books(&courier).await;
                those_there.push((at, courier, before));
            }
        }
        let options = self.inner.setup().options.clone();
        let (mut rounds_in_vain, mut of_all) = (0, None);
        while !only_counted && rounds_in_vain <= options.max_retries.saturating_add(1) {
            let (mut is_in_vain, mut wait) = (true, None);
            for (_, courier, _) in &those_there {
                let report = courier.sync_now().await;
                is_in_vain &= report.synced + report.failed == 0;
                of_all = report.blocked_by.clone().filter(is_of_all);
                if of_all.is_some() {
                    // The kinds after it would wait for the same, one by one.
                    wait = None;
                    break;
                }
                wait = wait.max(match report.blocked_by.map(|blocked| blocked.kind) {
                    // A server that fails over one record shows it by taking others.
                    Some(BlockedKind::PutOff | BlockedKind::Busy) => {
                        Some(options.backoff().delay(rounds_in_vain))
                    }
                    Some(BlockedKind::OtherProcess) => Some(HANDOVER),
                    _ => None,
                });
            }
            rounds_in_vain = if is_in_vain { rounds_in_vain + 1 } else { 0 };
            match wait {
                Some(wait) if patiently => tokio::time::sleep(wait).await,
                _ => break,
            }
        }
        let mut numbers = [(0, 0); Kind::ALL.len()];
        let goes_on = self.inner.background().news.is_some();
        for (at, courier, before) in those_there {
            mark_delivered(&courier).await;
            if !goes_on {
                let spool = courier.spool().clone();
                let _ = tokio::task::spawn_blocking(move || spool.rest()).await;
            }
            let after = books(&courier).await;
            if let Some(slot) = numbers.get_mut(at) {
                *slot = difference(&before, &after);
            }
        }
        Ok((numbers, of_all))
    }

    /// How the couriers stand that are open, project by project. Waits for the disk.
    pub fn status(&self) -> Vec<CourierStatus> {
        let couriers = self.inner.couriers().into_iter();
        couriers
            .map(|(project, kind, courier)| CourierStatus {
                project,
                kind,
                status: courier.status(),
            })
            .collect()
    }

    /// Tells that something waits again, such as after an operator has brought records back.
    pub fn notify(&self, project: &ProjectId, kind: Kind) {
        self.inner.hear(project, kind);
    }
}

/// Has the names of files tell whoever looks at them what a sync has delivered.
async fn mark_delivered(courier: &SyncManager) {
    let spool = courier.spool().clone();
    let marked = tokio::task::spawn_blocking(move || spool.mark_delivered()).await;
    if let Ok(Err(error)) = marked {
        tracing::debug!(%error, "delivered files keep their names for now");
    }
}

/// What became of records between two looks at the books: delivered, and refused or waiting.
fn difference(before: &Books, after: &Books) -> (u64, u64) {
    let delivered = after.delivered.saturating_sub(before.delivered);
    let refused = after.rejected.saturating_sub(before.rejected);
    (delivered, refused + after.pending)
}

impl Inner {
    /// Something of a kind was stored.
    fn hear(&self, project: &ProjectId, kind: Kind) {
        let place = (project.clone(), kind);
        let background = self.background();
        match &background.news {
            Some(news) if !background.running.contains(&place) => drop(news.send(place)),
            Some(_) => {
                drop(background);
                let couriers = self.projects().get(project).map(Arc::clone);
                couriers.iter().for_each(|couriers| couriers.notify(kind));
            }
            None => {}
        }
    }

    /// Has the courier of a kind run, where there is anything of it.
    async fn start_courier(&self, project: &ProjectId, kind: Kind) {
        match self.project(project).courier(kind).await {
            Ok(Some(courier)) => {
                courier.start().await;
                courier.notify();
                self.background().running.insert((project.clone(), kind));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%project, %kind, %error, "a spool cannot be delivered from");
            }
        }
    }

    fn project(&self, project: &ProjectId) -> Arc<ProjectCouriers> {
        let setup = self.setup().clone();
        let mut projects = self.projects();
        Arc::clone(projects.entry(project.clone()).or_insert_with(|| {
            Arc::new(ProjectCouriers::new(Arc::clone(&self.server), project.clone(), setup))
        }))
    }

    /// All couriers that are open.
    fn couriers(&self) -> Vec<(ProjectId, Kind, SyncManager)> {
        let projects = self.projects();
        let couriers = projects.iter().flat_map(|(project, couriers)| {
            let open = couriers.those_open().into_iter();
            open.map(move |(kind, courier)| (project.clone(), kind, courier))
        });
        couriers.collect()
    }

    // No call leaves any of these half changed.

    fn projects(&self) -> MutexGuard<'_, BTreeMap<ProjectId, Arc<ProjectCouriers>>> {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn setup(&self) -> MutexGuard<'_, Setup> {
        self.setup.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn background(&self) -> MutexGuard<'_, Background> {
        self.background.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
