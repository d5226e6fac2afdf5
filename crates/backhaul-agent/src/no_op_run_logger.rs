//! A logger that keeps nothing.

use std::fmt;
use std::sync::{Arc, Mutex};

use backhaul_store::{Clock, SystemClock};

use crate::lock::lock;
use crate::run_builder::{RunBuilder, RunEvent};
use crate::run_logger::{DeliverError, RunLogger, RunLoggerError};
use crate::run_record::RunRecord;
use crate::run_span::{RunEnd, RunStart};

/// Ignores what happens in a run; the record at its end has its id, contexts and times.
///
/// ```
/// use backhaul_agent::{ContextPatch, NoOpRunLogger, RunEnd, RunLogger};
///
/// let logger = NoOpRunLogger::new();
/// logger.start_run("run_001".into());
/// logger.record_patch(ContextPatch::set("a", 1));
/// let record = logger.end_run(RunEnd::new())?;
/// assert_eq!(record.run_id, "run_001");
/// assert_eq!(record.total_patches(), 0);
/// # Ok::<(), backhaul_agent::RunLoggerError>(())
/// ```
pub struct NoOpRunLogger {
    clock: Arc<dyn Clock>,
    current: Mutex<Option<RunBuilder>>,
}

impl NoOpRunLogger {
    /// A logger that keeps nothing.
    pub fn new() -> Self {
        Self { clock: Arc::new(SystemClock::new()), current: Mutex::new(None) }
    }

    /// Takes the time from `clock`; without it, from the machine.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

impl Default for NoOpRunLogger {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for NoOpRunLogger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoOpRunLogger")
    }
}

impl RunLogger for NoOpRunLogger {
    /// Begins a run. There is nowhere to keep a run that is still open: it is forgotten.
    fn start_run(&self, start: RunStart) {
        *lock(&self.current) = Some(RunBuilder::start(start, self.clock.now().wall));
    }

    fn record(&self, _: RunEvent) {}

    fn end_run(&self, end: RunEnd) -> Result<RunRecord, RunLoggerError> {
        let open = lock(&self.current).take().ok_or(RunLoggerError::NoRunInProgress)?;
        Ok(open.finish(end, self.clock.now().wall))
    }

    fn get_current_record(&self) -> Option<RunRecord> {
        lock(&self.current).as_ref().map(|run| run.current().clone())
    }

    /// Takes the record and forgets it.
    fn deliver(&self, _: &RunRecord) -> Result<(), DeliverError> {
        Ok(())
    }
}
