//! Run records on disk, until they are delivered.

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_store::{
    Books, Clock, Disk, Flush, HighWater, Layout, Options, OsDisk, Position, QueueEntry, Record,
    RecordId, Settled, Spool, Standing, State, SystemClock, Timestamp, WhenFull,
};
use backhaul_sync::{Destination, OptionError, SyncManager, SyncOptions, SyncPrioritizer};
use serde_json::{Map, Value, json};

use crate::held::{HeldRecord, HeldRecords};
use crate::journal::Journal;
use crate::journal_alarm::JournalAlarm;
use crate::lock::lock;
use crate::queue_error::{QueueError, QueueErrorKind};
use crate::recovery;
use crate::run_builder::INTERRUPTED;
use crate::run_entry;
use crate::run_record::RunRecord;
use crate::run_summary::summarize_run;
use crate::shorten::shortened;

/// The label under which the store knows the run.
pub(crate) const RUN_ID: &str = "run_id";
/// Says in the metadata of a record that the rest of it was too large.
pub(crate) const ABRIDGED: &str = "abridged";
/// Why a record was dropped.
const BY_OPERATOR: &str = "removed by an operator";
const MEGABYTE: u64 = 1_000_000;

/// Buffers run records on disk: `pending/`, `synced/` and `failed/` below its path.
///
/// Each record is a file of upstream's JSON. One with `metadata.critical` set to true
/// goes before the others, which a [`SyncPrioritizer`] may order further; those with one `metadata.stream` are delivered one after the
/// other, in order. Cheap to clone; all clones are one queue.
///
/// ```
/// use backhaul_agent::{OfflineQueue, RunRecord};
/// use backhaul_store::Timestamp;
///
/// let dir = std::env::temp_dir().join(format!("backhaul-queue-doc-{}", std::process::id()));
/// let queue = OfflineQueue::new(&dir)?;
/// queue.enqueue(&RunRecord::new("run_001", Timestamp::from_micros(0)))?;
/// // The record is on stable storage now: it survives a power cut.
/// assert_eq!(queue.stats()?.pending, 1);
/// assert_eq!(queue.peek()?.unwrap().facts.labels["run_id"], "run_001");
/// # drop(queue);
/// # std::fs::remove_dir_all(&dir).unwrap();
/// # Ok::<(), backhaul_agent::QueueError>(())
/// ```
#[derive(Clone)]
pub struct OfflineQueue {
    inner: Arc<QueueInner>,
}

type Listener = Box<dyn Fn() + Send + Sync>;

struct QueueInner {
    spool: Spool,
    sync_batch_size: usize,
    expires_after: Option<Duration>,
    prioritizer: Option<SyncPrioritizer>,
    held: Mutex<HeldRecords>,
    journal_alarm: JournalAlarm,
    abridged: Mutex<u64>,
    interrupted: Mutex<u64>,
    destination: Mutex<Option<Arc<dyn Destination>>>,
    listeners: Mutex<Vec<Listener>>,
}

/// What became of a record that had to be kept somehow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Enqueued {
    /// It is on stable storage.
    Stored(RecordId),
    /// It is larger than the queue ever takes. A summary of it is on stable storage:
    /// the record without contexts and events, with `metadata.abridged`.
    Abridged(RecordId),
    /// The disk does not take it now. It is in memory, and goes to disk as soon as it can.
    Held,
    /// Neither disk nor memory had room. It is lost, and counted.
    Dropped,
}

/// A queue at one moment.
#[derive(Debug, Clone)]
pub struct QueueStats {
    /// Records that wait on disk.
    pub pending: u64,
    /// Records delivered so far, duplicates included. Their files stay for a while.
    pub synced: u64,
    /// Records that the destination refused, kept in `failed/`.
    pub failed: u64,
    /// What became of every record that was ever accepted.
    pub books: Books,
    /// Bytes on disk of everything in the queue's folder.
    pub bytes: u64,
    /// The cap on them.
    pub max_bytes: u64,
    /// The limit that the queue has come close to, if there is one: at four fifths of the
    /// cap, or near the floor of free space. [`Spool::on_high_water`] tells when it is so.
    pub high_water: Option<HighWater>,
    /// The age of the oldest waiting record.
    pub oldest_age: Option<Duration>,
    /// Files in `quarantine/`: what was found and is no record.
    pub quarantined: usize,
    /// Records that wait in memory for the disk.
    pub held_in_memory: usize,
    /// Their bytes.
    pub held_bytes: usize,
    /// Records that found no room in memory either, and are lost.
    pub dropped_from_memory: u64,
    /// Records of which only a summary was stored, because they are too large.
    pub abridged: u64,
    /// Runs that a crash cut short, found when the queue was opened.
    pub interrupted: u64,
    /// Runs whose journal lacks something that the disk, or the cap, did not take: they go
    /// on in memory, and the end of the process would lose it.
    pub unjournaled: usize,
    /// Why records, or the events of open runs, cannot be stored at the moment, where they
    /// cannot.
    pub trouble: Option<String>,
}

