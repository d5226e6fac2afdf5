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
pub(crate) mod outage;
pub(crate) mod pace;
mod shared;

use std::sync::Arc;

use backhaul_store::Spool;
use tokio::time::Instant;

use crate::destination::Destination;
use crate::options::{OptionError, SyncOptions};
use crate::report::{Blocked, BlockedKind, SyncReport, SyncStatus};
use shared::Shared;

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

    /// Starts syncing in the background, at once and then as often as needed. A courier
    /// that runs goes on.
    pub async fn start(&self) {
        let shared = &self.handle.shared;
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
    /// What was appended stays, and [`start`](SyncManager::start) begins anew.
    pub async fn stop(&self) {
        self.handle.shared.stop().await;
    }

    /// Syncs now, whatever the interval and the backoff of the link say. Joins the sync
    /// that runs, if one does. A record that was put off keeps its time.
    ///
    /// Offline is no error: the report says what is in the way. The sync goes on when
    /// this future is dropped.
    pub async fn sync_now(&self) -> SyncReport {
        {
            let mut state = self.handle.shared.lock();
            (state.only_critical, state.asked) = (None, None);
        }
        let mut running = self.handle.shared.join_or_begin();
        match running.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(report)) => report.clone(),
            Ok(None) | Err(_) => self.handle.shared.report_of_a_broken_sync(),
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

    /// How things stand. Costs no disk call where this process delivers from the spool.
    pub fn status(&self) -> SyncStatus {
        self.handle.shared.status()
    }

    /// The spool.
    pub fn spool(&self) -> &Spool {
        &self.handle.shared.spool
    }

    /// The settings.
    pub fn options(&self) -> &SyncOptions {
        &self.handle.shared.options
    }
}

impl Shared {
    fn report_of_a_broken_sync(&self) -> SyncReport {
        SyncReport {
            remaining: self.books().pending,
            blocked_by: Some(Blocked::new(
                BlockedKind::Stopped,
                "the sync was stopped before its end",
            )),
            ..SyncReport::default()
        }
    }
}
