//! The intake of run records, which is one process's at a time.
//!
//! The hub of a data dir knows what it has seen, and so has one owner. A gateway that finds
//! another process there passes the run records that come on to it, and takes its place once
//! it is gone.

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::Beside;
use super::plan::Plan;
use super::runs::{Others, Runs};
use super::waiting::Waiting;
use crate::config::Config;
use crate::control::Owner;
use crate::data_dir::RUNS;
use crate::exit;
use crate::hub;
use crate::intake::{Refusal, Requests};

/// The intake of a data dir, by this process or by the one that has it.
#[derive(Clone)]
pub(super) struct RunsIntake(Arc<Inner>);

struct Inner {
    plan: Plan,
    config: Config,
    requests: Arc<Requests>,
    others: Others,
    own: OnceCell<Runs>,
}

impl RunsIntake {
    /// # Errors
    /// Where the hub cannot be opened; with [`Beside::Others`] not where it is another
    /// process's.
    pub(super) async fn open(
        plan: Plan,
        config: Config,
        requests: Arc<Requests>,
        others: Others,
        beside: Beside,
    ) -> anyhow::Result<Self> {
        let own = OnceCell::new();
        let intake = Self(Arc::new(Inner { plan, config, requests, others, own }));
        match intake.own().await {
            Err(error) if beside == Beside::Others && exit::is::<hub::InUse>(&error) => {}
            opened => drop(opened?),
        }
        Ok(intake)
    }

    pub(super) fn router(&self) -> Router {
        let routes = |router: Router<Self>, path: &&str| router.route(path, any(answer));
        hub::PATHS.iter().fold(Router::new(), routes).with_state(self.clone())
    }

    pub(super) fn reload(&self, config: &Config) -> anyhow::Result<()> {
        self.0.own.get().map_or(Ok(()), |runs| runs.reload(config))
    }

    pub(super) async fn drain(&self, until: Instant) -> Waiting {
        match self.0.own.get() {
            Some(runs) => runs.drain(until).await,
            // It is with another process, which delivers.
            None => Waiting::default(),
        }
    }

    pub(super) async fn stop(&self) {
        if let Some(runs) = self.0.own.get() {
            runs.stop().await;
        }
    }

    async fn own(&self) -> anyhow::Result<&Runs> {
        let Inner { plan, config, requests, others, own } = &*self.0;
        let open = || {
            let (requests, others) = (Arc::clone(requests), others.clone());
            Runs::open(plan.clone(), config, requests, others)
        };
        own.get_or_try_init(open).await
    }

    /// Has the process answer that the hub belongs to.
    async fn pass_on(&self, request: Request) -> anyhow::Result<Response> {
        let spool = self.0.plan.hub.data_dir.join(RUNS);
        match Owner::of_spool(&spool).await? {
            Some(owner) => owner.answer(request).await,
            None => answer_by(self.own().await?.router(), request).await,
        }
    }
}

async fn answer(State(intake): State<RunsIntake>, request: Request) -> Response {
    let answered = match intake.0.own.get() {
        Some(runs) => answer_by(runs.router(), request).await,
        None => intake.pass_on(request).await,
    };
    answered.unwrap_or_else(|error| {
        let reason = format!("the backhaul that takes run records here is gone: {error:#}");
        Refusal::unavailable(reason).into_response()
    })
}

pub(super) async fn answer_by(router: &Router, request: Request) -> anyhow::Result<Response> {
    TowerToHyperService::new(router.clone()).call(request).await.context("no answer")
}
