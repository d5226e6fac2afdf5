//! Weave's part of a gateway: the collector, and the forwarder that delivers what it took.
//!
//! Opened with the first request of a client, or at once where data may wait from before: a
//! device without Weave gets no folder of it. Delivery begins when a key is known, which may
//! be a client's.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use backhaul_sync::{BlockedKind, SyncOptions, shown_url};
use backhaul_weave::{
    Cleaned as Removed, CourierStatus, Kind, OfflineTraceServer, ProjectId, Remote, TraceError,
    WeaveForwarder,
};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::intake::answer_by;
use super::plan::Plan;
use super::runs::FORWARD_GRACE;
use super::waiting::Waiting;
use crate::collector::{self, WeaveCollector};
use crate::config::Config;
use crate::control::message::Cleaned;
use crate::control::{ControlSocket, Desk};
use crate::data_dir;
use crate::intake::Refusal;
use crate::metrics::Measured;

/// The entity of projects that name none.
const ENTITY: &str = "WANDB_ENTITY";

/// How often it is looked whether delivered data is to go.
const CLEANING: Duration = Duration::from_secs(3600);

/// The collector and the forwarder, once they are needed.
#[derive(Clone)]
pub(super) struct Weave(Arc<Inner>);

struct Inner {
    plan: Plan,
    config: Config,
    open: OnceCell<Open>,
    /// Whether it could not be opened the last time.
    is_in_trouble: AtomicBool,
}

struct Open {
    server: OfflineTraceServer,
    router: Router,
    forwarder: WeaveForwarder,
    is_forwarding: OnceCell<()>,
    /// The key that is known, as it was after the last request.
    key: Mutex<Option<String>>,
    /// One for each spool that is delivered from.
    controls: Arc<Mutex<Vec<ControlSocket>>>,
    cleaning: Option<JoinHandle<()>>,
}

impl Weave {
    /// # Errors
    /// Where the folder is there and cannot be used.
    pub(super) async fn open(plan: Plan, config: Config) -> anyhow::Result<Self> {
        let is_there = plan.weave_dir.is_dir();
        let (open, is_in_trouble) = (OnceCell::new(), AtomicBool::new(false));
        let weave = Self(Arc::new(Inner { plan, config, open, is_in_trouble }));
        if is_there {
            weave.opened().await?.forward_if_allowed().await;
        }
        Ok(weave)
    }

    pub(super) fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }

    /// Adds what is measured of its spools. Waits for the disk.
    pub(super) fn measure(&self, measured: &mut Measured) {
        let Some(open) = self.0.open.get() else { return };
        for courier in open.forwarder.status() {
            let name = data_dir::weave_spool(&courier.project, courier.kind);
            measured.couriers.insert(name, courier.status);
        }
        for project in open.server.projects().unwrap_or_default() {
            for kind in Kind::ALL {
                let spool = open.server.spool(&project, kind).ok().flatten();
                let status = spool.and_then(|spool| spool.status().ok());
                let name = || data_dir::weave_spool(&project, kind);
                measured.spools.extend(status.map(|status| (name(), status)));
            }
        }
    }

    pub(super) async fn drain(&self, until: Instant) -> Waiting {
        match self.0.open.get() {
            Some(open) => open.drain(until).await,
            None => Waiting::default(),
        }
    }

    pub(super) async fn stop(&self) {
        if let Some(open) = self.0.open.get() {
            open.cleaning.iter().for_each(JoinHandle::abort);
            open.forwarder.stop().await;
            let controls = std::mem::take(&mut *lock(&open.controls));
            for control in controls {
                control.stop().await;
            }
        }
    }

    async fn opened(&self) -> anyhow::Result<&Open> {
        let Inner { plan, config, open, .. } = &*self.0;
        open.get_or_try_init(|| Open::new(plan.clone(), config)).await
    }

    /// The same for a request: that it fails is said once.
    async fn opened_for_request(&self) -> anyhow::Result<&Open> {
        let opened = self.opened().await;
        match (&opened, self.0.is_in_trouble.swap(opened.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => {
                tracing::error!(error = format!("{error:#}"), "Weave's data cannot be stored");
            }
            (Ok(_), true) => tracing::info!("Weave's data is stored again"),
            _ => {}
        }
        opened
    }
}

async fn answer(State(weave): State<Weave>, request: Request) -> Response {
    let answered = async {
        let open = weave.opened_for_request().await?;
        let answer = answer_by(&open.router, request).await;
        // It may have brought the key.
        open.forward_if_allowed().await;
        answer
    };
    answered.await.unwrap_or_else(|error: anyhow::Error| {
        Refusal::unavailable(format!("Weave's data cannot be stored here: {error:#}"))
            .into_response()
    })
}

