//! A hub that is open: the intake of run records, and the courier that forwards them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use backhaul_agent::CloudRunLogger;
use backhaul_sync::{BlockedKind, SyncOptions};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::plan::Plan;
use super::waiting::Waiting;
use crate::config::Config;
use crate::control::{ControlSocket, Desk, Forwarding};
use crate::courier;
use crate::data_dir::RUNS;
use crate::hub::{self, Hub};
use crate::intake::Requests;
use crate::metrics::Measured;
use crate::model_report::ModelReport;
use crate::offline::OutageSwitch;

/// How often what was received is made durable while little happens: what a crash
/// makes the next start read again.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(10);
/// How long a batch under way to another server is waited for at the end.
pub(super) const FORWARD_GRACE: Duration = Duration::from_secs(2);
/// How long the last snapshot may take.
const LAST_SNAPSHOT: Duration = Duration::from_secs(2);

/// What the other parts of a gateway tell, to be shown with the runs.
#[derive(Clone)]
pub(super) struct Others {
    /// Adds what is measured of the other spools.
    pub(super) measure: Arc<dyn Fn(&mut Measured) + Send + Sync>,
    /// How the models stand.
    pub(super) models: Arc<dyn Fn() -> Vec<ModelReport> + Send + Sync>,
}

/// The hub of a data dir, which is this process's for as long as it lives.
pub(super) struct Runs {
    hub: Arc<Hub>,
    forwarding: Option<Forwarding>,
    router: Router,
    control: Mutex<Option<ControlSocket>>,
    snapshots: JoinHandle<()>,
}

impl Runs {
    /// # Errors
    /// Where the hub cannot be opened; [`hub::InUse`] is among the causes where it is another
    /// process's.
    pub(super) async fn open(
        plan: Plan,
        config: &Config,
        requests: Arc<Requests>,
        others: Others,
    ) -> anyhow::Result<Self> {
        let hub = tokio::task::spawn_blocking(move || Hub::open(plan.hub, plan.spool)).await??;
        let hub = Arc::new(hub);
        let outage = plan.outage;
        let forwarding = match plan.forward_to {
            Some((url, other)) => Some(forward(&hub, other, url, config, &outage).await?),
            None => None,
        };
        let models = Arc::clone(&others.models);
        let service = {
            let (forwarding, outage) = (forwarding.clone(), Arc::clone(&outage));
            hub::Service::new(
                Arc::clone(&hub),
                plan.token,
                plan.limits,
                Arc::clone(&requests),
                move |measured| {
                    forwarding.iter().for_each(|it| measured.add_courier(RUNS, &it.courier));
                    measured.outage = outage.report();
                    (others.measure)(measured);
                    measured.models = (others.models)();
                },
                plan.crash_before_reply,
            )
        };
        let (measured, router) = (Arc::clone(&service), hub::router(service));
        let control = ControlSocket::of(Desk {
            keeper: hub.keeper(),
            forwarding: forwarding.clone(),
            outage,
            metrics: Box::new(move || measured.metrics()),
            models: Box::new(move || models()),
            intake: Some(requests.bound(router.clone())),
            is_shared: false,
        });
        let snapshots = tokio::spawn(snapshot_now_and_then(Arc::clone(&hub)));
        Ok(Self { hub, forwarding, router, control: Mutex::new(Some(control)), snapshots })
    }

    pub(super) fn router(&self) -> &Router {
        &self.router
    }

    pub(super) fn reload(&self, config: &Config) -> anyhow::Result<()> {
        if let Some(Forwarding { courier, .. }) = &self.forwarding {
            courier.set_options(forwarding_options(config))?;
        }
        Ok(())
    }

    /// A hub without a destination keeps its records: they wait for nothing.
    pub(super) async fn drain(&self, until: Instant) -> Waiting {
        let Some(Forwarding { courier, .. }) = &self.forwarding else { return Waiting::default() };
        if Instant::now() < until && courier.status().pending_count > 0 {
            let _ = tokio::time::timeout_at(until, courier.sync_now()).await;
        }
        let status = courier.status();
        match status.blocked_by {
            Some(blocked) if blocked.kind == BlockedKind::OtherProcess => Waiting::default(),
            blocked => Waiting::new(status.pending_count, blocked.map(|it| it.reason)),
        }
    }

    pub(super) async fn stop(&self) {
        if let Some(Forwarding { courier, .. }) = &self.forwarding {
            courier.stop().await;
        }
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(control) = control {
            control.stop().await;
        }
        self.snapshots.abort();
        let hub = Arc::clone(&self.hub);
        let last = tokio::task::spawn_blocking(move || hub.snapshot());
        if let Ok(Ok(Err(error))) = tokio::time::timeout(LAST_SNAPSHOT, last).await {
            // Nothing is lost: the next start reads more of the spool.
            tracing::warn!(%error, "the last snapshot failed");
        }
    }
}

/// Starts delivering what the hub stores to another hub.
async fn forward(
    hub: &Hub,
    destination: Arc<CloudRunLogger>,
    url: String,
    config: &Config,
    outage: &Arc<OutageSwitch>,
) -> anyhow::Result<Forwarding> {
    let options = forwarding_options(config);
    let courier = courier::of_runs(hub.spool().clone(), destination, &config.offline, options)?;
    let outage = Arc::clone(outage);
    courier.offline_while(move || outage.outage());
    courier.watch(&config.offline.monitor()?);
    hub.on_stored(courier.notifier());
    courier.start().await;
    Ok(Forwarding { courier, url })
}

/// Those of the courier that forwards.
fn forwarding_options(config: &Config) -> SyncOptions {
    SyncOptions { stop_timeout: FORWARD_GRACE, ..config.offline.sync.clone() }
}

async fn snapshot_now_and_then(hub: Arc<Hub>) {
    loop {
        tokio::time::sleep(SNAPSHOT_INTERVAL).await;
        let hub = Arc::clone(&hub);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || hub.snapshot()).await {
            tracing::warn!(%error, "a snapshot was put off");
        }
    }
}
