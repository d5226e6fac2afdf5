//! Leader commit: the first caller that waits writes and flushes for everybody
//! who came meanwhile. While one leader flushes, the next one already compresses.
//!
//! There is no committer thread: a lone producer pays for one flush and no
//! wake-up. Tickets that nobody waits for, and tickets polled by an async
//! runtime, are committed by the maintenance thread.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::id::{Chain, Position, RecordId};
use crate::layout::Prepared;
use crate::spool::{Inner, Spool};

/// Bytes of records that may wait for a commit; a caller that passes it commits first.
const MAX_WAITING_BYTES: usize = 8 << 20;
/// Records in one commit: bounds the time a waiting record spends behind others.
const MAX_WAITING_RECORDS: usize = 4096;
/// A leader that expects company waits for it at most this long.
const MAX_GATHER: Duration = Duration::from_micros(500);

/// Records that are committed together.
#[derive(Debug, Default)]
struct Batch {
    result: OnceLock<Result<Vec<Position>>>,
    /// Tasks to wake; also held while the result is set, and before sleeping for it.
    wakers: Mutex<Vec<Waker>>,
    done: Condvar,
}

impl Batch {
    fn is_done(&self) -> bool {
        self.result.get().is_some()
    }
}

#[derive(Debug, Default)]
struct Open {
    batch: Arc<Batch>,
    items: Vec<Prepared>,
    bytes: usize,
    flush: bool,
    /// Somebody waits who cannot commit: a task, or nobody at all.
    needs_committer: bool,
}

#[derive(Debug, Default)]
struct Queue {
    open: Open,
    /// A leader is gathering or compressing.
    building: bool,
    /// The size of the last batch, to guess whether company is coming.
    last_len: usize,
}

/// Puts records into batches, and batches on disk, one at a time.
#[derive(Debug, Default)]
pub(crate) struct Committer {
    queue: Mutex<Queue>,
    /// Told when a record came, for a leader that gathers.
    arrived: Condvar,
    /// The next sequences as the leader that builds expects them.
    planned: Mutex<BTreeMap<Chain, u64>>,
    /// Held while a batch is written.
    writing: Mutex<()>,
    /// How long a flush took lately, in microseconds.
    flush_us: std::sync::atomic::AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A record that was handed over, and is not acknowledged yet.
///
/// [`wait`](Ticket::wait) for it on a thread, or `.await` it in any runtime. A
/// ticket that is dropped leaves its record to be committed all the same.
#[must_use = "the record is acknowledged only when the ticket says so"]
#[derive(Debug)]
pub struct Ticket {
    batch: Arc<Batch>,
    index: usize,
    spool: Spool,
}

impl Ticket {
    /// Waits until the record has the durability it was appended with, and gives its name.
    ///
    /// # Errors
    /// The record is not stored: [`ErrorKind::Full`] or [`ErrorKind::Io`]. Appending
    /// it again is safe.
    pub fn wait(self) -> Result<RecordId> {
        let inner = &self.spool.inner;
        inner.check_process()?;
        inner.committer.wait(inner, &self.batch);
        self.outcome().unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Io, "the commit ended without an outcome"))
        })
    }

    fn outcome(&self) -> Option<Result<RecordId>> {
        Some(match self.batch.result.get()? {
            Ok(positions) => match positions.get(self.index) {
                Some(position) => Ok(self.spool.inner.context.identity.record_id(*position)),
                None => Err(Error::new(ErrorKind::Io, "the commit lost a record")),
            },
            Err(error) => Err(error.clone()),
        })
    }
}

impl Future for Ticket {
    type Output = Result<RecordId>;

    fn poll(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Self::Output> {
        if let Err(error) = self.spool.inner.check_process() {
            return Poll::Ready(Err(error));
        }
        if let Some(result) = self.outcome() {
            return Poll::Ready(result);
        }
        lock(&self.batch.wakers).push(task.waker().clone());
        let inner = &self.spool.inner;
        if inner.has_maintainer() {
            inner.committer.ask_for_committer();
            crate::maintenance::wake();
        } else {
            inner.committer.wait(inner, &self.batch);
        }
        // The commit may have ended before the waker was there.
        self.outcome().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.batch.is_done() {
            self.spool.inner.committer.ask_for_committer();
            crate::maintenance::wake();
        }
    }
}

impl Committer {
    /// Adds a record to the next commit.
    pub(crate) fn add(&self, spool: &Spool, item: Prepared, bytes: usize, flush: bool) -> Ticket {
        loop {
            let mut queue = lock(&self.queue);
            let open = &queue.open;
            let full =
                open.bytes + bytes > MAX_WAITING_BYTES || open.items.len() >= MAX_WAITING_RECORDS;
            if full && !open.items.is_empty() {
                let batch = Arc::clone(&open.batch);
                drop(queue);
                self.wait(&spool.inner, &batch);
                continue;
            }
            let open = &mut queue.open;
            open.items.push(item);
            open.bytes += bytes;
            open.flush |= flush;
            let index = open.items.len() - 1;
            let batch = Arc::clone(&open.batch);
            if queue.building {
                self.arrived.notify_one();
            }
            return Ticket { batch, index, spool: spool.clone() };
        }
    }

