//! Errors of models, as clients of OpenAI read them.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use backhaul_llm::{Form, LlmError, LlmErrorKind};
use serde_json::Value;

use super::signature::Signature;
use crate::intake::{Refusal, whole_seconds};

/// Tells clients whether the same request is worth sending again. Without it they try twice
/// more, by the status alone.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Why a call was not answered by a model.
pub(super) struct Refused(LlmError);

impl From<LlmError> for Refused {
    fn from(error: LlmError) -> Self {
        Self(error)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let status = refusal.status.as_u16();
        let kind = LlmErrorKind::of_status(status);
        let error = LlmError::new(kind, refusal.reason).with_status(status);
        Self(match refusal.retry_after {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        })
    }
}

impl Refused {
    /// The answer with a status and a body in the form that its client reads.
    pub(super) fn answer(error: &LlmError, status: u16, body: Value) -> Response {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        // All that could be done was done: another try would only make it later. A server that
        // names a time is another matter, and a network in which it is the only one.
        let is_worth_it = error.kind() == LlmErrorKind::RateLimited || error.attempts().is_empty();
        let is_of_link = error.kind() == LlmErrorKind::Unreachable;
        if !is_of_link && (!is_worth_it || error.retry_after().is_none()) {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        if let Some(wait) = error.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        headers.extend(error.remarks().clone());
        Signature::of_attempts(error.attempts(), headers);
        response
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, body) = Form::ChatCompletions.error(&self.0);
        Self::answer(&self.0, status, body)
    }
}
