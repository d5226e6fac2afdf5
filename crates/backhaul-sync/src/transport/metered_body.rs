//! A body that is counted and paced as it leaves.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::bandwidth::{BandwidthManager, Reservation, wire_bytes};

/// Most bytes that leave at once: a TLS record.
const PIECE: u64 = 16 << 10;

/// What one request comes to. Clones are one.
#[derive(Debug, Clone)]
pub(super) struct Traffic {
    budget: BandwidthManager,
    /// None: nothing was set aside.
    reservation: Option<Arc<Mutex<Reservation>>>,
}

impl Traffic {
    pub(super) fn new(budget: BandwidthManager, reservation: Option<Reservation>) -> Self {
        Self { budget, reservation: reservation.map(|held| Arc::new(Mutex::new(held))) }
    }

    pub(super) fn budget(&self) -> &BandwidthManager {
        &self.budget
    }

    /// Counts what went or came just now. The rate makes what is sent next wait for it.
    pub(super) fn count(&self, wire_bytes: u64) {
        self.budget.note_unpaced(wire_bytes);
        self.count_paced(wire_bytes);
    }

    /// Counts what the rate has let through.
    fn count_paced(&self, wire_bytes: u64) {
        match &self.reservation {
            Some(held) => held.lock().unwrap_or_else(PoisonError::into_inner).sent(wire_bytes),
            None => self.budget.record_sent(wire_bytes),
        }
    }

    /// How long the rate would make so many bytes wait.
    pub(super) fn wait_for(&self, wire_bytes: u64) -> Duration {
        self.budget.wait_for(wire_bytes)
    }
}

/// Bytes that leave in pieces, each when the rate allows it and counted before it goes.
pub(super) struct MeteredBody {
    rest: Bytes,
    traffic: Traffic,
    /// The wait of the next piece. The lock only makes it `Sync`: nobody else has it.
    wait: Mutex<Option<Wait>>,
}

type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

impl MeteredBody {
    pub(super) fn new(bytes: Bytes, traffic: Traffic) -> Self {
        Self { rest: bytes, traffic, wait: Mutex::new(None) }
    }

    fn next_piece(&self) -> usize {
        let most = self.traffic.budget.burst_bytes().min(PIECE);
        self.rest.len().min(usize::try_from(most).unwrap_or(usize::MAX))
    }
}

impl fmt::Debug for MeteredBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeteredBody").field("rest", &self.rest.len()).finish_non_exhaustive()
    }
}

impl Body for MeteredBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let len = self.next_piece();
        if len == 0 {
            return Poll::Ready(None);
        }
        let on_the_wire = wire_bytes(len as u64);
        let body = &mut *self;
        let wait = body.wait.get_mut().unwrap_or_else(PoisonError::into_inner);
        let budget = &body.traffic.budget;
        let pacing = wait.get_or_insert_with(|| {
            let budget = budget.clone();
            Box::pin(async move { budget.pace(on_the_wire).await })
        });
        ready!(pacing.as_mut().poll(context));
        *wait = None;
        body.traffic.count_paced(on_the_wire);
        Poll::Ready(Some(Ok(Frame::data(body.rest.split_to(len)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
