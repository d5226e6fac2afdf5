//! What happens in a courier, for those who want to know.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use backhaul_store::RecordId;
use futures_core::Stream;
use tokio::sync::mpsc;

use crate::report::SyncReport;

/// Events that wait for a subscriber, at most: a slow one costs no memory, and misses some.
const MOST_WAITING: usize = 256;

/// Something that happened in a courier.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncEvent {
    /// A sync began.
    Started,
    /// A batch was answered, and what became of its records is written down.
    Settled {
        /// Records that the destination has now; duplicates included.
        synced: u64,
        /// Records that were put off.
        put_off: u64,
        /// Records that it will never take.
        failed: u64,
        /// Bytes of those that were synced, as they are stored.
        bytes: u64,
    },
    /// The destination will never take a record. It is kept, with the reason.
    Failed {
        /// The record.
        id: RecordId,
        /// Why, for people.
        reason: String,
    },
    /// A record is larger than the data cap ever allows: it waits, and is tried again
    /// every hour.
    Oversized {
        /// The record.
        id: RecordId,
        /// Bytes of its body.
        bytes: u64,
        /// Whether the destination has a summary of it.
        is_summarized: bool,
    },
    /// Address or credentials are wrong: nothing goes before somebody acts.
    Paused {
        /// Why, for people.
        reason: String,
    },
    /// Records get through again after an outage or a pause.
    Recovered,
    /// A sync ended.
    Ended(SyncReport),
    /// This subscriber was too slow: so many events before this one are lost to it.
    Missed(u64),
}

/// The events of a courier from now on: a [`Stream`], or one by one.
///
/// ```
/// # use std::sync::Arc;
/// # use backhaul_store::{Batch, Options, Record, Spool};
/// # use backhaul_sync::{Deliver, Destination, SyncEvent, SyncManager, SyncOptions, Verdict};
/// # struct Sink;
/// # impl Destination for Sink {
/// #     fn deliver<'a>(&'a self, batch: &'a Batch) -> Deliver<'a> {
/// #         Box::pin(async move { Ok(vec![Verdict::Delivered; batch.records.len()]) })
/// #     }
/// # }
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// # runtime.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// spool.append(Record::new("run", b"{}".to_vec()))?;
/// let manager = SyncManager::new(spool, Arc::new(Sink), SyncOptions::default())?;
/// let mut events = manager.events();
/// manager.sync_now().await;
/// assert_eq!(events.next().await, Some(SyncEvent::Started));
/// assert!(matches!(events.next().await, Some(SyncEvent::Settled { synced: 1, .. })));
/// assert!(matches!(events.next().await, Some(SyncEvent::Ended(report)) if report.is_complete()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SyncEvents(mpsc::Receiver<SyncEvent>);

impl SyncEvents {
    /// The next event; `None` when the courier is gone.
    pub async fn next(&mut self) -> Option<SyncEvent> {
        self.0.recv().await
    }
}

impl Stream for SyncEvents {
    type Item = SyncEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<SyncEvent>> {
        self.0.poll_recv(context)
    }
}

/// A callback that was registered. Dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct EventHandle(tokio::task::AbortHandle);

impl EventHandle {
    /// Has the callback not be called any more. A call under way goes on.
    pub fn remove(&self) {
        self.0.abort();
    }
}

/// Calls `callback` with each event, one after the other, on threads that may wait.
pub(crate) fn call_with_each(
    mut events: SyncEvents,
    callback: impl Fn(&SyncEvent) + Send + Sync + 'static,
) -> EventHandle {
    let callback = Arc::new(callback);
    let task = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let callback = Arc::clone(&callback);
            let called = tokio::task::spawn_blocking(move || {
                if catch_unwind(AssertUnwindSafe(|| callback(&event))).is_err() {
                    tracing::error!("a callback of the courier panicked");
                }
            });
            if called.await.is_err() {
                return;
            }
        }
    });
    EventHandle(task.abort_handle())
}

/// Those who want to know.
#[derive(Default)]
pub(crate) struct Subscribers(Mutex<Vec<Subscriber>>);

struct Subscriber {
    sender: mpsc::Sender<SyncEvent>,
    missed: u64,
}

impl Subscriber {
    /// `false`: it is gone.
    fn tell(&mut self, event: &SyncEvent) -> bool {
        if self.missed > 0 && self.sender.try_send(SyncEvent::Missed(self.missed)).is_ok() {
            self.missed = 0;
        }
        let told = match self.missed {
            0 => self.sender.try_send(event.clone()),
            _ => Err(mpsc::error::TrySendError::Full(SyncEvent::Started)),
        };
        self.missed += u64::from(told.is_err());
        !self.sender.is_closed()
    }
}

impl Subscribers {
    pub(crate) fn subscribe(&self) -> SyncEvents {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        self.lock().push(Subscriber { sender, missed: 0 });
        SyncEvents(receiver)
    }

    pub(crate) fn tell(&self, event: &SyncEvent) {
        self.lock().retain_mut(|subscriber| subscriber.tell(event));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Subscriber>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Subscribers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscribers").field(&self.lock().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_subscriber_is_told_how_much_it_has_missed() {
        let subscribers = Subscribers::default();
        let mut events = subscribers.subscribe();
        for _ in 0..MOST_WAITING + 7 {
            subscribers.tell(&SyncEvent::Started);
        }
        for _ in 0..MOST_WAITING {
            assert_eq!(events.next().await, Some(SyncEvent::Started));
        }
        subscribers.tell(&SyncEvent::Recovered);
        assert_eq!(events.next().await, Some(SyncEvent::Missed(7)));
        assert_eq!(events.next().await, Some(SyncEvent::Recovered));
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let subscribers = Subscribers::default();
        drop(subscribers.subscribe());
        subscribers.tell(&SyncEvent::Started);
        assert!(subscribers.lock().is_empty());
    }
}