/// How a queue is opened; made by [`OfflineQueue::builder`].
#[derive(Debug, Clone)]
pub struct OfflineQueueBuilder {
    storage_path: PathBuf,
    max_queue_size_mb: u64,
    sync_batch_size: usize,
    expires_after: Option<Duration>,
    prioritizer: Option<SyncPrioritizer>,
    hold_in_memory_bytes: usize,
    options: Options,
    disk: Arc<dyn Disk>,
    clock: Option<Arc<dyn Clock>>,
}

impl OfflineQueueBuilder {
    /// The cap on everything below the storage path, in units of 10^6 bytes. Default: 100.
    #[must_use]
    pub fn max_queue_size_mb(mut self, megabytes: u64) -> Self {
        self.max_queue_size_mb = megabytes;
        self
    }

    /// Records in one batch, where the courier is not told otherwise. Default: 50.
    #[must_use]
    pub fn sync_batch_size(mut self, records: usize) -> Self {
        self.sync_batch_size = records;
        self
    }

    /// The age past which a record is not worth sending any more, in power-on time, whatever
    /// the clock says: it expires, is counted and never sent. Each record that is stored gets a
    /// second small file for it. Default: none.
    #[must_use]
    pub fn expires_after(mut self, age: Duration) -> Self {
        self.expires_after = Some(age);
        self
    }

    /// The rules that choose the lane of each record that is stored, and what the couriers of
    /// this queue offer first. A record of a stream is stored where it would be without
    /// rules, so that its stream keeps its order. Default: none; critical records go first,
    /// then the oldest.
    #[must_use]
    pub fn prioritizer(mut self, prioritizer: SyncPrioritizer) -> Self {
        self.prioritizer = Some(prioritizer);
        self
    }

    /// What gives way at the cap, after what was delivered. Default: the new record is
    /// refused.
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.options.when_full = when_full;
        self
    }

    /// How long delivered records stay in `synced/`; zero: not at all. They never take
    /// more than a tenth of the cap. Default: 7 days.
    #[must_use]
    pub fn keep_synced(mut self, time: Duration) -> Self {
        self.options.keep_delivered_for = time;
        self
    }

    /// Bytes of records to keep in memory while the disk does not take them. Default:
    /// 8 MB.
    #[must_use]
    pub fn hold_in_memory_bytes(mut self, bytes: usize) -> Self {
        self.hold_in_memory_bytes = bytes;
        self
    }

    /// What an acknowledgement promises. Default: [`Flush::Always`].
    #[must_use]
    pub fn flush(mut self, flush: Flush) -> Self {
        self.options.flush = flush;
        self
    }

    /// Free bytes to leave on the file system. Default: 10 MB.
    #[must_use]
    pub fn min_free_bytes(mut self, bytes: u64) -> Self {
        self.options.min_free_bytes = bytes;
        self
    }

    /// Whether a background thread maintains the folder. Default: on.
    #[must_use]
    pub fn maintenance_thread(mut self, on: bool) -> Self {
        self.options.maintenance_thread = on;
        self
    }

    /// The disk; by default the machine's.
    #[must_use]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }

    /// The clock; by default the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Checks that the values make sense. [`open`](OfflineQueueBuilder::open) does so too.
    ///
    /// # Errors
    /// Names the option, what was found and what was expected.
    pub fn check(&self) -> Result<(), OptionError> {
        if self.max_queue_size_mb == 0 {
            return Err(OptionError::new("max_queue_size_mb", 0, "at least 1"));
        }
        if self.max_queue_size_mb > u64::MAX / MEGABYTE {
            let found = self.max_queue_size_mb.to_string();
            return Err(OptionError::new("max_queue_size_mb", found, "at most 18446744073709"));
        }
        if self.sync_batch_size == 0 {
            return Err(OptionError::new("sync_batch_size", 0, "at least 1"));
        }
        Ok(())
    }

    /// Opens the queue, making its folder (0700) where there is none, and takes over
    /// the runs that a crash cut short.
    ///
    /// # Errors
    /// [`QueueErrorKind::InvalidOption`] for sizes of zero and for a folder that holds
    /// another kind of spool, [`QueueErrorKind::Storage`] where the folder cannot be made
    /// or written (the message names the path and the user id).
    pub fn open(self) -> Result<OfflineQueue, QueueError> {
        self.check().map_err(|error| QueueError::option(&error))?;
        let max_bytes = self.max_queue_size_mb.saturating_mul(MEGABYTE);
        let options = Options { max_bytes: Some(max_bytes), ..self.options };
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let spool = Spool::open_on(&self.storage_path, options, self.disk, clock)?;
        if spool.layout() != Layout::Folder {
            let path = self.storage_path.display();
            let message = format!("{path} holds a spool of segments: expected one of run records");
            return Err(QueueError::new(QueueErrorKind::InvalidOption, message));
        }
        let queue = OfflineQueue {
            inner: Arc::new(QueueInner {
                spool,
                sync_batch_size: self.sync_batch_size,
                expires_after: self.expires_after,
                prioritizer: self.prioritizer,
                held: Mutex::new(HeldRecords::new(self.hold_in_memory_bytes)),
                journal_alarm: JournalAlarm::default(),
                abridged: Mutex::default(),
                interrupted: Mutex::default(),
                destination: Mutex::default(),
                listeners: Mutex::default(),
            }),
        };
        recovery::make_folder(&queue);
        queue.recover_interrupted();
        Ok(queue)
    }
}

