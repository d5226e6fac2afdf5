//! Requests to one listener: how long they may take, and what became of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};

use super::Refusal;

/// Counts requests by their status, and ends those that take too long.
#[derive(Debug)]
pub(crate) struct Requests {
    timeout: Duration,
    by_status: Mutex<BTreeMap<u16, u64>>,
}

impl Requests {
    /// From the end of a head to the end of the answer.
    pub(crate) fn new(timeout: Duration) -> Arc<Self> {
        Arc::new(Self { timeout, by_status: Mutex::default() })
    }

    /// Counts and bounds all that a router answers.
    pub(crate) fn bound(self: &Arc<Self>, router: Router) -> Router {
        router.layer(from_fn_with_state(Arc::clone(self), count_and_bound))
    }

    pub(crate) fn by_status(&self) -> BTreeMap<u16, u64> {
        self.by_status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, status: u16) {
        let mut by_status = self.by_status.lock().unwrap_or_else(PoisonError::into_inner);
        *by_status.entry(status).or_default() += 1;
    }
}

async fn count_and_bound(
    State(requests): State<Arc<Requests>>,
    request: Request,
    next: Next,
) -> Response {
    let response = tokio::time::timeout(requests.timeout, next.run(request)).await;
    let response = response.unwrap_or_else(|_| {
        let seconds = requests.timeout.as_secs();
        let reason = format!("the request took longer than {seconds} seconds");
        Refusal::new(StatusCode::REQUEST_TIMEOUT, reason).into_response()
    });
    requests.count(response.status().as_u16());
    response
}
