//! The couriers of one project, one for each kind of its data.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backhaul_store::Books;
use backhaul_sync::{
    Blocked, BlockedKind, ConnectivityMonitor, LinkError, LinkErrorKind, PlannedOutage, SyncEvent,
    SyncManager, SyncOptions, SyncPrioritizer,
};

use super::destination::KindDestination;
use super::memory::Memory;
use super::server::Server;
use crate::error::{TraceError, TraceErrorKind};
use crate::kind::Kind;
use crate::project::ProjectId;

/// Records in a batch where nobody says otherwise: as many calls as clients put into a request.
const BATCH_SIZE: usize = 1_000;

type Outage = dyn Fn() -> Option<PlannedOutage> + Send + Sync;
type OnCourier = dyn Fn(&ProjectId, Kind, &SyncManager) + Send + Sync;
type OnEvent = dyn Fn(&ProjectId, Kind, &SyncEvent) + Send + Sync;

/// What each courier is given.
#[derive(Clone, Default)]
pub(super) struct Setup {
    pub(super) options: SyncOptions,
    pub(super) monitor: Option<ConnectivityMonitor>,
    pub(super) prioritizer: Option<SyncPrioritizer>,
    pub(super) outage: Option<Arc<Outage>>,
    pub(super) on_event: Option<Arc<OnEvent>>,
    pub(super) on_courier: Option<Arc<OnCourier>>,
}

/// The couriers of a project, each opened when it is needed.
pub(super) struct ProjectCouriers {
    pub(super) server: Arc<Server>,
    pub(super) project: ProjectId,
    setup: Setup,
    open: Mutex<BTreeMap<Kind, Courier>>,
}

/// A courier, and what its destination remembers.
struct Courier {
    manager: SyncManager,
    memory: Arc<Mutex<Memory>>,
}

impl std::fmt::Debug for ProjectCouriers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProjectCouriers").field("project", &self.project).finish_non_exhaustive()
    }
}

impl ProjectCouriers {
    pub(super) fn new(server: Arc<Server>, project: ProjectId, setup: Setup) -> Self {
        Self { server, project, setup, open: Mutex::default() }
    }

    /// The couriers that are open, in the order in which kinds depend on each other.
    pub(super) fn those_open(&self) -> Vec<(Kind, SyncManager)> {
        self.open().iter().map(|(kind, courier)| (*kind, courier.manager.clone())).collect()
    }

    /// Tells the courier of a kind, where it is open, that something was stored.
    pub(super) fn notify(&self, kind: Kind) {
        if let Some(courier) = self.open().get(&kind) {
            courier.manager.notify();
        }
    }

    /// The courier of a kind. `Ok(None)`: nothing of it was ever logged.
    pub(super) async fn courier(
        self: &Arc<Self>,
        kind: Kind,
    ) -> Result<Option<SyncManager>, TraceError> {
        if let Some(courier) = self.open().get(&kind) {
            return Ok(Some(courier.manager.clone()));
        }
        let (offline, project) = (self.server.offline.clone(), self.project.clone());
        let opened = tokio::task::spawn_blocking(move || offline.spool(&project, kind)).await;
        let opened = opened.map_err(|error| {
            TraceError::new(TraceErrorKind::Store, format!("a spool was not opened: {error}"))
        })?;
        let Some(spool) = opened? else { return Ok(None) };
        let mut open = self.open();
        if let Some(courier) = open.get(&kind) {
            return Ok(Some(courier.manager.clone()));
        }
        let memory = Arc::default();
        let destination = KindDestination::new(self, kind, spool.clone(), Arc::clone(&memory));
        let destination = Arc::new(destination);
        let options = SyncOptions {
            batch_size: self.setup.options.batch_size.or(Some(BATCH_SIZE)),
            ..self.setup.options.clone()
        };
        let manager = SyncManager::new(spool, destination, options)
            .map_err(|error| TraceError::new(TraceErrorKind::InvalidInput, error.to_string()))?;
        let manager = self.set_up(manager, kind);
        open.insert(kind, Courier { manager: manager.clone(), memory });
        Ok(Some(manager))
    }