impl OfflineQueue {
    /// The cap of a queue that is not told otherwise: what CEMAF's document shows.
    pub const DEFAULT_MAX_QUEUE_SIZE_MB: u64 = 100;
    /// Bytes held in memory while the disk does not take them: a few hundred records of
    /// 25 KB, which a device with 4 GB does not notice.
    pub const DEFAULT_HOLD_IN_MEMORY_BYTES: usize = 8_000_000;

    /// Opens the queue in `storage_path` with the defaults.
    ///
    /// # Errors
    /// As for [`OfflineQueueBuilder::open`].
    pub fn new(storage_path: impl AsRef<Path>) -> Result<Self, QueueError> {
        Self::builder(storage_path).open()
    }

    /// A queue in `storage_path`, to be set up.
    pub fn builder(storage_path: impl AsRef<Path>) -> OfflineQueueBuilder {
        OfflineQueueBuilder {
            storage_path: storage_path.as_ref().to_owned(),
            max_queue_size_mb: Self::DEFAULT_MAX_QUEUE_SIZE_MB,
            sync_batch_size: SyncOptions::DEFAULT_BATCH_SIZE,
            expires_after: None,
            prioritizer: None,
            hold_in_memory_bytes: Self::DEFAULT_HOLD_IN_MEMORY_BYTES,
            options: Options { layout: Layout::Folder, ..Options::default() },
            disk: Arc::new(OsDisk),
            clock: None,
        }
    }

    // --- Storing -------------------------------------------------------------

    /// Stores a record and returns when it is on stable storage. Records that are held
    /// in memory go first.
    ///
    /// # Errors
    /// Nothing is stored then. [`QueueErrorKind::TooLarge`] for a record that is never
    /// taken, [`QueueErrorKind::Full`] and [`QueueErrorKind::Storage`] where it may be
    /// taken later.
    pub fn enqueue(&self, record: &RunRecord) -> Result<RecordId, QueueError> {
        let id = self.append(self.stored_form(record))?;
        self.tell_listeners();
        Ok(id)
    }

    /// Keeps a record, whatever the disk says: on disk, else in memory until the disk
    /// takes it. Never fails; what it had to do is in the answer and in
    /// [`stats`](OfflineQueue::stats).
    pub fn enqueue_or_hold(&self, record: &RunRecord) -> Enqueued {
        self.keep(record, None)
    }

    /// Begins the journal of a run.
    pub(crate) fn begin_journal(
        &self,
        run: &RunRecord,
        now: Timestamp,
        flush_events: bool,
    ) -> Journal {
        let QueueInner { spool, journal_alarm, .. } = &*self.inner;
        Journal::begin(spool, journal_alarm, run, now, flush_events)
    }

