//! Who does the calls that wait.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{Batch, Limits};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::attempt::{self, Attempted};
use super::call_outcome::CallOutcome;
use super::queue_error::{ToolQueueError, ToolQueueErrorKind};
use super::queue_status::Drained;
use super::shared::Shared;

/// How often who does calls looks, while some wait, for those of other processes and for those
/// that were put off.
const LOOK: Duration = Duration::from_secs(1);
/// And while none does.
const IDLE_LOOK: Duration = Duration::from_secs(30);

type Callback = Arc<dyn Fn(&CallOutcome) + Send + Sync>;

/// Who is told of the end of calls.
#[derive(Clone, Default)]
pub(super) struct Callbacks {
    pub(super) on_success: Option<Callback>,
    pub(super) on_failure: Option<Callback>,
}

impl Callbacks {
    /// Tells of the end of a call. A callback that panics harms nobody else.
    pub(super) fn tell(&self, outcome: &CallOutcome) {
        let callback = if outcome.result.is_ok() { &self.on_success } else { &self.on_failure };
        let Some(callback) = callback else { return };
        if std::panic::catch_unwind(AssertUnwindSafe(|| callback(outcome))).is_err() {
            tracing::error!(id = outcome.id, "a callback of the tool queue panicked");
        }
    }
}

/// A task that does calls until it is stopped.
pub(super) struct Processor {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Processor {
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Self, ToolQueueError> {
        let runtime = Handle::try_current().map_err(|_| {
            let message = "calls are done on a runtime of tokio: start_processor() within one";
            ToolQueueError::new(ToolQueueErrorKind::NoRuntime, message)
        })?;
        let (stop, stopped) = watch::channel(false);
        let task = runtime.spawn(process(Arc::clone(shared), stopped));
        Ok(Self { stop, task })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    pub(super) async fn stop(self, wait: Duration) {
        let _ = self.stop.send(true);
        if tokio::time::timeout(wait, self.task).await.is_err() {
            tracing::warn!("calls of tools go on while their queue is stopped");
        }
    }
}

async fn process(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut changes = shared.connectivity.as_ref().map(|monitor| monitor.subscribe());
    while !*stopped.borrow() {
        let drained = drain_until(&shared, Some(&stopped)).await;
        let look = if drained.remaining > 0 { LOOK } else { IDLE_LOOK };
        tokio::select! {
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(look) => {}
            () = changed(&mut changes) => {}
            _ = stopped.changed() => {}
        }
    }
}

async fn changed<T>(changes: &mut Option<watch::Receiver<T>>) {
    let Some(changes) = changes else { return std::future::pending().await };
    if changes.changed().await.is_err() {
        // Nobody watches any more.
        std::future::pending::<()>().await;
    }
}

/// Does what can be done now.
pub(super) async fn drain(shared: &Arc<Shared>) -> Drained {
    drain_until(shared, None).await
}

async fn drain_until(shared: &Arc<Shared>, stopped: Option<&watch::Receiver<bool>>) -> Drained {
    let _one = shared.working.lock().await;
    let round = shared.begin_round();
    let mut drain = Drain::new(shared);
    let is_stopped = || stopped.is_some_and(|stopped| *stopped.borrow());
    loop {
        while !is_stopped() && drain.may_begin() && drain.begin_next().await {}
        let Some(attempted) = drain.at_work.join_next().await else { break };
        drain.count(&attempted.unwrap_or(Attempted::PutOff));
    }
    shared.end_round(round);
    drain.drained.remaining = shared.spool.books().map_or(0, |books| books.pending);
    drain.drained
}

/// Calls that are done until nothing can be done any more.
struct Drain {
    shared: Arc<Shared>,
    at_work: JoinSet<Attempted>,
    drained: Drained,
    /// There is no network, whatever is said.
    is_cut_off: bool,
    next_start: Instant,
}

impl Drain {
    fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            at_work: JoinSet::new(),
            drained: Drained::default(),
            is_cut_off: false,
            next_start: Instant::now(),
        }
    }

    fn may_begin(&self) -> bool {
        !self.is_cut_off
            && self.at_work.len() < self.shared.options.max_parallel
            && self.shared.is_online() != Some(false)
            && !self.shared.is_resting()
    }

    /// Begins the next call. `false`: there is none that may begin now.
    async fn begin_next(&mut self) -> bool {
        let Some(batch) = self.take().await else { return false };
        if let Some(rate) = self.shared.options.drain_rate {
            tokio::time::sleep_until(self.next_start).await;
            self.next_start = Instant::now() + Duration::from_secs_f64(1.0 / rate);
        }
        let shared = Arc::clone(&self.shared);
        shared.inside().running += 1;
        self.at_work.spawn(async move {
            let attempted = attempt::attempt(&shared, batch).await;
            shared.inside().running -= 1;
            attempted
        });
        true
    }

    async fn take(&self) -> Option<Batch> {
        let spool = self.shared.spool.clone();
        let one = Limits { records: 1, ..Limits::default() };
        match blocking(move || spool.take(&one)).await {
            Ok(batch) => batch,
            Err(error) if error.kind() == backhaul_store::ErrorKind::Busy => None,
            Err(error) => {
                tracing::error!(%error, "calls that wait cannot be read");
                None
            }
        }
    }

    fn count(&mut self, attempted: &Attempted) {
        let Drained { done, failed, put_off, unknown, superseded, .. } = &mut self.drained;
        match attempted {
            Attempted::Done => *done += 1,
            Attempted::Failed => *failed += 1,
            Attempted::PutOff => *put_off += 1,
            Attempted::CutOff => {
                *put_off += 1;
                self.is_cut_off = true;
            }
            Attempted::Unknown => *unknown += 1,
            Attempted::Superseded(count) => *superseded += count,
        }
        match attempted {
            Attempted::CutOff => self.shared.rest(),
            Attempted::Done | Attempted::Failed => self.shared.rested(),
            _ => {}
        }
    }
}

/// Does what waits for the disk beside the tasks of the runtime.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and this with it.
            Err(_) => std::future::pending().await,
        },
    }
}
