//! What the hub answers to which request.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use backhaul_store::Lane;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use super::Hub;
use super::admission::{Admission, Sender, Told};
use super::limits;
use super::origin::Origin;
use super::token::{self, Token};
use crate::data_dir::RUNS;
use crate::intake::{Coding, Intake, Pace, Refusal, Requests, whole_seconds};
use crate::metrics::{self, Page};

/// The limits that can be set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    /// From the first byte that is awaited to the end of a head.
    pub(crate) head_timeout: Duration,
    pub(crate) pace: Pace,
    /// From the end of the head to the end of the answer.
    pub(crate) request_timeout: Duration,
    /// At most so many records are stored in a second. None: as many as come.
    pub(crate) records_per_second: Option<NonZeroU32>,
}

/// What all requests share.
pub(crate) struct Service {
    pub(crate) hub: Arc<Hub>,
    token: Option<Token>,
    /// Adds what is measured beside the hub to a page of metrics.
    measure_others: Box<dyn Fn(&mut Page) + Send + Sync>,
    intake: Intake,
    began: Instant,
    admission: Option<Mutex<Admission>>,
    requests: Arc<Requests>,
    /// A test-only seam: the process kills itself between storing and answering.
    crash_before_reply: bool,
}

impl Service {
    pub(crate) fn new(
        hub: Arc<Hub>,
        token: Option<Token>,
        limits: Limits,
        requests: Arc<Requests>,
        measure_others: impl Fn(&mut Page) + Send + Sync + 'static,
        crash_before_reply: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            hub,
            token,
            measure_others: Box::new(measure_others),
            intake: Intake::new(limits::MOST_BYTES, limits.pace),
            began: Instant::now(),
            admission: limits.records_per_second.map(|rate| Mutex::new(Admission::new(rate))),
            requests,
            crash_before_reply,
        })
    }

    /// All metrics at this moment. Waits for the disk.
    pub(crate) fn metrics(&self) -> backhaul_store::Result<String> {
        let mut page = Page::default();
        metrics::spool(&mut page, RUNS, &self.hub.spool().status()?);
        (self.measure_others)(&mut page);
        let receipts = self.hub.receipts();
        page.family(&metrics::HUB_ACCEPTED).value(&[], receipts.accepted);
        page.family(&metrics::HUB_DUPLICATES).value(&[], receipts.duplicates);
        if let Some(backlog) = self.admission(|admission, now| admission.backlog(now)) {
            page.family(&metrics::ADMISSION_BACKLOG).value(&[], backlog.as_secs());
        }
        page.family(&metrics::HTTP_REQUESTS);
        for (status, count) in self.requests.by_status() {
            page.value(&[("status", &status.to_string())], count);
        }
        Ok(page.text())
    }
}

/// What a hub says of itself at `/readyz`.
#[derive(serde::Serialize)]
struct Readiness {
    ready: bool,
    /// Why it cannot store records; only for those who may send some.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

type Shared = State<Arc<Service>>;

/// Where the hub is asked.
pub(crate) const PATHS: [&str; 4] = ["/v1/runs", "/metrics", "/healthz", "/readyz"];

/// All that the hub can be asked for.
pub(crate) fn router(service: Arc<Service>) -> Router {
    let [runs, metrics, health, readiness] = PATHS;
    Router::new()
        .route(runs, post(take_runs))
        .route(metrics, get(show_metrics))
        .route(health, get(async || Json(json!({"ok": true}))))
        .route(readiness, get(show_readiness))
        .method_not_allowed_fallback(Refusal::method_not_allowed)
        .with_state(service)
}

async fn take_runs(
    State(service): Shared,
    headers: HeaderMap,
    mut body: Body,
) -> Result<Response, Refusal> {
    let mut share = service.intake.share();
    let received = async {
        let asked = understand(&service, &headers)?;
        let next = service.admit(&asked).await?;
        let body = service.intake.receive(&headers, &mut body, &mut share).await?;
        Ok::<_, Refusal>((asked, next, body))
    };
    let (asked, next, body) = match received.await {
        Ok(received) => received,
        Err(refusal) => return Ok(service.intake.refuse(refusal, headers, body)),
    };
    let told_before = asked.records();
    let shared = Arc::clone(&service);
    let receipt = service.intake.work(move || {
        let body = shared.intake.decompress(body, asked.coding, &mut share)?;
        shared.hub.take(&body, asked.origin.as_ref(), asked.key.as_deref())
    });
    let receipt = receipt.await?;
    if service.crash_before_reply && matches!(&receipt, Ok(receipt) if receipt.accepted > 0) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    }
    let receipt = receipt?;
    service.also_came(receipt.records().saturating_sub(told_before));
    let mut response = Json(receipt).into_response();
    if let Some(wait) = next {
        response.headers_mut().insert(header::RETRY_AFTER, whole_seconds(wait).into());
    }
    Ok(response)
}

