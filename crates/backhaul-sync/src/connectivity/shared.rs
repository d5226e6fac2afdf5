//! What the handles and the task of a monitor share, and the task.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backhaul_store::{Clock, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::callbacks::Callbacks;
use super::check_url::CheckUrl;
use super::judge::Judge;
use super::link_events::{LinkChange, LinkEvents};
use super::options::{CheckRule, ConnectivityOptions};
use super::probe::{Probe, ProbeBytes, ProbeError, ProbeErrorKind};
use super::schedule::Schedule;
use super::spending::Spending;
use super::state::Connectivity;
use super::status::ConnectivityStatus;
use crate::bandwidth::BandwidthManager;
use crate::blocking::blocking;
use crate::planned_outage::{AskOutage, PlannedOutage};
use crate::sync_manager::after;

pub(super) struct Shared {
    pub(super) options: ConnectivityOptions,
    pub(super) callbacks: Callbacks,
    probe: Arc<dyn Probe>,
    links: Arc<dyn LinkEvents>,
    clock: Arc<dyn Clock>,
    bytes: Arc<ProbeBytes>,
    /// What times are counted from.
    start: Instant,
    state: Mutex<State>,
    published: watch::Sender<Connectivity>,
    /// How often the machine's network has changed.
    changes: watch::Sender<u64>,
    /// The next thing to do may be due sooner than it was.
    woken: Notify,
}

struct State {
    judge: Judge,
    schedule: Schedule,
    task: Option<JoinHandle<()>>,
    is_running: bool,
    since: Option<Timestamp>,
    last_probe_at: Option<Timestamp>,
    last_error: Option<ProbeError>,
    probes: u64,
    /// What checks are charged to.
    budget: Option<BandwidthManager>,
    offline_while: Option<AskOutage>,
    /// It was said that no events of the network can be heard.
    is_deaf: bool,
}

type Look<'a> = Pin<Box<dyn Future<Output = Result<(), ProbeError>> + Send + 'a>>;

/// What the task does next.
enum Step {
    Look,
    /// Nothing is to be looked at: a look under way is given up.
    Rest,
    Wait(Option<Duration>),
}

/// Ends what is known when the task ends, however it does.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the connectivity monitor broke off");
        }
        self.0.change(|state, now| {
            state.is_running = false;
            state.schedule.pause();
            state.judge.forget(now);
        });
    }
}

impl Shared {
    pub(super) fn new(
        options: ConnectivityOptions,
        probe: Arc<dyn Probe>,
        links: Arc<dyn LinkEvents>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let state = State {
            judge: options.judge(),
            schedule: options.schedule(),
            task: None,
            is_running: false,
            since: None,
            last_probe_at: None,
            last_error: None,
            probes: 0,
            budget: None,
            offline_while: None,
            is_deaf: false,
        };
        Self {
            options,
            callbacks: Callbacks::default(),
            probe,
            links,
            clock,
            bytes: Arc::default(),
            start: Instant::now(),
            state: Mutex::new(state),
            published: watch::Sender::new(Connectivity::Unknown),
            changes: watch::Sender::new(0),
            woken: Notify::new(),
        }
    }

    // --- What others tell ------------------------------------------------------

    pub(super) fn start(self: &Arc<Self>) {
        let mut state = self.lock();
        if std::mem::replace(&mut state.is_running, true) {
            return;
        }
        if self.asks() && !state.judge.is_forced() {
            state.schedule.restart(self.start.elapsed());
        }
        drop(state);
        let running = Running(Arc::clone(self));
        let task = tokio::spawn(async move { running.0.run().await });
        self.lock().task = Some(task);
    }

    /// The task, with its end asked for.
    pub(super) fn end(&self) -> Option<JoinHandle<()>> {
        let task = self.lock().task.take();
        task.inspect(JoinHandle::abort)
    }

    pub(super) fn force(&self, forced: Option<Connectivity>) {
        self.change(|state, now| {
            state.judge.force(now, forced);
            match forced {
                None if state.is_running && self.asks() => state.schedule.restart(now),
                _ => state.schedule.pause(),
            }
        });
    }

