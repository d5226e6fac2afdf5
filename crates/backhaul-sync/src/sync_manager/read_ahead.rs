//! The next batch, read while one is on its way.

use std::time::Duration;

use backhaul_store::Batch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Only where batches are answered this soon: a more urgent record that is stored meanwhile
/// waits for one batch more.
const SOON: Duration = Duration::from_millis(100);

/// A batch that is being read, or none.
///
/// Its records are on offer to nobody but this sync. It is given back before anything
/// else is taken, unless all went as expected when it was begun.
#[derive(Default)]
pub(super) struct ReadAhead {
    reading: Option<JoinHandle<Option<Batch>>>,
    /// Whether it is worth it: the last batch was answered soon, and there was another.
    is_on: bool,
}

impl ReadAhead {
    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Reads on a thread that may wait.
    pub(super) fn begin(&mut self, take: impl FnOnce() -> Option<Batch> + Send + 'static) {
        self.reading = Some(tokio::task::spawn_blocking(take));
    }

    /// Notes when a batch was sent that is answered now.
    pub(super) fn note_answer(&mut self, sent: Instant) {
        self.is_on = sent.elapsed() < SOON;
    }

    /// What was read. `None`: nothing was begun, or nothing was there: all that waits may be
    /// of streams that had a record on its way.
    pub(super) async fn end(&mut self) -> Option<Batch> {
        let read = self.reading.take()?.await.ok().flatten();
        self.is_on &= read.is_some();
        read
    }
}
