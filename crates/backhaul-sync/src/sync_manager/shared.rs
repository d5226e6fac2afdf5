//! What the handles and the tasks of a courier share, and its background task.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backhaul_store::{Books, Spool, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, Interval};
use tracing::{Instrument as _, Span};

use super::drain::Drain;
use super::link::{self, Link};
use super::outage::Outage;
use super::oversized::Summarize;
use super::pace::Pace;
use super::priority::Priority;
use crate::backoff::random_share;
use crate::bandwidth::{BandwidthManager, Denied};
use crate::blocking::blocking;
use crate::destination::Destination;
use crate::due::DueTimes;
use crate::events::{Subscribers, SyncEvent};
use crate::options::SyncOptions;
use crate::planned_outage::{AskOutage, PlannedOutage};
use crate::report::{Blocked, SyncReport};
use crate::way::Way;

/// How often the data cap is looked after.
const BUDGET_CARE: Duration = Duration::from_secs(60);

pub(crate) type Outcome = watch::Receiver<Option<SyncReport>>;

pub(crate) struct Shared {
    pub(crate) spool: Spool,
    pub(crate) destination: Arc<dyn Destination>,
    state: Mutex<State>,
    /// A record was appended.
    pub(crate) nudged: Notify,
    /// A sync ended, and with it the time of the next.
    pub(super) ended: Notify,
    stopping: watch::Sender<bool>,
    pub(crate) subscribers: Subscribers,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) options: SyncOptions,
    pub(crate) prepare: Option<Arc<dyn Fn() + Send + Sync>>,
    pub(crate) offline_while: Option<AskOutage>,
    /// Whether a planned outage stopped the last sync.
    pub(super) in_planned_outage: bool,
    pub(crate) priority: Priority,
    pub(super) summarize: Option<Summarize>,
    pub(crate) background: Option<JoinHandle<()>>,
    pub(crate) link: Option<Link>,
    pub(super) running: Option<(Outcome, AbortHandle)>,
    /// Somebody joined: look once more before the end.
    again: bool,
    pub(crate) due: DueTimes,
    pub(crate) pace: Pace,
    pub(crate) outage: Outage,
    /// Syncs in a row that the link or the disk stopped.
    pub(crate) failures: u32,
    pub(crate) next_attempt: Option<Instant>,
    /// Until when only critical records are offered: the destination asked for it, or the
    /// device's turn in the fleet comes later.
    pub(crate) asked: Option<Instant>,
    pub(super) paused: Option<String>,
    /// Why a sync that a new record asks for offers critical records alone, or none, until
    /// the next one that is due.
    pub(crate) only_critical: Option<Denied>,
    pub(crate) is_online: Option<bool>,
    /// The way that there was when last a request was not answered.
    pub(super) lost_way: Option<Way>,
    /// When the batch before was answered, within a sync: since then the link is idle.
    pub(super) answered_at: Option<Instant>,
    pub(crate) last_attempt_at: Option<Timestamp>,
    pub(crate) last_sync_at: Option<Timestamp>,
    pub(super) synced_bytes: u64,
    pub(super) last_error: Option<String>,
    /// What stopped the last sync.
    pub(super) blocked_by: Option<Blocked>,
    pub(super) books: Books,
}

impl State {
    /// A random number from 0 to 1; 0 where nothing is to vary.
    pub(crate) fn chance(&self) -> f64 {
        if self.options.backoff_jitter { random_share() } else { 0.0 }
    }

    /// Whether nothing gets through, as far as it is known.
    pub(crate) fn is_offline(&self) -> bool {
        self.failures > 0 && self.is_online == Some(false)
    }

    /// Whether other than critical records wait for a time that was asked for.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.is_some_and(|until| Instant::now() < until)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncManager")
            .field("spool", &self.spool.dir())
            .field("options", &self.options())
            .finish_non_exhaustive()
    }
}

/// Ends a sync that panicked or was aborted.
struct Running {
    shared: Arc<Shared>,
    ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut state = self.shared.lock();
        state.running = None;
        state.last_error = Some("a sync broke off".to_owned());
        let wait = state.options.backoff().delay(state.failures);
        state.next_attempt = Some(Instant::now() + wait);
        state.failures = state.failures.saturating_add(1);
        drop(state);
        self.shared.ended.notify_one();
    }
}

/// The most bytes of a batch: at a rate, what goes in a second, so that an urgent record does
/// not wait long behind others.
fn most_bytes(destination: &dyn Destination, options: &SyncOptions) -> usize {
    let a_second = destination.bandwidth().and_then(BandwidthManager::bytes_per_second);
    let a_second = a_second.and_then(|bytes| usize::try_from(bytes).ok());
    options.batch_bytes.min(a_second.unwrap_or(usize::MAX)).max(1)
}

