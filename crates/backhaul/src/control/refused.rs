//! What a process says that it will not do, or cannot.

use std::fmt;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use backhaul_store::ErrorKind;
use serde_json::json;

/// An answer other than 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) reason: String,
}

impl Refused {
    pub(crate) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }

    /// 400: the request can never be carried out as it is.
    pub(crate) fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    /// 503: the same request may succeed later.
    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
    }
}

impl From<backhaul_store::Error> for Refused {
    fn from(error: backhaul_store::Error) -> Self {
        match error.kind() {
            ErrorKind::Busy => Self::new(StatusCode::CONFLICT, error.to_string()),
            _ => Self::unavailable(error.to_string()),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refused {}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = json!({"error": self.reason, "reason": self.reason});
        (self.status, Json(body)).into_response()
    }
}
