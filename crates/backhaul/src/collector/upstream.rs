//! The real server, as far as it can be reached at this moment.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::header::{self, HeaderMap, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use backhaul_sync::LinkError;
use backhaul_weave::Remote;
use tokio::time::{Instant, timeout};

use super::asked::Asked;
use crate::intake::Refusal;

/// How long a client is kept waiting for what can be answered without the server too.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long the server is left alone after it could not be reached: `weave.init` asks four
/// questions, and is to wait for one of them at most.
const LEFT_ALONE: Duration = Duration::from_secs(10);
/// How long an answer is waited for that only the server can give: less than clients do.
const PASSING: Duration = Duration::from_secs(25);
/// The most bytes of such an answer.
const ANSWER_BYTES: usize = 64 << 20;
/// Headers of a request that say something to the server.
static PASSED_ON: [HeaderName; 5] = [
    header::ACCEPT,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::USER_AGENT,
    HeaderName::from_static("project_id"),
];

/// Asks the real server, where there is one.
pub(super) struct Upstream {
    remote: Option<Remote>,
    is_outage: Box<dyn Fn() -> bool + Send + Sync>,
    /// When it last could not be reached.
    failed: Mutex<Option<Instant>>,
}

impl Upstream {
    pub(super) fn new(
        remote: Option<Remote>,
        is_outage: Box<dyn Fn() -> bool + Send + Sync>,
    ) -> Self {
        Self { remote, is_outage, failed: Mutex::default() }
    }

    /// Notes the key that a client brings for the server.
    pub(super) fn note_client_key(&self, key: &str) {
        if let Some(remote) = &self.remote {
            remote.credentials().note_client_key(key);
        }
    }

    /// Asks for what can be answered without the server too. `None`: it has no answer, or not
    /// soon enough.
    pub(super) async fn ask<T, Asking: Future<Output = Result<T, LinkError>>>(
        &self,
        ask: impl FnOnce(Remote) -> Asking,
    ) -> Option<T> {
        let remote = self.reachable()?.clone();
        match timeout(PATIENCE, ask(remote)).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::debug!(%error, "answered without the Weave server");
                self.note(&error);
                None
            }
            Err(_) => {
                self.fail();
                None
            }
        }
    }

    /// Has the server answer a request.
    ///
    /// # Errors
    /// 503 where it cannot be reached.
    pub(super) async fn pass(&self, asked: &Asked) -> Result<Response, Refusal> {
        let path = asked.uri.path_and_query().map_or("/", |path| path.as_str());
        let shown = asked.uri.path();
        let without = |why: &str| {
            Refusal::unavailable(format!(
                "{} {shown} is answered by the Weave server alone, {why}",
                asked.method
            ))
        };
        let Some(remote) = self.reachable() else {
            return Err(without("which is not reachable at this moment"));
        };
        let names = PASSED_ON.iter().filter_map(|name| Some((name, asked.headers.get(name)?)));
        let headers = names.map(|(name, value)| (name.clone(), value.clone())).collect();
        let (method, body) = (asked.method.clone(), asked.body.clone().into());
        let sent = remote.send(method, path, headers, body, ANSWER_BYTES, None);
        match timeout(PASSING, sent).await {
            Ok(Ok(answer)) => {
                let status = StatusCode::from_u16(answer.status);
                let mut headers = HeaderMap::new();
                let content_type = answer.header(header::CONTENT_TYPE);
                if let Some(Ok(value)) = content_type.map(HeaderValue::from_str) {
                    headers.insert(header::CONTENT_TYPE, value);
                }
                Ok((status.unwrap_or(StatusCode::BAD_GATEWAY), headers, answer.body)
                    .into_response())
            }
            Ok(Err(error)) => {
                self.note(&error);
                Err(without(&format!("which does not answer: {error}")))
            }
            Err(_) => {
                self.fail();
                Err(without("which does not answer in time"))
            }
        }
    }

    /// Whether it may be asked at this moment, as far as is known.
    pub(super) fn is_reachable(&self) -> bool {
        self.reachable().is_some()
    }

    fn reachable(&self) -> Option<&Remote> {
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_left_alone = failed.is_some_and(|at| at.elapsed() < LEFT_ALONE);
        self.remote.as_ref().filter(|_| !is_left_alone && !(self.is_outage)())
    }

    fn note(&self, error: &LinkError) {
        if !error.is_answer() {
            self.fail();
        }
    }

    fn fail(&self) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}
