//! A logger that works without a network.

use std::fmt;
use std::sync::{Arc, Mutex};

use backhaul_store::Timestamp;
use backhaul_sync::Destination;

use crate::cloud_run_logger::CloudRunLogger;
use crate::fallback::{Fallback, Number};
use crate::journal::Journal;
use crate::lock::lock;
use crate::queue::{Enqueued, OfflineQueue};
use crate::queue_error::{QueueError, QueueErrorKind};
use crate::run_builder::{RunBuilder, RunEvent};
use crate::run_handle::{RunHandle, RunSink};
use crate::run_logger::{DeliverError, RunLogger, RunLoggerError};
use crate::run_logger_destination::RunLoggerDestination;
use crate::run_record::RunRecord;
use crate::run_span::{RunEnd, RunStart};

/// Stores every run on disk before anything else, and leaves delivery to a courier.
///
/// - The **queue** gets the record of each run when it ends; a journal beside it gets
///   each event as it happens, so that a crash loses nothing of an open run: the next
///   time the queue is opened the run is in it, interrupted.
/// - The **primary** logger is never called by the agent's threads. It gets finished
///   records from the courier, through [`RunLogger::deliver`].
/// - The **fallback** logger gets every event of every run, online or not, as it happens;
///   of runs in parallel only those of the first, and the others when they have ended.
///
/// Cheap to clone; all clones are one logger. Storage trouble never fails a run: see
/// [`OfflineQueue::enqueue_or_hold`].
///
/// ```
/// use backhaul_agent::{InMemoryRunLogger, OfflineQueue, OfflineRunLogger, RunEnd, RunLogger};
///
/// let dir = std::env::temp_dir().join(format!("backhaul-logger-doc-{}", std::process::id()));
/// let logger = OfflineRunLogger::builder()
///     .primary(InMemoryRunLogger::new())
///     .fallback(InMemoryRunLogger::new())
///     .queue(OfflineQueue::new(&dir)?)
///     .build()?;
///
/// logger.start_run("run_001".into());
/// let record = logger.end_run(RunEnd::new()).unwrap();
/// assert_eq!(record.run_id, "run_001");
/// assert_eq!(logger.offline_queue().stats()?.pending, 1);
/// # drop(logger);
/// # std::fs::remove_dir_all(&dir).unwrap();
/// # Ok::<(), backhaul_agent::QueueError>(())
/// ```
#[derive(Clone)]
pub struct OfflineRunLogger {
    inner: Arc<Inner>,
}

struct Inner {
    queue: OfflineQueue,
    fallback: Option<Fallback>,
    flush_events: bool,
    current: Mutex<Option<RunHandle>>,
    last_enqueued: Mutex<Option<Enqueued>>,
}

/// How a logger is put together; made by [`OfflineRunLogger::builder`].
#[derive(Default)]
pub struct OfflineRunLoggerBuilder {
    queue: Option<OfflineQueue>,
    destination: Option<Arc<dyn Destination>>,
    fallback: Option<Arc<dyn RunLogger>>,
    flush_events: bool,
}

impl OfflineRunLoggerBuilder {
    /// The logger that finished records are delivered to, when the link allows. A
    /// [`CloudRunLogger`] gets them in batches. Without one records only queue up.
    #[must_use]
    pub fn primary<L: RunLogger + 'static>(mut self, logger: L) -> Self {
        let logger: Arc<L> = Arc::new(logger);
        let any: Arc<dyn std::any::Any + Send + Sync> = logger.clone();
        self.destination = Some(match any.downcast::<CloudRunLogger>() {
            Ok(cloud) => cloud,
            Err(_) => Arc::new(RunLoggerDestination::new(logger)),
        });
        self
    }

    /// Where finished records go, in place of a primary logger.
    #[must_use]
    pub fn destination(mut self, destination: Arc<dyn Destination>) -> Self {
        self.destination = Some(destination);
        self
    }

    /// The logger that sees every event, for reads on the device.
    #[must_use]
    pub fn fallback(mut self, logger: impl RunLogger + 'static) -> Self {
        self.fallback = Some(Arc::new(logger));
        self
    }

    /// The queue.
    #[must_use]
    pub fn queue(mut self, queue: OfflineQueue) -> Self {
        self.queue = Some(queue);
        self
    }

    /// Whether each event is flushed to stable storage, so that a power cut loses none
    /// of an open run either. Default: off; the end of the process loses none anyway.
    #[must_use]
    pub fn flush_events(mut self, flush: bool) -> Self {
        self.flush_events = flush;
        self
    }

    /// Puts the logger together, and binds its queue to the primary logger.
    ///
    /// # Errors
    /// [`QueueErrorKind::InvalidOption`] without a queue.
    pub fn build(self) -> Result<OfflineRunLogger, QueueError> {
        let queue = self.queue.ok_or_else(|| {
            QueueError::new(QueueErrorKind::InvalidOption, "an OfflineRunLogger needs a queue")
        })?;
        if let Some(destination) = self.destination {
            queue.bind(destination);
        }
        let inner = Inner {
            queue,
            fallback: self.fallback.map(Fallback::new),
            flush_events: self.flush_events,
            current: Mutex::default(),
            last_enqueued: Mutex::default(),
        };
        Ok(OfflineRunLogger { inner: Arc::new(inner) })
    }
}

