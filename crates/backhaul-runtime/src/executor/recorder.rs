//! What nodes tell the run's logger.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backhaul_agent::{LlmCall, RunEnd, RunEvent, RunHandle, ToolCall};

/// Tells the logger of a run what happens in it. Without a logger, and when the run has ended,
/// nothing is recorded. Clones are one recorder.
#[derive(Clone, Default)]
pub struct Recorder {
    run: Option<Arc<Mutex<Option<RunHandle>>>>,
}

impl Recorder {
    pub(super) fn new(run: RunHandle) -> Self {
        Self { run: Some(Arc::new(Mutex::new(Some(run)))) }
    }

    /// Records that a tool was called.
    pub fn record_tool_call(&self, call: ToolCall) {
        self.record(RunEvent::ToolCall(call));
    }

    /// Records that a model was asked.
    pub fn record_llm_call(&self, call: LlmCall) {
        self.record(RunEvent::LlmCall(call));
    }

    /// Records what happened.
    pub fn record(&self, event: RunEvent) {
        if let Some(run) = self.run.as_deref().map(lock)
            && let Some(run) = &*run
        {
            run.record(event);
        }
    }

    /// Whether somebody listens.
    pub fn is_recording(&self) -> bool {
        self.run.as_deref().is_some_and(|run| lock(run).is_some())
    }

    /// Ends the run. May write to a disk.
    pub(super) fn end(&self, end: RunEnd) {
        let run = self.run.as_deref().and_then(|run| lock(run).take());
        if let Some(run) = run {
            run.end(end);
        }
    }
}

fn lock(run: &Mutex<Option<RunHandle>>) -> MutexGuard<'_, Option<RunHandle>> {
    run.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("is_recording", &self.is_recording()).finish()
    }
}
