//! How many calls one model answers at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{LlmError, LlmErrorKind};

/// Places for calls, and a queue of those that wait for one.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
}

/// A place. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    pub(crate) fn new(calls: usize, most_waiting: usize) -> Self {
        let free = Arc::new(Semaphore::new(calls.min(Semaphore::MAX_PERMITS)));
        Self { free, waiting: AtomicUsize::new(0), most_waiting }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// [`LlmErrorKind::Busy`] where too many wait already.
    pub(crate) async fn take(&self) -> Result<Slot, LlmError> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Ok(Slot { _permit: permit });
        }
        let waiting = Waiting::join(self)?;
        let permit = Arc::clone(&self.free).acquire_owned().await;
        drop(waiting);
        let permit = permit.map_err(|_| LlmError::new(LlmErrorKind::Busy, "it is closed"))?;
        Ok(Slot { _permit: permit })
    }
}

/// One who waits, until this is dropped.
struct Waiting<'a>(&'a Slots);

impl<'a> Waiting<'a> {
    fn join(slots: &'a Slots) -> Result<Self, LlmError> {
        let before = slots.waiting.fetch_add(1, Ordering::SeqCst);
        let waiting = Self(slots);
        if before < slots.most_waiting {
            return Ok(waiting);
        }
        let message = format!("{before} calls wait for this model already: try again later");
        Err(LlmError::new(LlmErrorKind::Busy, message))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_calls_go_at_a_time_and_no_more_wait_than_said() {
        let slots = Arc::new(Slots::new(1, 1));
        let first = slots.take().await.unwrap();
        let other = Arc::clone(&slots);
        let second = tokio::spawn(async move { other.take().await });
        tokio::task::yield_now().await;
        assert_eq!(slots.take().await.unwrap_err().kind(), LlmErrorKind::Busy);
        drop(first);
        drop(second.await.unwrap().unwrap());
        slots.take().await.unwrap();
    }

    #[tokio::test]
    async fn one_who_goes_away_waits_no_more() {
        let slots = Arc::new(Slots::new(1, 1));
        let first = slots.take().await.unwrap();
        let other = Arc::clone(&slots);
        let second = tokio::spawn(async move { other.take().await });
        tokio::task::yield_now().await;
        second.abort();
        second.await.unwrap_err();
        let other = Arc::clone(&slots);
        let third = tokio::spawn(async move { other.take().await });
        tokio::task::yield_now().await;
        drop(first);
        third.await.unwrap().unwrap();
    }
}
