//! A run of its own, for runs in parallel on one logger.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use backhaul_store::Timestamp;

use crate::llm_call::LlmCall;
use crate::lock::lock;
use crate::patch::ContextPatch;
use crate::provenance::ProvenanceLink;
use crate::run_builder::{RunBuilder, RunEvent};
use crate::run_record::RunRecord;
use crate::run_span::{RunEnd, RunStart};
use crate::tool_call::ToolCall;

/// Where one run of a logger goes. A logger makes one for each handle that it gives out.
///
/// The calls come one at a time: [`RunSink::event`] for each event, then
/// [`RunSink::ended`] once.
pub trait RunSink: Send {
    /// What time it is.
    fn now(&self) -> Timestamp;

    /// Something happened, and goes into the record next. Does nothing by default.
    fn event(&mut self, event: &RunEvent) {
        let _ = event;
    }

    /// The run has ended, or its handle was dropped: then the record has
    /// `metadata.interrupted`.
    fn ended(&mut self, record: &RunRecord);
}

/// One open run, apart from every other run of its logger.
///
/// May be shared between threads. A handle that is dropped without [`RunHandle::end`]
/// closes its run as interrupted: the record says so in its error and in
/// `metadata.interrupted`.
///
/// ```
/// use backhaul_agent::{InMemoryRunLogger, RunEnd, ToolCall};
/// use serde_json::json;
///
/// let logger = InMemoryRunLogger::new();
/// let left = logger.begin("left");
/// let right = logger.begin("right");
/// left.record_tool_call(ToolCall::new("pump", json!({}), json!({})));
/// assert_eq!(right.end(RunEnd::new()).total_tool_calls(), 0);
/// assert_eq!(left.end(RunEnd::new()).total_tool_calls(), 1);
///
/// drop(logger.begin("lost"));
/// let lost = logger.get_record("lost").unwrap();
/// assert_eq!(lost.error.as_deref(), Some("interrupted: the run was dropped before its end"));
/// ```
#[must_use = "a run that is dropped is closed as interrupted"]
pub struct RunHandle {
    open: Mutex<OpenRun>,
    run_id: String,
}

impl RunHandle {
    /// Begins a run that goes to `sink`. For those who write loggers; others get handles
    /// from a logger.
    pub fn new(start: impl Into<RunStart>, sink: Box<dyn RunSink>) -> Self {
        let run = RunBuilder::start(start.into(), sink.now());
        Self::resume(run, sink)
    }

    /// A handle on a run that has begun before.
    pub fn resume(run: RunBuilder, sink: Box<dyn RunSink>) -> Self {
        let run_id = run.current().run_id.clone();
        Self { open: Mutex::new(OpenRun { run, sink, is_open: true }), run_id }
    }

    /// The id of the run.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Adds a tool call.
    pub fn record_tool_call(&self, call: ToolCall) {
        self.record(RunEvent::ToolCall(call));
    }

    /// Adds a model call.
    pub fn record_llm_call(&self, call: LlmCall) {
        self.record(RunEvent::LlmCall(call));
    }

    /// Adds a change of the context.
    pub fn record_patch(&self, patch: ContextPatch) {
        self.record(RunEvent::Patch(patch));
    }

    /// Adds the provenance of a model call, and its cost.
    pub fn record_provenance_link(&self, link: ProvenanceLink) {
        self.record(RunEvent::ProvenanceLink(link));
    }

    /// Adds what happened.
    pub fn record(&self, event: RunEvent) {
        let mut open = lock(&self.open);
        open.sink.event(&event);
        open.run.record(event);
    }

    /// The record so far.
    pub fn current_record(&self) -> RunRecord {
        lock(&self.open).run.current().clone()
    }

    /// Ends the run and gives its record.
    pub fn end(self, end: RunEnd) -> RunRecord {
        self.into_open().end(end)
    }

    /// Closes the run before its end.
    pub(crate) fn interrupt(self, reason: &str) {
        self.into_open().interrupt(reason);
    }

    fn into_open(self) -> OpenRun {
        self.open.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RunHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunHandle").field("run_id", &self.run_id).finish_non_exhaustive()
    }
}

struct OpenRun {
    run: RunBuilder,
    sink: Box<dyn RunSink>,
    is_open: bool,
}

impl OpenRun {
    fn end(&mut self, end: RunEnd) -> RunRecord {
        let (run, now) = self.close();
        let record = run.finish(end, now);
        self.sink.ended(&record);
        record
    }

    fn interrupt(&mut self, reason: &str) {
        let (run, now) = self.close();
        self.sink.ended(&run.interrupt(reason, now));
    }

    /// The run, and when it was closed.
    fn close(&mut self) -> (RunBuilder, Timestamp) {
        self.is_open = false;
        let now = self.sink.now();
        let nothing = RunBuilder::start(RunStart::new(""), now);
        (std::mem::replace(&mut self.run, nothing), now)
    }
}

impl Drop for OpenRun {
    fn drop(&mut self) {
        if self.is_open {
            self.interrupt("the run was dropped before its end");
        }
    }
}