    /// Keeps a record whose events stand in a journal, which is removed when the record
    /// is on stable storage, and not before.
    pub(crate) fn keep(&self, record: &RunRecord, journal: Option<Journal>) -> Enqueued {
        let outcome = match self.store(record) {
            Ok(stored) => {
                if let Some(journal) = journal {
                    journal.remove();
                }
                stored
            }
            Err(_) => {
                lock(&self.inner.held).hold(HeldRecord::new(self.stored_form(record), journal))
            }
        };
        if matches!(outcome, Enqueued::Stored(_) | Enqueued::Abridged(_)) {
            self.tell_listeners();
        }
        outcome
    }

    /// Stores a record, or a summary of one that is never taken.
    pub(crate) fn store(&self, record: &RunRecord) -> Result<Enqueued, QueueError> {
        let stored = self.append(self.stored_form(record)).map(Enqueued::Stored);
        stored.or_else(|error| match error.kind() {
            QueueErrorKind::TooLarge | QueueErrorKind::InvalidOption => {
                self.abridge(record, &error)
            }
            _ => Err(error),
        })
    }

    /// Stores the records that are held in memory, in order, as far as the disk takes
    /// them. A courier of this queue does so at each sync.
    ///
    /// # Errors
    /// Why the disk does not take the next one.
    pub fn retry_held(&self) -> Result<(), QueueError> {
        let mut held = lock(&self.inner.held);
        let before = held.len();
        let result = self.store_held(&mut held);
        let stored = held.len() < before;
        drop(held);
        if stored {
            self.tell_listeners();
        }
        result
    }

    fn store_held(&self, held: &mut HeldRecords) -> Result<(), QueueError> {
        while let Some(next) = held.first() {
            let appended = self.inner.spool.append(next).map_err(QueueError::from);
            held.note_trouble(appended.as_ref().err());
            match appended {
                Ok(_) => held.first_is_stored(),
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => held.drop_first(&error),
            }
        }
        Ok(())
    }

    /// Stores a record behind those that are held.
    fn append(&self, record: Record) -> Result<RecordId, QueueError> {
        self.store_held(&mut lock(&self.inner.held))?;
        // Without the lock: records of several threads share one flush.
        let appended = self.inner.spool.append(record).map_err(QueueError::from);
        lock(&self.inner.held).note_trouble(appended.as_ref().err());
        appended
    }

    /// A record as the store takes it.
    fn stored_form(&self, record: &RunRecord) -> Record {
        let body = record.to_json();
        let QueueInner { spool, prioritizer, expires_after, .. } = &*self.inner;
        let stream = record.metadata.get("stream").and_then(Value::as_str);
        // Lanes overtake each other: scores must not tear a stream apart.
        let lane = match prioritizer {
            Some(prioritizer) if stream.is_none() => {
                let now = spool.clock().now().wall;
                prioritizer.lane(&run_entry::entry(record, body.len(), now))
            }
            _ => record.lane(),
        };
        let mut stored = Record::new("run", body).lane(lane).label(RUN_ID, record.run_id.as_str());
        if let Some(age) = expires_after {
            stored = stored.expires_after(*age);
        }
        match stream {
            Some(stream) => stored.stream(stream),
            None => stored,
        }
    }

    /// Stores what is left of a record that is too large.
    fn abridge(&self, record: &RunRecord, error: &QueueError) -> Result<Enqueued, QueueError> {
        let summary = abridged(record, error);
        tracing::error!(run_id = record.run_id, %error, "only a summary of the run is stored");
        let id = self.append(self.stored_form(&summary))?;
        *lock(&self.inner.abridged) += 1;
        Ok(Enqueued::Abridged(id))
    }

    /// Has `listener` called after each record that was stored.
    pub fn on_stored(&self, listener: impl Fn() + Send + Sync + 'static) {
        lock(&self.inner.listeners).push(Box::new(listener));
    }

    fn tell_listeners(&self) {
        lock(&self.inner.listeners).iter().for_each(|listener| listener());
    }

    // --- Looking -------------------------------------------------------------

    /// The records with a standing (`None`: any) that are on disk, critical ones first,
    /// then oldest first. [`each`](OfflineQueue::each) needs less memory.
    pub fn list(&self, standing: Option<Standing>) -> Result<Vec<QueueEntry>, QueueError> {
        let mut entries = Vec::new();
        self.each(standing, &mut |entry| {
            entries.push(entry);
            ControlFlow::Continue(())
        })?;
        Ok(entries)
    }

