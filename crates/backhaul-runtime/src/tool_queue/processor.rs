//! Who does the calls that wait.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{Batch, Limits};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::attempt::{self, Attempted};
use super::call_outcome::CallOutcome;
use super::queue_error::{ToolQueueError, ToolQueueErrorKind};
use super::queue_status::Drained;
use super::record::KEY;
use super::shared::Shared;
use crate::tools::IdempotencyKey;

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
        let drained = drain_until(&shared, Some(stopped.clone())).await;
        let look = if drained.remaining > 0 { LOOK } else { IDLE_LOOK };
        tokio::select! {
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(look) => {}
            () = changed(&mut changes) => {}
            _ = stopped.changed() => {}
        }
    }
    // No try comes any more.
    shared.end_round(shared.begin_round());
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

async fn drain_until(shared: &Arc<Shared>, stopped: Option<watch::Receiver<bool>>) -> Drained {
    let _one = shared.working.lock().await;
    let mut drain = Drain::new(shared, stopped);
    loop {
        let round = shared.begin_round();
        while drain.may_begin() && drain.begin_next().await {}
        shared.end_round(round);
        let is_stopped = drain.is_stopped();
        // A call that takes long holds up no other that comes meanwhile.
        tokio::select! {
            attempted = drain.at_work.join_next() => match attempted {
                Some(attempted) => drain.count(&attempted.unwrap_or(Attempted::PutOff)),
                None => break,
            },
            () = shared.wake.notified() => {}
            () = told_to_stop(&mut drain.stopped), if !is_stopped => {}
            () = tokio::time::sleep(LOOK) => drain.is_cut_off = false,
        }
    }
    drain.drained.remaining = drain.remaining().await;
    drain.drained
}

async fn told_to_stop(stopped: &mut Option<watch::Receiver<bool>>) {
    let Some(stopped) = stopped else { return std::future::pending().await };
    if stopped.wait_for(|is_stopped| *is_stopped).await.is_err() {
        // Nobody can say so any more.
        std::future::pending::<()>().await;
    }
}

/// Calls that are done until nothing can be done any more.
struct Drain {
    shared: Arc<Shared>,
    at_work: JoinSet<Attempted>,
    drained: Drained,
    stopped: Option<watch::Receiver<bool>>,
    /// There is no network, whatever is said.
    is_cut_off: bool,
}

impl Drain {
    fn new(shared: &Arc<Shared>, stopped: Option<watch::Receiver<bool>>) -> Self {
        Self {
            shared: Arc::clone(shared),
            at_work: JoinSet::new(),
            drained: Drained::default(),
            stopped,
            is_cut_off: false,
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.as_ref().is_some_and(|stopped| *stopped.borrow())
    }

    fn may_begin(&self) -> bool {
        !self.is_stopped()
            && !self.is_cut_off
            && self.at_work.len() < self.shared.options.max_parallel
            && self.shared.is_online() != Some(false)
            && !self.shared.is_resting()
    }

    /// Begins the next call. `false`: there is none that may begin now.
    async fn begin_next(&mut self) -> bool {
        let Some(batch) = self.take().await else { return false };
        let turn = self.shared.next_start();
        tokio::select! {
            () = tokio::time::sleep_until(turn) => {}
            () = told_to_stop(&mut self.stopped) => return false,
        }
        self.shared.note_start();
        let shared = Arc::clone(&self.shared);
        let at_work = AtWork::of(&shared, &batch);
        self.at_work.spawn(async move {
            let attempted = attempt::attempt(&shared, batch).await;
            drop(at_work);
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

    async fn remaining(&self) -> u64 {
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let pending = shared.spool.books().map_or(0, |books| books.pending);
            shared.forget_settled(pending);
            pending
        })
        .await
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
            Attempted::Gone => {}
        }
        match attempted {
            Attempted::CutOff => self.shared.rest(),
            Attempted::Done | Attempted::Failed => self.shared.rested(),
            _ => {}
        }
    }
}

/// A call that is at work, for as long as this is there.
struct AtWork {
    shared: Arc<Shared>,
    key: IdempotencyKey,
}

impl AtWork {
    fn of(shared: &Arc<Shared>, batch: &Batch) -> Self {
        let labels = batch.records.first().map(|offer| &offer.record.facts.labels);
        let key = labels.and_then(|labels| labels.get(KEY)).cloned().unwrap_or_default();
        let key = IdempotencyKey::chosen(key);
        shared.inside().at_work.push(key.clone());
        Self { shared: Arc::clone(shared), key }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut inside = self.shared.inside();
        if let Some(place) = inside.at_work.iter().position(|key| *key == self.key) {
            inside.at_work.swap_remove(place);
        }
    }
}

/// Does what waits for the disk beside the tasks of the runtime.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    whole(tokio::task::spawn_blocking(work).await).await
}

/// What a task came to; a panic goes on here.
pub(super) async fn whole<T>(ended: Result<T, JoinError>) -> T {
    match ended {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and this with it.
            Err(_) => std::future::pending().await,
        },
    }
}
