//! Takes in requests that carry a body, bounded in size, in memory and in time, whoever
//! sends them.

mod body;
mod budget;
mod refusal;
mod requests;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::Semaphore;

pub(crate) use self::body::{Coding, Pace};
use self::budget::Budget;
pub(crate) use self::budget::Share;
pub(crate) use self::refusal::{Refusal, whole_seconds};
pub(crate) use self::requests::Requests;

/// Requests that are decompressed, parsed and stored at one moment. The waiting for
/// one flush is shared by as many as are in here.
const MAX_AT_WORK: usize = 64;

/// The most bytes of bodies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MostBytes {
    /// Of one request, as they come over the wire.
    pub(crate) received: usize,
    /// Of one request, once decompressed.
    pub(crate) decompressed: usize,
    /// In memory, of all requests together; a request beyond is asked to come again in a
    /// moment.
    pub(crate) in_flight: usize,
}

/// What the requests to one service share.
pub(crate) struct Intake {
    most: MostBytes,
    pace: Pace,
    budget: Budget,
    at_work: Arc<Semaphore>,
}

impl Intake {
    pub(crate) fn new(most: MostBytes, pace: Pace) -> Self {
        let budget = Budget::new(most.in_flight);
        Self { most, pace, budget, at_work: Arc::new(Semaphore::new(MAX_AT_WORK)) }
    }

    /// What a request takes of the memory for all, to be held for as long as its body is.
    pub(crate) fn share(&self) -> Share {
        self.budget.share()
    }

    /// Receives a whole body.
    ///
    /// # Errors
    /// 413 above the limit, told before the body is read where its length is announced;
    /// 408 when the sender falls silent or is slower than the pace, 503 when too much is in
    /// flight, 400 when the connection breaks off.
    pub(crate) async fn receive(
        &self,
        headers: &HeaderMap,
        body: &mut Body,
        share: &mut Share,
    ) -> Result<Vec<u8>, Refusal> {
        body::receive(headers, body, self.pace, self.most.received, share).await
    }

    /// Does what blocks, as one of a bounded number. Once begun, it goes on to its end
    /// whether or not the sender waits.
    ///
    /// # Errors
    /// 503 where it panics, or the process is about to end.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let permit = Arc::clone(&self.at_work).acquire_owned().await;
        let permit = permit.map_err(|_| Refusal::unavailable("the process is stopping"))?;
        let work = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        work.await.map_err(|error| {
            tracing::error!(%error, "a request failed inside");
            Refusal::unavailable("the request failed inside")
        })
    }

    /// Gives a body as it was before it was compressed. Blocks.
    ///
    /// # Errors
    /// 413 above the limit, as soon as it is passed; 400 for what is not compressed so; 503
    /// when too much is in flight.
    pub(crate) fn decompress(
        &self,
        body: Vec<u8>,
        coding: Coding,
        share: &mut Share,
    ) -> Result<Vec<u8>, Refusal> {
        body::decompress(body, coding, self.most.decompressed, share)
    }

    /// Answers before the body was read to its end. The answer goes out at once, while the
    /// rest is read and thrown away. Who was too slow gets no more time.
    pub(crate) fn refuse(&self, refusal: Refusal, headers: HeaderMap, mut body: Body) -> Response {
        if refusal.status != StatusCode::REQUEST_TIMEOUT {
            let most = self.most.received;
            tokio::spawn(async move { body::discard(&headers, &mut body, most).await });
        }
        ([(header::CONNECTION, "close")], refusal).into_response()
    }
}