impl fmt::Debug for OfflineRunLoggerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfflineRunLoggerBuilder")
            .field("queue", &self.queue)
            .field("has_destination", &self.destination.is_some())
            .field("has_fallback", &self.fallback.is_some())
            .field("flush_events", &self.flush_events)
            .finish()
    }
}

impl OfflineRunLogger {
    /// A logger to be put together: it needs a queue.
    pub fn builder() -> OfflineRunLoggerBuilder {
        OfflineRunLoggerBuilder::default()
    }

    /// The queue.
    pub fn offline_queue(&self) -> &OfflineQueue {
        &self.inner.queue
    }

    /// Begins a run of its own, beside the current run and every other handle.
    pub fn begin(&self, start: impl Into<RunStart>) -> RunHandle {
        let start = start.into();
        let inner = &self.inner;
        let now = inner.now();
        let run = RunBuilder::start(start.clone(), now);
        let journal = inner.queue.begin_journal(run.current(), now, inner.flush_events);
        let number = inner.fallback.as_ref().map(|fallback| fallback.start(start));
        let sink = Sink { logger: Arc::clone(inner), journal: Some(journal), number };
        RunHandle::resume(run, Box::new(sink))
    }

    /// What became of the record of the run that ended last.
    pub fn last_enqueued(&self) -> Option<Enqueued> {
        *lock(&self.inner.last_enqueued)
    }
}

impl Inner {
    fn now(&self) -> Timestamp {
        self.queue.spool().clock().now().wall
    }
}

impl fmt::Debug for OfflineRunLogger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfflineRunLogger")
            .field("queue", &self.inner.queue)
            .field("has_fallback", &self.inner.fallback.is_some())
            .finish_non_exhaustive()
    }
}

impl RunLogger for OfflineRunLogger {
    fn start_run(&self, start: RunStart) {
        let mut current = lock(&self.inner.current);
        if let Some(open) = current.take() {
            open.interrupt("another run was started before its end");
        }
        *current = Some(self.begin(start));
    }

    fn record(&self, event: RunEvent) {
        if let Some(run) = &*lock(&self.inner.current) {
            run.record(event);
        }
    }

    /// Ends the current run, stores its record and gives it. Storage trouble is no error
    /// here: the record is then held in memory ([`OfflineRunLogger::last_enqueued`]).
    fn end_run(&self, end: RunEnd) -> Result<RunRecord, RunLoggerError> {
        let open = lock(&self.inner.current).take();
        Ok(open.ok_or(RunLoggerError::NoRunInProgress)?.end(end))
    }

    fn get_current_record(&self) -> Option<RunRecord> {
        lock(&self.inner.current).as_ref().map(RunHandle::current_record)
    }

    /// Stores the record; the courier takes it from there.
    fn deliver(&self, record: &RunRecord) -> Result<(), DeliverError> {
        match self.inner.queue.enqueue(record) {
            Ok(_) => Ok(()),
            Err(error) if error.is_transient() => {
                Err(DeliverError::later(error.to_string()).with_source(error))
            }
            Err(error) => Err(DeliverError::rejected(error.to_string()).with_source(error)),
        }
    }
}

/// Where one run goes.
struct Sink {
    logger: Arc<Inner>,
    journal: Option<Journal>,
    number: Option<Number>,
}

impl RunSink for Sink {
    fn now(&self) -> Timestamp {
        self.logger.now()
    }

    fn event(&mut self, event: &RunEvent) {
        let now = self.now();
        if let Some(journal) = &mut self.journal {
            journal.event(event, now);
        }
        if let (Some(fallback), Some(number)) = (&self.logger.fallback, self.number) {
            fallback.event(number, event);
        }
    }

    fn ended(&mut self, record: &RunRecord) {
        let now = self.now();
        let mut journal = self.journal.take();
        if let Some(journal) = &mut journal {
            journal.end(record, now);
        }
        let enqueued = self.logger.queue.keep(record, journal);
        *lock(&self.logger.last_enqueued) = Some(enqueued);
        if let (Some(fallback), Some(number)) = (&self.logger.fallback, self.number) {
            fallback.ended(number, record);
        }
    }
}