impl Open {
    async fn new(plan: Plan, config: &Config) -> anyhow::Result<Self> {
        let (dir, options) = (plan.weave_dir, config.weave.options(&config.offline));
        let opening = tokio::task::spawn_blocking(move || OfflineTraceServer::open(dir, options));
        let server = opening.await??;
        let remote = plan.weave_remote;
        let sync_options = config.weave.sync_options(&config.offline);
        let sync_options = SyncOptions { stop_timeout: FORWARD_GRACE, ..sync_options };
        let forwarder = WeaveForwarder::new(server.clone(), remote.clone(), sync_options)?;
        forwarder.watch(&config.offline.monitor()?);
        let outage = Arc::clone(&plan.outage);
        forwarder.offline_while(move || outage.outage());
        if let Some(prioritizer) = config.offline.prioritizer()? {
            forwarder.prioritize(prioritizer);
        }
        let controls: Arc<Mutex<Vec<ControlSocket>>> = Arc::default();
        let (outage, opened) = (Arc::clone(&plan.outage), Arc::clone(&controls));
        let url = shown_url(remote.trace_url().as_str());
        let cleaner = server.clone();
        forwarder.on_courier(move |project, kind, courier| {
            let spool = data_dir::weave_spool(project, kind);
            let desk = Desk::of_courier(spool, courier.clone(), &url, Arc::clone(&outage));
            let (cleaner, project) = (cleaner.clone(), project.clone());
            let clean = move |age| clean(&cleaner, &project, kind, age);
            let keeper = desk.keeper.cleaning_with(move |_, older_than| clean(older_than));
            lock(&opened).push(ControlSocket::of(Desk { keeper, ..desk }));
        });
        let outage = plan.outage;
        let collector = WeaveCollector::new(collector::Options {
            server: server.clone(),
            remote: Some(remote),
            token: plan.token,
            pace: plan.limits.pace,
            entity: std::env::var(ENTITY).ok(),
            is_outage: Box::new(move || outage.outage().is_some()),
        });
        let router =
            collector::router(collector).method_not_allowed_fallback(Refusal::method_not_allowed);
        let keep = config.weave.keep_synced;
        let cleaning = keep.map(|keep| tokio::spawn(clean_now_and_then(server.clone(), keep)));
        let is_forwarding = OnceCell::new();
        let key = Mutex::default();
        Ok(Self { server, router, forwarder, is_forwarding, key, controls, cleaning })
    }

    /// Begins to deliver where a key is known; where that is another than before, what a server
    /// has refused is tried again.
    async fn forward_if_allowed(&self) {
        let Ok(key) = key_of(self.forwarder.remote()) else { return };
        self.is_forwarding.get_or_init(|| self.forwarder.start()).await;
        let before = lock(&self.key).replace(key.clone());
        if before.is_some_and(|before| before != key) {
            tokio::spawn(try_refused_again(self.forwarder.clone()));
        }
    }

    async fn drain(&self, until: Instant) -> Waiting {
        self.forward_if_allowed().await;
        let is_forwarding = self.is_forwarding.initialized();
        if is_forwarding && Instant::now() < until {
            let _ = tokio::time::timeout_at(until, self.forwarder.drain(None)).await;
        }
        let (server, forwarder) = (self.server.clone(), self.forwarder.clone());
        let waiting = tokio::task::spawn_blocking(move || waiting(&server, &forwarder)).await;
        let waiting = waiting.unwrap_or_default();
        let reason = waiting.reason.or_else(|| why_not(self.forwarder.remote()));
        Waiting::new(waiting.records, reason)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No call leaves it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn clean_now_and_then(server: OfflineTraceServer, older_than: Duration) {
    loop {
        let server = server.clone();
        let clean = move || server.clean_synced_files(older_than);
        match tokio::task::spawn_blocking(clean).await {
            Ok(Ok(Removed { files: 0, .. })) | Err(_) => {}
            Ok(Ok(Removed { records, files, bytes })) => {
                tracing::info!(records, files, bytes, "delivered data was removed by its age");
            }
            // Another process delivers, perhaps, or the disk fails: then others say so.
            Ok(Err(error)) => tracing::debug!(%error, "delivered data stays for now"),
        }
        tokio::time::sleep(CLEANING).await;
    }
}

/// Removes what was delivered of a kind, with all that goes with it.
fn clean(
    server: &OfflineTraceServer,
    project: &ProjectId,
    kind: Kind,
    older_than: Duration,
) -> anyhow::Result<Cleaned> {
    let is_it = |other: &ProjectId, its: Kind| (other, its) == (project, kind);
    let mut cleaned = Cleaned::default();
    for of_kind in server.clean_each(older_than, is_it)? {
        of_kind.refused.map_or(Ok(()), Err)?;
        cleaned.add(&of_kind.cleaned.into());
    }
    Ok(cleaned)
}

/// Why nothing is delivered: no key is known.
fn why_not(remote: &Remote) -> Option<String> {
    key_of(remote).err().map(|error| error.to_string())
}

fn key_of(remote: &Remote) -> Result<String, TraceError> {
    remote.credentials().key(remote.wandb_url())
}

/// Delivers what waits of projects whose server said no.
async fn try_refused_again(forwarder: WeaveForwarder) {
    let asked = forwarder.clone();
    let Ok(couriers) = tokio::task::spawn_blocking(move || asked.status()).await else { return };
    let is_paused = |it: &CourierStatus| it.status.paused.is_some();
    let projects: BTreeSet<ProjectId> =
        couriers.into_iter().filter(is_paused).map(|it| it.project).collect();
    for project in projects {
        if let Err(error) = forwarder.sync_now(Some(&project)).await {
            tracing::warn!(%project, %error, "the new key could not be tried");
        }
    }
}

/// What waits and is this process's to deliver. Waits for the disk.
fn waiting(server: &OfflineTraceServer, forwarder: &WeaveForwarder) -> Waiting {
    let couriers = forwarder.status();
    let mut all = Waiting::default();
    for project in server.projects().unwrap_or_default() {
        for kind in Kind::ALL {
            let courier = couriers.iter().find(|it| it.project == project && it.kind == kind);
            let blocked = courier.and_then(|courier| courier.status.blocked_by.clone());
            if blocked.as_ref().is_some_and(|blocked| blocked.kind == BlockedKind::OtherProcess) {
                continue;
            }
            let books = server.spool(&project, kind).ok().flatten().and_then(|it| it.books().ok());
            let records = books.map_or(0, |books| books.pending);
            all = all.and(Waiting::new(records, blocked.map(|it| it.reason)));
        }
    }
    all
}