    fn set_up(&self, mut courier: SyncManager, kind: Kind) -> SyncManager {
        if let Some(prioritizer) = &self.setup.prioritizer {
            courier = courier.with_prioritizer(prioritizer.clone());
        }
        let project = self.project.to_string();
        courier.describe_entries(move |record, entry| {
            let facts =
                [("project", &*project), ("kind", kind.name()), ("type", &*record.facts.kind)];
            entry.metadata.extend(facts.map(|(key, value)| (key.to_owned(), value.into())));
        });
        if let Some(outage) = self.setup.outage.clone() {
            courier.offline_while(move || outage());
        }
        if let Some(monitor) = &self.setup.monitor {
            courier.watch(monitor);
        }
        if let Some(on_event) = self.setup.on_event.clone() {
            let project = self.project.clone();
            courier.on_event(move |event| on_event(&project, kind, event));
        }
        if let Some(on_courier) = &self.setup.on_courier {
            on_courier(&self.project, kind, &courier);
        }
        courier
    }

    /// Delivers what waits of the kinds before one, as far as nothing is in the way. What was
    /// put off is not waited for.
    pub(super) async fn deliver_before(self: &Arc<Self>, kind: Kind) -> Result<(), LinkError> {
        for earlier in Kind::ALL.into_iter().take_while(|earlier| *earlier != kind) {
            let opened = self.courier(earlier).await;
            let opened = opened.map_err(|error| LinkError::busy(error.to_string()))?;
            let Some(courier) = opened else { continue };
            if books(&courier).await.pending == 0 {
                continue;
            }
            if let Some(blocked) = courier.sync_now().await.blocked_by
                && !self.is_passed_by(earlier, &blocked)
            {
                return Err(of_earlier(earlier, &blocked));
            }
        }
        Ok(())
    }

    /// Whether what is in the way of a kind keeps only its own records: they were put off, or
    /// the server fails over one of them again and again.
    fn is_passed_by(&self, kind: Kind, blocked: &Blocked) -> bool {
        let is_stuck = || {
            let open = self.open();
            let memory = open.get(&kind).map(|courier| Arc::clone(&courier.memory));
            drop(open);
            memory.is_some_and(|memory| {
                memory.lock().unwrap_or_else(PoisonError::into_inner).is_stuck()
            })
        };
        match blocked.kind {
            BlockedKind::PutOff => true,
            BlockedKind::Busy => is_stuck(),
            _ => false,
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<Kind, Courier>> {
        // No call leaves it half changed.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The books of a courier's spool; empty where they cannot be read.
pub(super) async fn books(courier: &SyncManager) -> Books {
    let spool = courier.spool().clone();
    let books = tokio::task::spawn_blocking(move || spool.books()).await;
    books.ok().and_then(Result::ok).unwrap_or_default()
}

/// Whether what is in the way of one kind is in the way of all: it is about the server, and not
/// about what was sent to it.
pub(super) fn is_of_all(blocked: &Blocked) -> bool {
    matches!(blocked.kind, BlockedKind::Offline | BlockedKind::Refused | BlockedKind::Outage)
}

/// What is in the way of an earlier kind is in the way of this one.
fn of_earlier(earlier: Kind, blocked: &Blocked) -> LinkError {
    let kind = match blocked.kind {
        BlockedKind::Offline => LinkErrorKind::Unreachable,
        BlockedKind::Refused => LinkErrorKind::Refused,
        BlockedKind::Cap => LinkErrorKind::OverBudget,
        _ => LinkErrorKind::Busy,
    };
    let reason = match is_of_all(blocked) {
        true => blocked.reason.clone(),
        false => format!("{earlier} go first: {}", blocked.reason),
    };
    LinkError::new(kind, reason).relayed()
}