    /// Calls `visit` for each record with a standing, as [`list`](OfflineQueue::list)
    /// orders them, until it breaks.
    pub fn each(
        &self,
        standing: Option<Standing>,
        visit: &mut dyn FnMut(QueueEntry) -> ControlFlow<()>,
    ) -> Result<(), QueueError> {
        Ok(self.inner.spool.each(standing, visit)?)
    }

    /// The waiting record that is first in order.
    pub fn peek(&self) -> Result<Option<QueueEntry>, QueueError> {
        let mut first = None;
        self.each(Some(Standing::Pending), &mut |entry| {
            first = Some(entry);
            ControlFlow::Break(())
        })?;
        Ok(first)
    }

    /// One record and where it stands.
    ///
    /// # Errors
    /// [`QueueErrorKind::NotFound`] where it is not on disk (any more),
    /// [`QueueErrorKind::NotARecord`] where its file is JSON and no run record.
    pub fn get(&self, position: Position) -> Result<(QueueEntry, RunRecord), QueueError> {
        let (entry, stored) = self.inner.spool.get(position)?;
        let record = RunRecord::from_json_at(&stored.body, stored.stamp.wall).map_err(|error| {
            let message = format!("the record {position} is not a run record: {error}");
            QueueError::new(QueueErrorKind::NotARecord, message)
        })?;
        Ok((entry, record))
    }

    /// How the queue stands. Costs a look at its folders.
    pub fn stats(&self) -> Result<QueueStats, QueueError> {
        let status = self.inner.spool.status()?;
        let held = lock(&self.inner.held);
        Ok(QueueStats {
            pending: status.books.pending,
            synced: status.books.delivered,
            failed: status.books.rejected,
            books: status.books,
            bytes: status.bytes,
            max_bytes: status.max_bytes.unwrap_or(u64::MAX),
            high_water: status.high_water,
            oldest_age: status.oldest_age,
            quarantined: status.quarantined,
            held_in_memory: held.len(),
            held_bytes: held.bytes(),
            dropped_from_memory: held.dropped(),
            abridged: *lock(&self.inner.abridged),
            interrupted: *lock(&self.inner.interrupted),
            unjournaled: self.inner.journal_alarm.runs(),
            trouble: held
                .trouble()
                .or(status.trouble)
                .or_else(|| self.inner.journal_alarm.trouble()),
        })
    }

    /// Records that the disk has not taken yet.
    pub fn held_in_memory(&self) -> usize {
        lock(&self.inner.held).len()
    }

    // --- Operating -----------------------------------------------------------

    /// Puts a failed record back among the waiting, with all its retries. `Ok(false)`:
    /// it is not a failed one.
    ///
    /// # Errors
    /// [`QueueErrorKind::Busy`] while another process delivers from this queue.
    pub fn requeue(&self, position: Position) -> Result<bool, QueueError> {
        let requeued = self.inner.spool.requeue(position)?;
        if requeued {
            self.tell_listeners();
        }
        Ok(requeued)
    }

    /// Puts all failed records back among the waiting, and says how many there were.
    ///
    /// # Errors
    /// [`QueueErrorKind::Busy`] while another process delivers from this queue.
    pub fn requeue_all(&self) -> Result<u64, QueueError> {
        let requeued = self.inner.spool.requeue_all()?;
        if requeued > 0 {
            self.tell_listeners();
        }
        Ok(requeued)
    }

    /// Removes a record that waits or failed: it is counted as dropped and never sent.
    /// `Ok(false)`: it does neither.
    ///
    /// # Errors
    /// [`QueueErrorKind::Busy`] while another process delivers from this queue,
    /// [`QueueErrorKind::NotFound`] where it is not on disk.
    pub fn drop_record(&self, position: Position) -> Result<bool, QueueError> {
        let (entry, _) = self.inner.spool.get(position)?;
        if entry.standing == Standing::Settled {
            return Ok(false);
        }
        let dropped = Settled::new(State::Dropped).reason(BY_OPERATOR);
        self.inner.spool.settle(&[(position, dropped)])?;
        tracing::info!(%position, "a record was removed by an operator");
        Ok(true)
    }

