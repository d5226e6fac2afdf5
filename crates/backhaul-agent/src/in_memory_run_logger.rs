//! A logger that keeps the newest records in memory.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use backhaul_store::{Clock, SystemClock, Timestamp};

use crate::lock::lock;
use crate::run_builder::{RunBuilder, RunEvent};
use crate::run_handle::{RunHandle, RunSink};
use crate::run_logger::{DeliverError, RunLogger, RunLoggerError};
use crate::run_record::RunRecord;
use crate::run_span::{RunEnd, RunStart};

/// Keeps the records of ended runs in memory: at most 1,000, unless set otherwise.
///
/// The oldest record makes room for a new one and is counted by
/// [`InMemoryRunLogger::dropped`]. A clone is another name for the same logger.
///
/// ```
/// use backhaul_agent::{InMemoryRunLogger, RunEnd, RunLogger};
///
/// let logger = InMemoryRunLogger::with_capacity(2);
/// for run_id in ["first", "second", "third"] {
///     logger.start_run(run_id.into());
///     logger.end_run(RunEnd::new())?;
/// }
/// assert_eq!(logger.get_history().len(), 2);
/// assert_eq!(logger.dropped(), 1);
/// assert!(logger.get_record("first").is_none());
/// # Ok::<(), backhaul_agent::RunLoggerError>(())
/// ```
#[derive(Clone)]
pub struct InMemoryRunLogger {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

struct State {
    current: Option<RunBuilder>,
    history: VecDeque<Arc<RunRecord>>,
    capacity: usize,
    dropped: u64,
}

impl InMemoryRunLogger {
    /// How many records a logger keeps by default. Upstream has no bound and grows for as
    /// long as the agent runs; a thousand records of a few kilobytes are some megabytes.
    pub const DEFAULT_CAPACITY: usize = 1000;

    /// A logger that keeps [`InMemoryRunLogger::DEFAULT_CAPACITY`] records.
    pub fn new() -> Self {
        Self::with_capacity(Self::DEFAULT_CAPACITY)
    }

    /// A logger that keeps `capacity` records; with 0 it keeps none.
    pub fn with_capacity(capacity: usize) -> Self {
        let state = State { current: None, history: VecDeque::new(), capacity, dropped: 0 };
        Self { clock: Arc::new(SystemClock::new()), state: Arc::new(Mutex::new(state)) }
    }

    /// Takes the time from `clock`; without it, from the machine.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Begins a run of its own, beside the current run and every other handle.
    pub fn begin(&self, start: impl Into<RunStart>) -> RunHandle {
        RunHandle::new(start, Box::new(MemorySink { logger: self.clone() }))
    }

    /// The records of ended runs, in the order in which they ended.
    pub fn get_history(&self) -> Vec<Arc<RunRecord>> {
        lock(&self.state).history.iter().cloned().collect()
    }

    /// The oldest kept record with this run id.
    pub fn get_record(&self, run_id: &str) -> Option<Arc<RunRecord>> {
        lock(&self.state).history.iter().find(|record| record.run_id == run_id).cloned()
    }

    /// Forgets the records of ended runs; they do not count as dropped.
    pub fn clear_history(&self) {
        lock(&self.state).history.clear();
    }

    /// How many records have made room for newer ones.
    pub fn dropped(&self) -> u64 {
        lock(&self.state).dropped
    }

    fn now(&self) -> Timestamp {
        self.clock.now().wall
    }
}

impl State {
    fn keep(&mut self, record: RunRecord) {
        self.history.push_back(Arc::new(record));
        while self.history.len() > self.capacity {
            self.history.pop_front();
            self.dropped += 1;
        }
    }
}

impl Default for InMemoryRunLogger {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for InMemoryRunLogger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("InMemoryRunLogger")
            .field("history", &state.history.len())
            .field("capacity", &state.capacity)
            .field("dropped", &state.dropped)
            .finish_non_exhaustive()
    }
}

impl RunLogger for InMemoryRunLogger {
    fn start_run(&self, start: RunStart) {
        let now = self.now();
        let mut state = lock(&self.state);
        if let Some(open) = state.current.replace(RunBuilder::start(start, now)) {
            state.keep(open.interrupt("another run was started before its end", now));
        }
    }

    fn record(&self, event: RunEvent) {
        if let Some(run) = &mut lock(&self.state).current {
            run.record(event);
        }
    }

    fn end_run(&self, end: RunEnd) -> Result<RunRecord, RunLoggerError> {
        let now = self.now();
        let mut state = lock(&self.state);
        let open = state.current.take().ok_or(RunLoggerError::NoRunInProgress)?;
        let record = open.finish(end, now);
        state.keep(record.clone());
        Ok(record)
    }

    fn get_current_record(&self) -> Option<RunRecord> {
        lock(&self.state).current.as_ref().map(|run| run.current().clone())
    }

    /// Keeps the record as it is; a run that is open here goes on.
    fn deliver(&self, record: &RunRecord) -> Result<(), DeliverError> {
        lock(&self.state).keep(record.clone());
        Ok(())
    }
}

struct MemorySink {
    logger: InMemoryRunLogger,
}

impl RunSink for MemorySink {
    fn now(&self) -> Timestamp {
        self.logger.now()
    }

    fn ended(&mut self, record: &RunRecord) {
        lock(&self.logger.state).keep(record.clone());
    }
}
