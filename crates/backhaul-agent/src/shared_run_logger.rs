//! Loggers as executors of graphs need them: many runs at a time.

use std::fmt;
use std::sync::Arc;

use backhaul_store::{Clock, SystemClock, Timestamp};

use crate::fallback::{Fallback, Number};
use crate::in_memory_run_logger::InMemoryRunLogger;
use crate::offline_run_logger::OfflineRunLogger;
use crate::run_builder::RunEvent;
use crate::run_handle::{RunHandle, RunSink};
use crate::run_logger::RunLogger;
use crate::run_record::RunRecord;
use crate::run_span::RunStart;

/// A logger that keeps runs in parallel apart: each has a handle of its own.
pub trait ParallelRunLogger: Send + Sync {
    /// Begins a run of its own, beside the current run and every other handle.
    fn begin_run(&self, start: RunStart) -> RunHandle;
}

impl ParallelRunLogger for InMemoryRunLogger {
    fn begin_run(&self, start: RunStart) -> RunHandle {
        self.begin(start)
    }
}

impl ParallelRunLogger for OfflineRunLogger {
    fn begin_run(&self, start: RunStart) -> RunHandle {
        self.begin(start)
    }
}

impl<L: ParallelRunLogger + ?Sized> ParallelRunLogger for Arc<L> {
    fn begin_run(&self, start: RunStart) -> RunHandle {
        (**self).begin_run(start)
    }
}

/// Runs in parallel on a logger that has one run at a time: it gets the events of the first
/// run as they happen, and the others whole when they have ended ([`RunLogger::deliver`]).
/// Clones are one logger. Nobody else may use the logger behind it meanwhile.
///
/// ```
/// use backhaul_agent::{
///     ContextPatch, InMemoryRunLogger, ParallelRunLogger, RunEnd, SharedRunLogger,
/// };
/// let behind = InMemoryRunLogger::new();
/// let logger = SharedRunLogger::new(behind.clone());
/// let (first, second) = (logger.begin_run("first".into()), logger.begin_run("second".into()));
/// second.record_patch(ContextPatch::set("n", 2));
/// second.end(RunEnd::new());
/// first.end(RunEnd::new());
/// assert_eq!(behind.get_record("first").unwrap().total_patches(), 0);
/// assert_eq!(behind.get_record("second").unwrap().total_patches(), 1);
/// ```
#[derive(Clone)]
pub struct SharedRunLogger {
    clock: Arc<dyn Clock>,
    runs: Arc<Fallback>,
}

impl SharedRunLogger {
    /// Shares a logger.
    pub fn new(logger: impl RunLogger + 'static) -> Self {
        Self::of(Arc::new(logger))
    }

    /// Shares a logger of any kind.
    pub fn of(logger: Arc<dyn RunLogger>) -> Self {
        Self { clock: Arc::new(SystemClock::new()), runs: Arc::new(Fallback::new(logger)) }
    }

    /// Takes the time from `clock`; without it, from the machine.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }
}

impl ParallelRunLogger for SharedRunLogger {
    fn begin_run(&self, start: RunStart) -> RunHandle {
        let number = self.runs.start(start.clone());
        RunHandle::new(start, Box::new(Sink { logger: self.clone(), number }))
    }
}

impl fmt::Debug for SharedRunLogger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedRunLogger")
    }
}

struct Sink {
    logger: SharedRunLogger,
    number: Number,
}

impl RunSink for Sink {
    fn now(&self) -> Timestamp {
        self.logger.clock.now().wall
    }

    fn event(&mut self, event: &RunEvent) {
        self.logger.runs.event(self.number, event);
    }

    fn ended(&mut self, record: &RunRecord) {
        self.logger.runs.ended(self.number, record);
    }
}
