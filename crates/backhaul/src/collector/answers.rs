//! How the collector answers.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use backhaul_store::ErrorKind;
use backhaul_weave::{TraceError, TraceErrorKind};
use serde::Serialize;
use serde_json::Value;

use crate::intake::Refusal;

/// `{}`: it is done, and there is nothing to say of it.
pub(super) fn done() -> Result<Response, Refusal> {
    json(&serde_json::Map::new())
}

/// 200 with a value.
pub(super) fn json(value: &impl Serialize) -> Result<Response, Refusal> {
    let text = serde_json::to_string(value)
        .map_err(|error| Refusal::unavailable(format!("the answer cannot be written: {error}")))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// The same with a value that was read, as [`backhaul_json`] holds what others wrote.
pub(super) fn held(value: &Value) -> Response {
    let text = backhaul_json::to_vec(value, backhaul_json::Style::Compact);
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// 422: it will never be understood as it is. Clients halve a batch that is answered so until
/// they have the one to blame.
pub(super) fn bad(reason: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, reason)
}

/// What an error of the folder means for who wanted to write.
pub(super) fn refusal(error: &TraceError) -> Refusal {
    let source = std::error::Error::source(error);
    let reason = match source {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    match (error.kind(), error.store_kind()) {
        (TraceErrorKind::InvalidInput, _) => bad(reason),
        (TraceErrorKind::NotFound, _) => Refusal::new(StatusCode::NOT_FOUND, reason),
        (_, Some(ErrorKind::TooLarge)) => Refusal::too_large(reason),
        // Where there is no room too: an agent that publishes waits for the answer, and would
        // do so for as long as it is told to.
        _ => {
            // Who stores says so once, as an error.
            tracing::debug!(error = reason, "what a Weave client asks for is refused for now");
            Refusal::unavailable(reason)
        }
    }
}