    fn ask_for_committer(&self) {
        lock(&self.queue).open.needs_committer = true;
    }

    /// Commits what waits for somebody to do it.
    pub(crate) fn commit_if_asked(&self, spool: &Arc<Inner>) {
        let batch = {
            let queue = lock(&self.queue);
            let open = &queue.open;
            (open.needs_committer && !open.items.is_empty()).then(|| Arc::clone(&open.batch))
        };
        if let Some(batch) = batch {
            self.wait(spool, &batch);
        }
    }

    /// Commits all that is there.
    pub(crate) fn commit_all(&self, spool: &Arc<Inner>) {
        lock(&self.queue).open.needs_committer = true;
        self.commit_if_asked(spool);
        drop(self.pause());
    }

    /// Whether records wait for a commit, or are in one.
    pub(crate) fn has_waiting(&self) -> bool {
        let queue = lock(&self.queue);
        queue.building || !queue.open.items.is_empty()
    }

    /// Keeps commits from being written until the guard is dropped.
    pub(crate) fn pause(&self) -> MutexGuard<'_, ()> {
        lock(&self.writing)
    }

    /// Returns when the batch has an outcome; leads its commit where nobody else does.
    fn wait(&self, spool: &Arc<Inner>, batch: &Arc<Batch>) {
        loop {
            if batch.is_done() {
                return;
            }
            let wakers = lock(&batch.wakers);
            if batch.is_done() {
                return;
            }
            // Looked at under the batch's lock, so that a leader that hands over in
            // this moment notifies after the wait has begun.
            let mut queue = lock(&self.queue);
            if Arc::ptr_eq(&queue.open.batch, batch) && !queue.building {
                queue.building = true;
                drop(queue);
                drop(wakers);
                self.lead(spool);
                continue;
            }
            drop(queue);
            let _ = batch.done.wait_timeout(wakers, Duration::from_millis(100));
        }
    }

    /// Takes the open batch, makes bytes of it, writes it, says so to its waiters.
    fn lead(&self, spool: &Arc<Inner>) {
        let mut leading = Leading { committer: self, batch: None, building: true };
        let open = self.gather();
        leading.batch = Some(Arc::clone(&open.batch));
        let mut built = {
            let mut planned = lock(&self.planned);
            spool.store.build(spool.writer, &open.items, &mut planned)
        };
        let writing = lock(&self.writing);
        leading.hand_over_building();
        let began = Instant::now();
        let result = spool.commit(&open.items, &mut built, open.flush, || {
            // An earlier commit failed: its sequences are free again.
            let mut planned = lock(&self.planned);
            planned.clear();
            spool.store.build(spool.writer, &open.items, &mut planned)
        });
        if result.is_err() {
            lock(&self.planned).clear();
        }
        self.note_flush(began.elapsed());
        drop(writing);
        leading.finish(result.map(|()| built.positions));
    }

    /// Waits for company where the last batch had some, then closes the batch.
    fn gather(&self) -> Open {
        let mut queue = lock(&self.queue);
        let flush_us = self.flush_us.load(std::sync::atomic::Ordering::Relaxed);
        let limit = Duration::from_micros(flush_us).min(MAX_GATHER);
        let expected = queue.last_len;
        let began = Instant::now();
        while queue.open.items.len() < expected && expected > 1 {
            let Some(left) = limit.checked_sub(began.elapsed()).filter(|left| !left.is_zero())
            else {
                break;
            };
            let waited = self.arrived.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.last_len = queue.open.items.len();
        std::mem::take(&mut queue.open)
    }

    fn note_flush(&self, took: Duration) {
        use std::sync::atomic::Ordering::Relaxed;
        let now = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let before = self.flush_us.load(Relaxed);
        self.flush_us.store((before * 7 + now) / 8, Relaxed);
    }
}

/// A leader's duties. A leader that panics fails its batch and hands over.
struct Leading<'a> {
    committer: &'a Committer,
    batch: Option<Arc<Batch>>,
    building: bool,
}

impl Leading<'_> {
    /// Lets the next leader gather and compress.
    fn hand_over_building(&mut self) {
        if std::mem::take(&mut self.building) {
            let mut queue = lock(&self.committer.queue);
            queue.building = false;
            let next = Arc::clone(&queue.open.batch);
            drop(queue);
            let _wakers = lock(&next.wakers);
            next.done.notify_one();
        }
    }

    fn finish(&mut self, result: Result<Vec<Position>>) {
        if let Some(batch) = self.batch.take() {
            let mut wakers = lock(&batch.wakers);
            let _ = batch.result.set(result);
            let tasks = std::mem::take(&mut *wakers);
            drop(wakers);
            batch.done.notify_all();
            tasks.into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.hand_over_building();
        self.finish(Err(Error::new(
            ErrorKind::Io,
            "the thread that was committing failed; the record is not stored",
        )));
    }
}
