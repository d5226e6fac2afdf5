//! What can be done now, for programs that do with less during an outage.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use backhaul_llm::Capabilities;
use futures_util::{StreamExt as _, stream};

use super::Models;
use super::refused::Refused;

/// How soon it is noticed that an outage was planned or a link was lost. Nothing tells of those.
const LOOK: Duration = Duration::from_secs(1);

/// At this moment.
pub(super) async fn show(State(models): State<Models>, headers: HeaderMap) -> Response {
    match models.admit(&headers) {
        Ok(()) => Json(models.0.standing.now().await.to_json()).into_response(),
        Err(refusal) => Refused::from(refusal).into_response(),
    }
}

/// At this moment, and then at each change.
pub(super) async fn events(State(models): State<Models>, headers: HeaderMap) -> Response {
    if let Err(refusal) = models.admit(&headers) {
        return Refused::from(refusal).into_response();
    }
    let closing = models.0.closing.clone().cancelled_owned();
    let listener = Listener { models, told: None };
    let events = stream::unfold(listener, |listener| async { Some(listener.next().await) });
    Sse::new(events.take_until(closing)).keep_alive(KeepAlive::default()).into_response()
}

/// One who wants to hear of changes.
struct Listener {
    models: Models,
    /// What it heard last.
    told: Option<Capabilities>,
}

impl Listener {
    async fn next(mut self) -> (Result<Event, Infallible>, Self) {
        let standing = &self.models.0.standing;
        loop {
            // What changes while it is looked at is not to be missed.
            let changed = standing.changed();
            let now = standing.now().await;
            if self.told.as_ref() != Some(&now) {
                let event = Event::default().data(now.to_json().to_string());
                self.told = Some(now);
                return (Ok(event), self);
            }
            let _ = tokio::time::timeout(LOOK, changed).await;
        }
    }
}
