//! The models' part of a gateway, opened with the first call of one.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use backhaul_agent::RunRecord;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::intake::answer_by;
use super::plan::Plan;
use crate::config::{Config, ConfigError, ModelPlace};
use crate::intake::Refusal;
use crate::model_report::ModelReport;
use crate::models::{self, Endpoints, Models, Recorder, Store};

/// Where run records are taken.
const RUNS: &str = "/v1/runs";
/// The folder of answers that are kept for an outage.
const CACHE: &str = "llm-cache";
/// How often the record of a call is offered where there is no room for it at the moment.
const MOST_TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

/// The gateway of models, once it is needed.
#[derive(Clone)]
pub(super) struct ModelsPart(Arc<Inner>);

struct Inner {
    plan: Plan,
    config: Config,
    open: OnceCell<(Models, Router)>,
    storing: TaskTracker,
    closing: CancellationToken,
    runs: Router,
}

impl ModelsPart {
    /// `runs` takes the records of calls.
    ///
    /// # Errors
    /// Where a model's file cannot be opened, which is not to be found out in an outage.
    pub(super) async fn open(plan: Plan, config: Config, runs: Router) -> anyhow::Result<Self> {
        let in_process = |place: &ModelPlace| matches!(place, ModelPlace::File(_));
        let is_needed = config.models.fallback.iter().any(in_process);
        let (open, storing, closing) = Default::default();
        let part = Self(Arc::new(Inner { plan, config, open, storing, closing, runs }));
        if is_needed {
            part.opened().await?;
        }
        Ok(part)
    }

    pub(super) fn router(&self) -> Router {
        let routes = |router: Router<Self>, path| router.route(path, any(answer));
        models::paths().fold(Router::new(), routes).with_state(self.clone())
    }

    /// How the models stand; empty where none was asked yet.
    pub(super) fn report(&self) -> Vec<ModelReport> {
        let status = self.0.open.get().map(|(models, _)| models.status());
        status.into_iter().flatten().map(ModelReport::from).collect()
    }

    /// Ends the answers that would have no end, so that the server can.
    pub(super) fn close(&self) {
        self.0.closing.cancel();
    }

    /// Waits for the records of calls to be stored.
    pub(super) async fn stop(&self) {
        self.0.storing.close();
        self.0.storing.wait().await;
    }

    async fn opened(&self) -> anyhow::Result<&(Models, Router)> {
        let Inner { plan, config, open, .. } = &*self.0;
        open.get_or_try_init(|| async {
            let config = config.clone();
            let (models, offline) = (config.models.clone(), config.offline.clone());
            let cache = plan.hub.data_dir.join(CACHE);
            // It reads the machine's certificates, and perhaps a model.
            let open = move || {
                let client = models.client(&offline)?;
                if let Some(cache) = models.answer_cache(&cache)? {
                    client.keep_answers(cache);
                }
                Ok::<_, ConfigError>((
                    client,
                    Endpoints {
                        primary: models.endpoint(&offline)?,
                        anthropic: models.anthropic(&offline)?,
                        fallbacks: models.fallback_endpoints(&offline)?,
                    },
                ))
            };
            let (client, endpoints) = tokio::task::spawn_blocking(open).await??;
            // Of a server on this machine the link says nothing.
            if !endpoints.primary.is_loopback() {
                let monitor = config.offline.monitor()?;
                client.watch(&monitor);
                monitor.start().await;
            }
            let outage = Arc::clone(&plan.outage);
            client.offline_while(move || outage.outage());
            let models = Models::new(models::Options {
                client,
                endpoints,
                has_key: config.models.key()?.is_some(),
                token: plan.token.clone(),
                pace: plan.limits.pace,
                recorder: Recorder::new(config.models.record, config.models.redact, self.store()),
                closing: self.0.closing.clone(),
            });
            let router = models::router(models.clone())
                .method_not_allowed_fallback(Refusal::method_not_allowed);
            Ok((models, router))
        })
        .await
    }

    /// Stores a record as the intake does what others send, and never has a call wait for it.
    fn store(&self) -> Store {
        let (runs, storing) = (self.0.runs.clone(), self.0.storing.clone());
        Box::new(move |record, place| {
            let runs = runs.clone();
            storing.spawn(async move {
                if let Err(error) = post(&runs, &record).await {
                    tracing::error!(%error, "a call of a model is not kept");
                }
                drop(place);
            });
        })
    }
}

/// Offers a record until it is taken or refused for good, or has been put off too often.
async fn post(runs: &Router, record: &RunRecord) -> anyhow::Result<()> {
    let body = Bytes::from(record.to_json());
    let mut tries = 1;
    loop {
        let request = Request::builder()
            .method(Method::POST)
            .uri(RUNS)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.clone()))?;
        let answer = answer_by(runs, request).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let is_put_off = matches!(status.as_u16(), 429 | 503);
        if !is_put_off || tries == MOST_TRIES {
            let said = axum::body::to_bytes(answer.into_body(), 4096).await.unwrap_or_default();
            anyhow::bail!("{status}: {}", String::from_utf8_lossy(&said));
        }
        tries += 1;
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}

async fn answer(State(part): State<ModelsPart>, mut request: Request) -> Response {
    // What this router has found in the path is not the other's.
    request.extensions_mut().clear();
    let answered = async {
        let (_, router) = part.opened().await?;
        answer_by(router, request).await
    };
    answered.await.unwrap_or_else(|error: anyhow::Error| {
        Refusal::unavailable(format!("no model can be asked: {error:#}")).into_response()
    })
}