    /// Removes all records with a standing, and says how many. Delivered records stay
    /// for as long as [`keep_synced`](OfflineQueueBuilder::keep_synced) says.
    ///
    /// # Errors
    /// [`QueueErrorKind::Busy`] while another process delivers from this queue.
    pub fn purge(&self, standing: Standing) -> Result<u64, QueueError> {
        let dropped = self.inner.spool.drop_all(standing, BY_OPERATOR)?;
        if dropped > 0 {
            tracing::info!(dropped, "records were removed by an operator");
        }
        Ok(dropped)
    }

    /// Takes over the runs whose processes ended before they did, as interrupted
    /// records. Opening the queue does this; a courier that outlives agents may again.
    pub fn recover_interrupted(&self) {
        let interrupted = recovery::recover(self);
        *lock(&self.inner.interrupted) += interrupted;
    }

    // --- Delivering ----------------------------------------------------------

    /// The spool below.
    pub fn spool(&self) -> &Spool {
        &self.inner.spool
    }

    /// Records in one batch.
    pub fn sync_batch_size(&self) -> usize {
        self.inner.sync_batch_size
    }

    /// Says where the records go. [`OfflineRunLogger`](crate::OfflineRunLogger) binds its
    /// queue to its primary logger.
    pub fn bind(&self, destination: Arc<dyn Destination>) {
        *lock(&self.inner.destination) = Some(destination);
    }

    /// Where the records go, once that is known.
    pub fn destination(&self) -> Option<Arc<dyn Destination>> {
        lock(&self.inner.destination).clone()
    }

    /// A courier from this queue to its destination. It is told of new records, and
    /// stores held ones at each sync. It follows the queue's prioritizer, until it is given one
    /// of its own ([`SyncManager::with_prioritizer`]). Of the batch sizes, that of `options` wins over
    /// that of the queue.
    ///
    /// # Errors
    /// [`QueueErrorKind::NoDestination`] where none is bound,
    /// [`QueueErrorKind::InvalidOption`].
    pub fn sync_manager(&self, options: SyncOptions) -> Result<SyncManager, QueueError> {
        let destination = self.destination().ok_or_else(|| {
            let message = "the queue has no destination: bind one, or give an OfflineRunLogger \
                           a primary logger";
            QueueError::new(QueueErrorKind::NoDestination, message)
        })?;
        let batch_size = options.batch_size.or(Some(self.inner.sync_batch_size));
        let options = SyncOptions { batch_size, ..options };
        let manager = SyncManager::new(self.spool().clone(), destination, options)
            .map_err(|error| QueueError::option(&error))?;
        manager.describe_entries(run_entry::describe_run);
        manager.summarize_with(summarize_run);
        let manager = match &self.inner.prioritizer {
            Some(prioritizer) => manager.with_prioritizer(prioritizer.clone()),
            None => manager,
        };
        let queue = Arc::downgrade(&self.inner);
        manager.before_each_sync(move || {
            if let Some(inner) = queue.upgrade() {
                // What is in the way is in the queue's trouble already.
                let _ = OfflineQueue { inner }.retry_held();
            }
        });
        self.on_stored(manager.notifier());
        Ok(manager)
    }
}

impl fmt::Debug for OfflineQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfflineQueue")
            .field("storage_path", &self.inner.spool.dir())
            .field("sync_batch_size", &self.inner.sync_batch_size)
            .finish_non_exhaustive()
    }
}

/// What is kept of a record that is too large: what a person needs to find it again.
fn abridged(record: &RunRecord, error: &QueueError) -> RunRecord {
    /// Far more than any id or message that a person reads.
    const LONGEST: usize = 2000;
    let mut summary = RunRecord::new(shortened(&record.run_id, LONGEST), record.started_at);
    summary.dag_name = shortened(&record.dag_name, LONGEST);
    summary.completed_at = record.completed_at;
    summary.success = record.success;
    summary.error = record.error.as_deref().map(|error| shortened(error, LONGEST));
    summary.total_cost_usd = record.total_cost_usd;
    let mut metadata = Map::new();
    for key in ["critical", "stream", INTERRUPTED, "idempotency_key"] {
        if let Some(value) = record.metadata.get(key) {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    let left_out = json!({
        "reason": error.to_string(),
        "tool_calls": record.total_tool_calls(),
        "llm_calls": record.total_llm_calls(),
        "patches": record.total_patches(),
    });
    metadata.insert(ABRIDGED.to_owned(), left_out);
    summary.metadata = metadata;
    summary
}
