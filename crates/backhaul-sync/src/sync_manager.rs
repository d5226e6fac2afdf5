//! The courier of one spool.
//!
//! # Rules
//! - One sync runs at a time. Whoever asks for one meanwhile joins it, and it looks
//!   once more before it ends, so that nothing appended before the asking is missed.
//! - A sync goes on until nothing can be sent or something is in the way. The interval
//!   is only how often an idle courier looks.
//! - What is about the link delays everything and spends nothing; what is about a
//!   record delays its stream alone.
//! - Disk calls run on threads that may wait; time is tokio's, and the spool's clock
//!   where it is written down.

mod allowance;
mod drain;
mod ending;
mod link;
pub(crate) mod outage;
mod oversized;
pub(crate) mod pace;
mod priority;
mod read_ahead;
mod shared;
mod standing;

use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{Spool, StoredRecord};
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::connectivity::ConnectivityMonitor;
use crate::destination::Destination;
use crate::events::{self, EventHandle, SyncEvent, SyncEvents};
use crate::options::{OptionError, SyncOptions};
use crate::planned_outage::{AskOutage, PlannedOutage};
use crate::prioritizer::{Entry, SyncPrioritizer};
use crate::report::{Blocked, BlockedKind, SyncReport, SyncStatus};
use link::Link;
use shared::Shared;

pub(crate) use standing::after;

/// How long somebody who asks for a sync is kept waiting where nothing got through lately.
const OFFLINE_PATIENCE: Duration = Duration::from_secs(1);

/// Delivers the records of one spool to one destination, in the background or on demand.
///
/// Cheap to clone; all clones are one courier, which stops when the last of them is
/// dropped. Everything async here needs a tokio runtime with time enabled.
///
/// ```
/// use std::sync::Arc;
/// use backhaul_store::{Batch, Options, Record, Spool};
/// use backhaul_sync::{Deliver, Destination, SyncManager, SyncOptions, Verdict};
///
/// struct Sink;
/// impl Destination for Sink {
///     fn deliver<'a>(&'a self, batch: &'a Batch) -> Deliver<'a> {
///         Box::pin(async move { Ok(vec![Verdict::Delivered; batch.records.len()]) })
///     }
/// }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// # runtime.block_on(async {
/// let dir = std::env::temp_dir().join(format!("backhaul-sync-doc-{}", std::process::id()));
/// let spool = Spool::open(&dir, Options::default())?;
/// spool.append(Record::new("run", b"{}".to_vec()))?;
///
/// let manager = SyncManager::new(spool, Arc::new(Sink), SyncOptions::default())?;
/// let report = manager.sync_now().await;
/// assert_eq!((report.synced, report.remaining), (1, 0));
/// assert_eq!(manager.status().is_online, Some(true));
/// # drop(manager);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SyncManager {
    handle: Arc<Handle>,
}

/// What the clones share; the background task does not.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.ask_to_stop(true);
    }
}

impl SyncManager {
    /// A courier from `spool` to `destination`. It does nothing yet.
    ///
    /// # Errors
    /// When an option makes no sense.
    pub fn new(
        spool: Spool,
        destination: Arc<dyn Destination>,
        options: SyncOptions,
    ) -> Result<Self, OptionError> {
        options.check()?;
        let shared = Arc::new(Shared::new(spool, destination, options));
        Ok(Self { handle: Arc::new(Handle { shared }) })
    }

    /// Has `prepare` called, on a thread that may wait, at the beginning of each sync: for
    /// what a queue holds back in memory while the disk does not take it.
    pub fn before_each_sync(&self, prepare: impl Fn() + Send + Sync + 'static) {
        self.handle.shared.lock().prepare = Some(Arc::new(prepare));
    }

    /// Has `outage` asked before each request, on a thread that may wait. While it gives an
    /// [`PlannedOutage`] nothing is sent, new records are left to wait, and the courier counts as
    /// offline. A request under way goes on.
    ///
    /// The courier looks again when the outage is over, where that is known, and at each
    /// interval; [`sync_now`](SyncManager::sync_now) has it look at once.
    pub fn offline_while(
        &self,
        outage: impl Fn() -> Option<PlannedOutage> + Send + Sync + 'static,
    ) {
        let outage: AskOutage = Arc::new(outage);
        let mut state = self.handle.shared.lock();
        if let Some(link) = &state.link {
            watch_outage(link.monitor(), &outage);
        }
        state.offline_while = Some(outage);
    }

