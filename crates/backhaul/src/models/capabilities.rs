//! What can be done now, for programs that do with less during an outage.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use backhaul_llm::Capabilities;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::Models;
use super::refused::Refused;
use crate::intake::Refusal;

/// Those who listen at one moment. Each has a connection for itself, of which there are only so
/// many.
pub(super) const MOST_LISTENERS: usize = 64;

const EVENTS: &str = "text/event-stream";

/// At this moment; for who accepts events, also at each change.
pub(super) async fn show(State(models): State<Models>, headers: HeaderMap) -> Response {
    let answered = async {
        models.admit(&headers)?;
        if accepts_events(&headers) {
            models.capability_events().await
        } else {
            models.capabilities().await
        }
    };
    let mut response =
        answered.await.unwrap_or_else(|refusal| Refused::from(refusal).into_response());
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = values.flat_map(|value| value.split(',')).filter_map(|it| it.split(';').next());
    types.any(|it| it.trim().eq_ignore_ascii_case(EVENTS))
}

impl Models {
    async fn capabilities(&self) -> Result<Response, Refusal> {
        Ok(Json(self.standing().now().await.to_json()).into_response())
    }

    /// # Errors
    /// Where too many listen already.
    async fn capability_events(&self) -> Result<Response, Refusal> {
        let place = Arc::clone(&self.0.listeners).try_acquire_owned().map_err(|_| {
            let reason =
                format!("{MOST_LISTENERS} programs listen already: ask now and then instead");
            Refusal::unavailable(reason)
        })?;
        let closing = self.0.closing.clone().cancelled_owned();
        let events = events(self.standing().changes().await, place).take_until(closing);
        // Comments in between, every 15 s, find out who has gone.
        Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
    }
}

/// An event for each change. Who is slow hears of the newest alone, so that nothing piles up.
fn events(
    changes: watch::Receiver<Capabilities>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((changes, place), |(mut changes, place)| async move {
        changes.changed().await.ok()?;
        let event = Event::default().data(changes.borrow_and_update().to_json().to_string());
        Some((Ok(event), (changes, place)))
    })
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, BodyDataStream};
    use backhaul_llm::CapabilityManager;
    use serde_json::Value;
    use tokio::sync::Semaphore;

    use super::*;

    fn manager() -> CapabilityManager {
        CapabilityManager::new([("vision", true.into())], [("vision", false.into())])
    }

    fn listen(manager: &CapabilityManager, places: &Arc<Semaphore>) -> BodyDataStream {
        let mut changes = manager.subscribe();
        changes.mark_changed();
        let place = Arc::clone(places).try_acquire_owned().unwrap();
        let answer = Sse::new(events(changes, place)).keep_alive(KeepAlive::default());
        Body::into_data_stream(answer.into_response().into_body())
    }

    /// What the next event says of the network. `None`: it is a comment.
    async fn next(body: &mut BodyDataStream) -> Option<bool> {
        let bytes = body.next().await.unwrap().unwrap();
        if *bytes == *b":\n\n" {
            return None;
        }
        let data = bytes.strip_prefix(b"data: ").unwrap().strip_suffix(b"\n\n").unwrap();
        serde_json::from_slice::<Value>(data).unwrap()["online"].as_bool()
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_events_and_comments_come_in_between() {
        let (manager, places) = (manager(), Arc::new(Semaphore::new(1)));
        let mut body = listen(&manager, &places);
        assert_eq!(next(&mut body).await, Some(false));
        assert_eq!(next(&mut body).await, None);
        manager.set_online(true);
        assert_eq!(next(&mut body).await, Some(true));
        assert_eq!(next(&mut body).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_hears_of_the_newest_alone() {
        let (manager, places) = (manager(), Arc::new(Semaphore::new(1)));
        let mut body = listen(&manager, &places);
        for is_online in [true, false, true, false, true] {
            manager.set_online(is_online);
        }
        assert_eq!(next(&mut body).await, Some(true));
        assert_eq!(next(&mut body).await, None);
    }

    #[tokio::test]
    async fn who_goes_makes_room() {
        let (manager, places) = (manager(), Arc::new(Semaphore::new(1)));
        let body = listen(&manager, &places);
        assert_eq!(places.available_permits(), 0);
        drop(body);
        assert_eq!(places.available_permits(), 1);
    }

    #[test]
    fn events_are_for_who_accepts_them() {
        for (accept, expected) in [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream;q=0.9", true),
            ("application/json", false),
            ("*/*", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(accepts_events(&headers), expected, "{accept}");
        }
        assert!(!accepts_events(&HeaderMap::new()));
    }
}