impl Shared {
    pub(crate) fn new(
        spool: Spool,
        destination: Arc<dyn Destination>,
        options: SyncOptions,
    ) -> Self {
        let device = spool.device().0.into_bytes();
        let state = State {
            pace: Pace::new(options.records(), most_bytes(&*destination, &options)),
            outage: Outage::none(options.fleet_spread(), &device),
            options,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            spool,
            destination,
            nudged: Notify::new(),
            ended: Notify::new(),
            stopping: watch::Sender::new(false),
            subscribers: Subscribers::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // No call leaves the state half changed, so that a panic elsewhere does it no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn options(&self) -> SyncOptions {
        self.lock().options.clone()
    }

    pub(crate) fn set_options(&self, options: SyncOptions) {
        let mut state = self.lock();
        let batch_size = options.batch_size.or(state.options.batch_size);
        let new = SyncOptions { batch_size, ..options };
        let old = std::mem::replace(&mut state.options, new.clone());
        if new.records() != old.records() {
            state.pace.ceiling = new.records();
            state.pace.records = state.pace.records.min(new.records());
        }
        if new.batch_bytes != old.batch_bytes {
            state.pace.limit_bytes(most_bytes(&*self.destination, &new));
        }
        state.outage.spread_over(new.fleet_spread());
        if state.failures == 0 {
            let latest = Instant::now() + new.interval();
            state.next_attempt = state.next_attempt.map(|at| at.min(latest));
        }
        drop(state);
        // The background task looks at the time of the next sync again.
        self.ended.notify_one();
    }

    /// Says with all that is logged whose courier it is.
    fn span(&self) -> Span {
        tracing::error_span!(parent: None, "courier", spool = %self.spool.dir().display())
    }

    /// The outage that was asked for, if there is one.
    pub(crate) async fn planned_outage(&self) -> Option<PlannedOutage> {
        let outage = self.lock().offline_while.clone()?;
        blocking(move || outage()).await.flatten()
    }

    // --- Syncing -------------------------------------------------------------

    /// The sync that runs, or a new one.
    pub(crate) fn join_or_begin(self: &Arc<Self>) -> Outcome {
        let mut state = self.lock();
        if let Some((outcome, _)) = &state.running {
            let outcome = outcome.clone();
            state.again = true;
            return outcome;
        }
        let (sender, outcome) = watch::channel(None);
        (state.again, state.answered_at) = (false, None);
        // A task of its own: it goes on when the one who asked does not wait any more.
        let task = tokio::spawn(Arc::clone(self).sync(sender).instrument(self.span()));
        state.running = Some((outcome.clone(), task.abort_handle()));
        outcome
    }

    async fn sync(self: Arc<Self>, sender: watch::Sender<Option<SyncReport>>) {
        let mut running = Running { shared: Arc::clone(&self), ended: false };
        self.subscribers.tell(&SyncEvent::Started);
        let mut drain = Drain::new(Arc::clone(&self));
        let report = loop {
            let halt = drain.run().await;
            let report = drain.report().await;
            let mut state = self.lock();
            if halt.is_none() && std::mem::take(&mut state.again) {
                continue;
            }
            state.running = None;
            running.ended = true;
            break self.finish(&mut state, report, halt);
        };
        self.ended.notify_one();
        self.subscribers.tell(&SyncEvent::Ended(report.clone()));
        sender.send_replace(Some(report));
    }

    // --- In the background ---------------------------------------------------

    pub(crate) async fn run_in_background(self: Arc<Self>) {
        let mut stopping = self.stopping.subscribe();
        let mut care = tokio::time::interval(BUDGET_CARE);
        let mut link = self.lock().link.clone();
        loop {
            let is_offline = link.as_ref().is_some_and(|link| link.offline().is_some());
            let (at, patient) = {
                let state = self.lock();
                let failing =
                    state.failures > 0 || state.paused.is_some() || state.in_planned_outage;
                let none_may_go =
                    !matches!(state.only_critical, None | Some(Denied::Reserve { .. }));
                (
                    state.next_attempt.unwrap_or_else(Instant::now),
                    failing || none_may_go || is_offline,
                )
            };
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = self.ended.notified() => continue,
                () = self.nudged.notified() => if patient { continue },
                news = link::changed(&mut link) => {
                    self.hear(news);
                    continue;
                }
                () = self.budget_wants_care(&mut care) => continue,
                () = tokio::time::sleep_until(at), if !is_offline => self.lock().only_critical = None,
            }
            let mut outcome = self.join_or_begin();
            tokio::select! {
                biased;
                _ = outcome.wait_for(Option::is_some) => {}
                // The sync under way is waited for by `stop`.
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    /// Gives back what the data cap does not need, once a minute.
    async fn budget_wants_care(&self, care: &mut Interval) {
        let Some(budget) = self.destination.bandwidth() else {
            return std::future::pending().await;
        };
        care.tick().await;
        let budget = budget.clone();
        blocking(move || budget.maintain()).await;
    }

    pub(crate) fn ask_to_stop(&self, stop: bool) {
        self.stopping.send_replace(stop);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Waits until nothing runs any more, once that was asked for.
    pub(crate) async fn be_stopped(&self, by: Instant) {
        let (background, running) = {
            let mut state = self.lock();
            (state.background.take(), state.running.clone())
        };
        if let Some((mut outcome, task)) = running {
            let ended = outcome.wait_for(Option::is_some);
            if tokio::time::timeout_at(by, ended).await.is_err() {
                tracing::info!(parent: &self.span(), "a batch was under way for too long: its records wait again");
                task.abort();
                // An aborted task is dropped soon; its batch goes back to the spool with it.
                let _ = outcome.wait_for(Option::is_some).await;
            }
        }
        if let Some(background) = background {
            let _ = background.await;
        }
        self.lock().next_attempt = None;
        self.ask_to_stop(false);
    }
}