impl Service {
    /// Waits for the turn of a request, and gives when the sender is to come with its next
    /// one, where that has to be told.
    ///
    /// # Errors
    /// 429 with the time to come again.
    async fn admit(&self, asked: &Asked) -> Result<Option<Duration>, Refusal> {
        let told = self.admission(|admission, now| {
            admission.ask(now, asked.sender(), asked.records(), asked.next())
        });
        match told {
            None => Ok(None),
            Some(Told::Store { after, next }) => {
                tokio::time::sleep(after).await;
                Ok(next)
            }
            Some(Told::Come { after }) => Err(Refusal::too_many(after)),
        }
    }

    /// A request held more records than its head could tell.
    fn also_came(&self, records: usize) {
        if records > 0 {
            self.admission(|admission, now| admission.add(now, records));
        }
    }

    fn admission<T>(&self, act: impl FnOnce(&mut Admission, Duration) -> T) -> Option<T> {
        let admission = self.admission.as_ref()?;
        // No call leaves it half changed.
        let mut admission = admission.lock().unwrap_or_else(PoisonError::into_inner);
        Some(act(&mut admission, self.began.elapsed()))
    }
}

/// What the head of a request says.
struct Asked {
    coding: Coding,
    origin: Option<Origin>,
    key: Option<String>,
}

impl Asked {
    fn sender(&self) -> Sender {
        let source = self.origin.as_ref().map(|origin| origin.source);
        let is_critical = source.is_some_and(|source| source.chain.lane == Lane::Critical);
        Sender { source, is_critical }
    }

    /// As far as they are told before the body: other clients send one, or say nothing.
    fn records(&self) -> usize {
        self.origin.as_ref().map_or(1, |origin| origin.sequences.len())
    }

    /// Records of the next request, as far as they are told.
    fn next(&self) -> usize {
        self.origin.as_ref().map_or(0, |origin| origin.next)
    }
}

fn understand(service: &Service, headers: &HeaderMap) -> Result<Asked, Refusal> {
    token::check(service.token.as_ref(), headers)?;
    Ok(Asked {
        coding: Coding::of_headers(headers)?,
        origin: Origin::of_headers(headers)?,
        key: request_key(headers)?,
    })
}

fn request_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let bad = |what| Err(Refusal::bad_request(format!("the header Idempotency-Key is {what}")));
    match key.to_str().map(str::trim) {
        _ if keys.next().is_some() => bad("given more than once"),
        Ok("") => bad("empty: send a key that names the request, or leave the header out"),
        Ok(key) => Ok(Some(key.to_owned())),
        Err(_) => bad("not plain text"),
    }
}

/// Ready is who can store: the spool has no trouble.
async fn show_readiness(State(service): Shared, headers: HeaderMap) -> Result<Response, Refusal> {
    let is_let_in = token::check(service.token.as_ref(), &headers).is_ok();
    let status = of_spool(service, |service| service.hub.spool().status()).await?;
    let readiness = Readiness {
        ready: status.trouble.is_none(),
        trouble: status.trouble.filter(|_| is_let_in),
    };
    let code = match readiness.ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok((code, Json(readiness)).into_response())
}

async fn show_metrics(State(service): Shared, headers: HeaderMap) -> Result<Response, Refusal> {
    token::check(service.token.as_ref(), &headers)?;
    let text = of_spool(service, |service| service.metrics()).await?;
    Ok((metrics::CONTENT_TYPE, text).into_response())
}

async fn of_spool<T: Send + 'static>(
    service: Arc<Service>,
    ask: impl FnOnce(&Service) -> backhaul_store::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    let said = tokio::task::spawn_blocking(move || ask(&service)).await;
    let unavailable = |error: &dyn std::fmt::Display| {
        Refusal::unavailable(format!("the spool does not say how it stands: {error}"))
    };
    said.map_err(|error| unavailable(&error))?.map_err(|error| unavailable(&error))
}
