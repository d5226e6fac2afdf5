//! Why a request was not taken, as the sender is told.

use std::time::Duration;

use axum::Json;
use axum::http::header::{self, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use backhaul_store::ErrorKind;
use serde_json::json;

/// What a sender is told to wait when there is no room: somebody has to make some.
const RETRY_AFTER_FULL: Duration = Duration::from_secs(30);

/// What a sender is told to wait after an I/O error, or when too much is in flight.
const RETRY_AFTER_TROUBLE: Duration = Duration::from_secs(5);

/// An answer other than 200. Nothing of the request is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) reason: String,
    /// The place in the array of the record that is to blame.
    pub(crate) index: Option<usize>,
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), index: None, retry_after: None }
    }

    /// 400: the request can never be understood as it is.
    pub(crate) fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    /// 400: one record of it is no JSON.
    pub(crate) fn bad_json(index: usize, reason: impl Into<String>) -> Self {
        Self::bad_request(reason).at(index)
    }

    /// 422: it is JSON, but one of its records is no run record.
    pub(crate) fn bad_record(index: usize, reason: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, reason).at(index)
    }

    /// 413: send it in smaller parts.
    pub(crate) fn too_large(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
    }

    /// 503: the same request may succeed later.
    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self {
            retry_after: Some(RETRY_AFTER_TROUBLE),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
        }
    }

    /// 429: others are before it, and this is when its turn comes.
    pub(crate) fn too_many(wait: Duration) -> Self {
        let reason = format!("more comes than is stored: come again in {} s", whole_seconds(wait));
        Self { retry_after: Some(wait), ..Self::new(StatusCode::TOO_MANY_REQUESTS, reason) }
    }

    pub(crate) fn not_found(uri: &Uri) -> Self {
        let path = uri.path();
        Self::new(
            StatusCode::NOT_FOUND,
            format!("there is nothing at {path}: run records go to POST /v1/runs"),
        )
    }

    pub(crate) async fn method_not_allowed(method: Method, uri: Uri) -> Self {
        let reason = format!("{method} is not for {}", uri.path());
        Self::new(StatusCode::METHOD_NOT_ALLOWED, reason)
    }

    pub(crate) fn at(self, index: usize) -> Self {
        Self { index: Some(index), ..self }
    }

    /// What a store that did not take a record means for its sender.
    pub(crate) fn from_store(error: &backhaul_store::Error, index: usize) -> Self {
        match error.kind() {
            ErrorKind::TooLarge => Self::too_large(error.to_string()).at(index),
            ErrorKind::InvalidInput => Self::bad_record(index, error.to_string()),
            ErrorKind::Full => Self {
                retry_after: Some(RETRY_AFTER_FULL),
                ..Self::unavailable(format!("there is no room to store the records: {error}"))
            },
            _ => Self::unavailable(format!("the records cannot be stored now: {error}")),
        }
    }
}

/// As a header tells a wait: never less, and at least a second.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let message = match self.index {
            Some(index) => format!("record {index}: {}", self.reason),
            None => self.reason.clone(),
        };
        let mut body = json!({"error": message, "reason": self.reason});
        if let (Some(index), Some(object)) = (self.index, body.as_object_mut()) {
            object.insert("index".to_owned(), index.into());
        }
        let mut response = (self.status, Json(body)).into_response();
        if let Some(wait) = self.retry_after {
            let seconds = HeaderValue::from(whole_seconds(wait));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