    pub(super) fn traffic(&self, got_through: bool) {
        let mut state = self.lock();
        if !state.is_running || state.judge.is_forced() {
            return;
        }
        let now = self.start.elapsed();
        let due = state.wakes_at();
        if !self.asks() || (got_through && self.options.rule == CheckRule::Any) {
            state.judge.note(now, got_through);
            self.publish(&mut state);
            if self.asks() && !state.judge.is_in_doubt() {
                state.schedule.put_off(now);
            }
        } else if got_through != state.judge.state().is_online() {
            state.schedule.suspect(now);
        }
        // Later is early enough: the task then finds that nothing is due.
        if state.wakes_at().is_some_and(|at| due.is_none_or(|due| at < due)) {
            self.woken.notify_one();
        }
    }

    fn network_changed(&self, change: LinkChange) {
        tracing::debug!(?change, "the network changed");
        self.change(|state, now| {
            if state.judge.is_forced() {
                return;
            }
            let is_online = state.judge.state().is_online();
            let at_once = !self.asks() || state.schedule.network_changed(now, is_online);
            if change == LinkChange::Up && at_once {
                // Whoever uses the network finds out, perhaps sooner than a check.
                state.judge.reconsider(now);
            }
        });
        // After the state, by which it is judged what to make of it.
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    pub(super) fn offline_while(&self, outage: AskOutage) {
        self.lock().offline_while = Some(outage);
    }

    pub(super) fn check_soon(&self) {
        self.change(|state, now| {
            if state.is_running && self.asks() && !state.judge.is_forced() {
                state.schedule.suspect(now);
            }
        });
    }

    pub(super) fn charge(&self, budget: BandwidthManager) {
        self.lock().budget = Some(budget);
    }

    // --- The task --------------------------------------------------------------

    async fn run(&self) {
        let telling = self.callbacks.tell(self.published.subscribe());
        tokio::join!(self.watch(), self.listen(), telling);
    }

    async fn listen(&self) {
        let error = self.links.listen(&|change| self.network_changed(change)).await;
        if !std::mem::replace(&mut self.lock().is_deaf, true) {
            tracing::info!(%error, "no events of the network: a link that is back is found by checks");
        }
    }

    async fn watch(&self) {
        let mut look: Option<Look<'_>> = None;
        loop {
            let until = match self.step() {
                Step::Look => {
                    look = Some(Box::pin(self.look()));
                    None
                }
                Step::Rest => {
                    look = None;
                    None
                }
                Step::Wait(until) => until,
            };
            let ended = async {
                match &mut look {
                    Some(look) => look.await,
                    None => std::future::pending().await,
                }
            };
            let result = tokio::select! {
                result = ended => Some(result),
                () = self.woken.notified() => None,
                () = self.sleep_until(until) => None,
            };
            if let Some(result) = result {
                look = None;
                self.looked(result);
            }
        }
    }

    fn step(&self) -> Step {
        let mut state = self.lock();
        let now = self.start.elapsed();
        state.judge.settle(now);
        self.publish(&mut state);
        if state.judge.is_forced() {
            return Step::Rest;
        }
        if state.schedule.due().is_some_and(|due| due <= now) {
            state.schedule.begin(now);
            return Step::Look;
        }
        Step::Wait(state.wakes_at())
    }

    async fn sleep_until(&self, at: Option<Duration>) {
        match at.and_then(|at| self.start.checked_add(at)) {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Asks the addresses in their order, until it is clear what they come to.
    async fn look(&self) -> Result<(), ProbeError> {
        if let Some(outage) = self.planned_outage().await {
            return Err(ProbeError::new(ProbeErrorKind::Outage, outage.reason));
        }
        let mut result = Ok(());
        for url in &self.options.check_urls {
            match (self.options.rule, self.ask(url).await) {
                (_, Err(error)) if error.kind() == ProbeErrorKind::Cap => return Err(error),
                (CheckRule::Any, Ok(())) => return Ok(()),
                (CheckRule::All, Err(error)) => return Err(error),
                (_, checked) => result = result.and(checked),
            }
        }
        result
    }

    async fn ask(&self, url: &CheckUrl) -> Result<(), ProbeError> {
        let budget = self.lock().budget.clone();
        let _spending = match budget {
            Some(budget) => Some(Spending::begin(budget, &self.bytes).await?),
            None => None,
        };
        let check = self.probe.check(url, &self.bytes);
        let checked = tokio::time::timeout(self.options.timeout(), check).await;
        checked.unwrap_or_else(|_| {
            let reason = format!("{url} within {} s", self.options.timeout_seconds);
            Err(ProbeError::new(ProbeErrorKind::Timeout, reason))
        })
    }

    async fn planned_outage(&self) -> Option<PlannedOutage> {
        let outage = self.lock().offline_while.clone()?;
        blocking(move || outage()).await.flatten()
    }

    fn looked(&self, result: Result<(), ProbeError>) {
        self.change(|state, now| {
            let is_cap = result.as_ref().is_err_and(|error| error.kind() == ProbeErrorKind::Cap);
            if is_cap {
                // Nobody was asked: what is known stays, and traffic says more.
                state.schedule.ended(now, true);
                state.last_error = result.err();
                return;
            }
            state.judge.note(now, result.is_ok());
            let is_calm = state.judge.state().is_online() && !state.judge.is_in_doubt();
            state.schedule.ended(now, is_calm);
            state.probes = state.probes.saturating_add(1);
            state.last_probe_at = Some(self.clock.now().wall);
            if let Err(error) = &result {
                state.log(error);
            }
            state.last_error = result.err();
        });
    }

    // --- How things stand --------------------------------------------------------

    pub(super) fn subscribe(&self) -> watch::Receiver<Connectivity> {
        self.published.subscribe()
    }

    pub(super) fn network_changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn status(&self) -> ConnectivityStatus {
        let wall = self.clock.now().wall;
        let state = self.lock();
        let now = self.start.elapsed();
        ConnectivityStatus {
            state: state.judge.state(),
            since: state.since,
            is_forced: state.judge.is_forced(),
            is_running: state.is_running,
            last_probe_at: state.last_probe_at,
            next_probe_at: state.schedule.due().map(|due| after(wall, due.saturating_sub(now))),
            last_error: state.last_error.clone(),
            probes: state.probes,
            bytes: self.bytes.total(),
        }
    }

    /// Whether there is anybody to ask.
    pub(super) fn asks(&self) -> bool {
        !self.options.check_urls.is_empty()
    }

    /// Changes something, tells of the state it comes to, and has the task look at it.
    fn change(&self, change: impl FnOnce(&mut State, Duration)) {
        let mut state = self.lock();
        change(&mut state, self.start.elapsed());
        self.publish(&mut state);
        drop(state);
        self.woken.notify_one();
    }

    /// In the order of the changes, because the state is locked meanwhile.
    fn publish(&self, state: &mut State) {
        let now = state.judge.state();
        let changed = self.published.send_if_modified(|published| {
            let before = std::mem::replace(published, now);
            before != now
        });
        if changed {
            state.since = Some(self.clock.now().wall);
            let by_hand = state.judge.is_forced();
            tracing::info!(state = %now, by_hand, "connectivity changed");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No call leaves the state half changed, so that a panic elsewhere does it no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wakes_at(&self) -> Option<Duration> {
        let (due, settles) = (self.schedule.due(), self.judge.settles_at());
        due.into_iter().chain(settles).min()
    }

    /// A clock that is not set has to be told of; a link that is down is no news.
    fn log(&self, error: &ProbeError) {
        let is_new = self.last_error.as_ref().is_none_or(|last| last.kind() != error.kind());
        if is_new && error.kind() == ProbeErrorKind::ClockNotSet {
            tracing::warn!(%error, "no check can succeed over TLS");
        } else {
            tracing::debug!(%error, "a check failed");
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectivityMonitor")
            .field("options", &self.options)
            .field("state", &*self.published.borrow())
            .finish_non_exhaustive()
    }
}