    /// Has a monitor say whether there is a link. Offline, nothing is tried, and
    /// [`sync_now`](SyncManager::sync_now) returns at once; when the link is back, or may be,
    /// everything is tried at once, whatever the backoff says. A request under way is given up
    /// when the monitor goes offline, or the machine's network changes and the destination has
    /// another [`way`](Destination::way); its records wait again. A monitor without addresses
    /// to ask only says when the network has changed.
    ///
    /// What becomes of requests is told to the monitor; what its checks cost counts against
    /// the data cap of the destination; a [planned outage](SyncManager::offline_while) is one
    /// for the monitor too. The courier keeps a clone and starts it when it is
    /// [started](SyncManager::start) itself. To be called before that.
    pub fn watch(&self, monitor: &ConnectivityMonitor) {
        let shared = &self.handle.shared;
        if let Some(budget) = shared.destination.bandwidth() {
            monitor.charge(budget);
        }
        let mut state = shared.lock();
        if let Some(outage) = &state.offline_while {
            watch_outage(monitor, outage);
        }
        state.link = Some(Link::new(monitor));
    }

    /// The monitor that says whether there is a link, where there is one.
    pub fn monitor(&self) -> Option<ConnectivityMonitor> {
        self.handle.shared.lock().link.as_ref().map(|link| link.monitor().clone())
    }

    /// Has `prioritizer` say which records go first, from the next batch on. Its rules see
    /// what [`describe_entries`](SyncManager::describe_entries) says of each record.
    ///
    /// Records stay in the lanes that they were stored in: whoever stores them asks
    /// [`SyncPrioritizer::lane`].
    #[must_use]
    pub fn with_prioritizer(self, prioritizer: SyncPrioritizer) -> Self {
        self.handle.shared.lock().priority.prioritize(prioritizer);
        self
    }

    /// Says what the rules of a prioritizer see of a record: run id, metadata, success. For
    /// the one who knows what the records of the spool mean; otherwise rules see the labels
    /// of a record as its metadata.
    pub fn describe_entries(
        &self,
        describe: impl Fn(&StoredRecord, &mut Entry) + Send + Sync + 'static,
    ) {
        self.handle.shared.lock().priority.describe(Arc::new(describe));
    }

    /// Makes the summary that goes in the place of a record that no data cap holds, where
    /// [`SyncOptions::oversized`] asks for one. For the one who knows what the records of
    /// the spool mean; `None`: no summary can be made of it. `summarize` is called on a
    /// thread that may wait, and makes the same of the same record whenever it is called.
    ///
    /// The destination is offered the summary as a record of its own, with the name
    /// [`RecordId::of_summary`](backhaul_store::RecordId::of_summary): once, but for what
    /// breaks off before its arrival is written down. The record itself waits.
    pub fn summarize_with(
        &self,
        summarize: impl Fn(&StoredRecord) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) {
        self.handle.shared.lock().summarize = Some(Arc::new(summarize));
    }

    /// Starts syncing in the background, at once and then as often as needed, and the monitor
    /// that it [watches](SyncManager::watch). A courier that runs goes on.
    pub async fn start(&self) {
        let shared = &self.handle.shared;
        if let Some(monitor) = self.monitor() {
            monitor.start().await;
        }
        let mut state = shared.lock();
        if state.background.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        state.next_attempt = Some(Instant::now());
        state.background = Some(tokio::spawn(Arc::clone(shared).run_in_background()));
    }

    /// Stops syncing in the background. A batch under way is waited for, as long as
    /// [`SyncOptions::stop_timeout`] says; past that its records wait again.
    ///
    /// What was appended stays, and [`start`](SyncManager::start) begins anew; so may another
    /// process that has the spool open.
    pub async fn stop(&self) {
        Self::stop_all(std::slice::from_ref(self)).await;
    }

    /// Stops several couriers as [`stop`](SyncManager::stop) does one, and in the time of one:
    /// the longest [`SyncOptions::stop_timeout`] of theirs. Where deliveries of one wait for
    /// another, the one that waits comes first.
    pub async fn stop_all(couriers: &[SyncManager]) {
        let longest = couriers.iter().map(|courier| courier.options().stop_timeout).max();
        let by = Instant::now() + longest.unwrap_or_default();
        for courier in couriers {
            courier.handle.shared.ask_to_stop(true);
        }
        for courier in couriers {
            courier.handle.shared.be_stopped(by).await;
            let spool = courier.spool().clone();
            blocking(move || spool.rest()).await;
        }
    }

    /// Syncs now, whatever the interval and the backoff of the link say. Joins the sync
    /// that runs, if one does. A record that was put off keeps its time.
    ///
    /// Offline is no error: the report says what is in the way. Where the last attempts have
    /// failed already, it is waited for a second at most: the report says so, and the attempt
    /// goes on. It does so too when this future is dropped.
    pub async fn sync_now(&self) -> SyncReport {
        let shared = Arc::clone(&self.handle.shared);
        if let Some(Some(blocked)) = blocking(move || shared.offline()).await {
            // It may have come back since the last check.
            self.monitor().iter().for_each(ConnectivityMonitor::check_soon);
            return self.handle.shared.report_of_no_sync(blocked);
        }
        {
            let mut state = self.handle.shared.lock();
            (state.only_critical, state.asked) = (None, None);
        }
        let mut running = self.handle.shared.join_or_begin();
        let ended = self.unless_offline(running.wait_for(Option::is_some)).await;
        let Some(ended) = ended else {
            let reason = "the last attempts got no answer; another one is under way";
            let blocked = Blocked::new(BlockedKind::Offline, reason);
            return self.handle.shared.report_of_no_sync(blocked);
        };
        match ended.as_deref() {
            Ok(Some(report)) => report.clone(),
            Ok(None) | Err(_) => {
                let reason = "the sync was stopped before its end";
                let blocked = Blocked::new(BlockedKind::Stopped, reason);
                self.handle.shared.report_of_no_sync(blocked)
            }
        }
    }

    /// Waits for a sync, but not long while all that is known is that nothing gets through.
    async fn unless_offline<T>(&self, sync: impl Future<Output = T>) -> Option<T> {
        let mut sync = std::pin::pin!(sync);
        loop {
            if !self.handle.shared.lock().is_offline() {
                return Some(sync.await);
            }
            match tokio::time::timeout(OFFLINE_PATIENCE, &mut sync).await {
                Ok(ended) => return Some(ended),
                Err(_) if self.handle.shared.lock().is_offline() => return None,
                Err(_) => {}
            }
        }
    }

    /// Tells a courier that runs in the background that a record was appended. While
    /// nothing gets through this changes nothing: the record goes with the others.
    pub fn notify(&self) {
        self.handle.shared.nudged.notify_one();
    }

    /// Tells a courier that runs in the background that the link is up: it tries at once, or
    /// after its share of [`SyncOptions::fleet_spread_seconds`]. A time that the destination
    /// asked for stays.
    pub fn link_is_up(&self) {
        self.handle.shared.link_is_up();
    }

    /// A function that does what [`notify`](SyncManager::notify) does, and keeps nothing alive.
    pub fn notifier(&self) -> impl Fn() + Send + Sync + use<> {
        let shared = Arc::downgrade(&self.handle.shared);
        move || {
            if let Some(shared) = shared.upgrade() {
                shared.nudged.notify_one();
            }
        }
    }

    /// What happens from now on.
    pub fn events(&self) -> SyncEvents {
        self.handle.shared.subscribers.subscribe()
    }

    /// Has `callback` called with each event from now on, one after the other, on a thread
    /// that may wait. One that is slow misses events; one that panics is called again with
    /// the next. Neither holds up the courier.
    pub fn on_event(&self, callback: impl Fn(&SyncEvent) + Send + Sync + 'static) -> EventHandle {
        events::call_with_each(self.events(), callback)
    }

    /// How things stand. Reads one waiting record of each chain, and the usage file of a
    /// data cap: from async code call it where waiting for the disk is allowed.
    pub fn status(&self) -> SyncStatus {
        self.handle.shared.status()
    }

    /// The spool.
    pub fn spool(&self) -> &Spool {
        &self.handle.shared.spool
    }

    /// The settings.
    pub fn options(&self) -> SyncOptions {
        self.handle.shared.options()
    }

    /// Changes the settings, all at once, of a courier that runs or does not. A
    /// `batch_size` of `None` leaves that as it is.
    ///
    /// An idle courier looks after the new interval at the latest. A wait that is under
    /// way, of a record or of a link that fails, ends when it was going to.
    ///
    /// # Errors
    /// When an option makes no sense. Nothing is changed then.
    ///
    /// ```no_run
    /// # fn example(courier: backhaul_sync::SyncManager) -> Result<(), backhaul_sync::OptionError> {
    /// let mut options = courier.options();
    /// options.sync_interval_seconds = 10;
    /// courier.set_options(options)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_options(&self, options: SyncOptions) -> Result<(), OptionError> {
        options.check()?;
        self.handle.shared.set_options(options);
        Ok(())
    }
}

fn watch_outage(monitor: &ConnectivityMonitor, outage: &AskOutage) {
    let outage = Arc::clone(outage);
    monitor.offline_while(move || outage());
}

impl Shared {
    fn report_of_no_sync(&self, blocked: Blocked) -> SyncReport {
        let remaining = self.books().pending;
        SyncReport { remaining, blocked_by: Some(blocked), ..SyncReport::default() }
    }
}
