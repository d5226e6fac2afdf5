//! What a logger of runs can do, and how delivery to one can fail.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde_json::Map;

use crate::llm_call::LlmCall;
use crate::patch::ContextPatch;
use crate::provenance::ProvenanceLink;
use crate::run_builder::RunEvent;
use crate::run_record::RunRecord;
use crate::run_span::{RunEnd, RunStart};
use crate::tool_call::ToolCall;

/// Collects what happens in a run and gives the record at its end.
///
/// Everything is synchronous and takes `&self`. A logger has one current run; for runs in
/// parallel, the loggers of this crate give out a [`RunHandle`](crate::RunHandle) per run.
/// Events that come while no run is open are ignored, as upstream does.
///
/// A logger of one's own needs four methods. This one keeps no prompts:
///
/// ```
/// use backhaul_agent::{
///     InMemoryRunLogger, LlmCall, RunEnd, RunEvent, RunLogger, RunLoggerError, RunRecord,
///     RunStart,
/// };
///
/// struct WithoutPrompts(InMemoryRunLogger);
///
/// impl RunLogger for WithoutPrompts {
///     fn start_run(&self, start: RunStart) {
///         self.0.start_run(start);
///     }
///
///     fn record(&self, mut event: RunEvent) {
///         if let RunEvent::LlmCall(call) = &mut event {
///             call.input_messages.clear();
///         }
///         self.0.record(event);
///     }
///
///     fn end_run(&self, end: RunEnd) -> Result<RunRecord, RunLoggerError> {
///         self.0.end_run(end)
///     }
///
///     fn get_current_record(&self) -> Option<RunRecord> {
///         self.0.get_current_record()
///     }
/// }
///
/// let logger = WithoutPrompts(InMemoryRunLogger::new());
/// logger.start_run("run_001".into());
/// logger.record_llm_call(LlmCall::new("m", vec!["a secret".into()], "I see."));
/// let record = logger.end_run(RunEnd::new())?;
/// assert!(record.llm_calls[0].input_messages.is_empty());
/// # Ok::<(), RunLoggerError>(())
/// ```
pub trait RunLogger: Send + Sync {
    /// Begins a run. A run that is still open is closed first, as interrupted, and kept.
    fn start_run(&self, start: RunStart);

    /// Adds what happened to the current run. Every event comes this way: the methods for
    /// one kind of event only wrap it.
    fn record(&self, event: RunEvent);

    /// Ends the current run and gives its record.
    ///
    /// # Errors
    /// [`RunLoggerError::NoRunInProgress`] when no run is open.
    fn end_run(&self, end: RunEnd) -> Result<RunRecord, RunLoggerError>;

    /// The record of the current run so far.
    fn get_current_record(&self) -> Option<RunRecord>;

    /// Adds a tool call to the current run.
    fn record_tool_call(&self, call: ToolCall) {
        self.record(RunEvent::ToolCall(call));
    }

    /// Adds a model call to the current run.
    fn record_llm_call(&self, call: LlmCall) {
        self.record(RunEvent::LlmCall(call));
    }

    /// Adds a change of the context to the current run.
    fn record_patch(&self, patch: ContextPatch) {
        self.record(RunEvent::Patch(patch));
    }

    /// Adds the provenance of a model call to the current run, and its cost.
    fn record_provenance_link(&self, link: ProvenanceLink) {
        self.record(RunEvent::ProvenanceLink(link));
    }

    /// Takes over a record that was finished elsewhere.
    ///
    /// Unless a logger does better, the record is replayed through `start_run`, `record`
    /// and `end_run`. That closes a run that is open here, puts the time of delivery into
    /// `started_at` and `completed_at`, computes the cost from the provenance links alone,
    /// and leaves out `selection_summaries` and unknown keys of the record itself.
    ///
    /// # Errors
    /// When the record was not taken; the kind says whether to try again.
    fn deliver(&self, record: &RunRecord) -> Result<(), DeliverError> {
        self.start_run(RunStart::of(record));
        events_of(record).for_each(|event| self.record(event));
        // The metadata was given at the start.
        let end = RunEnd { metadata: Map::new(), ..RunEnd::of(record) };
        match self.end_run(end) {
            Ok(_) => Ok(()),
            Err(error) => Err(DeliverError::later("the logger lost the run").with_source(error)),
        }
    }
}

fn events_of(record: &RunRecord) -> impl Iterator<Item = RunEvent> {
    let tool_calls = record.tool_calls.iter().cloned().map(RunEvent::ToolCall);
    let llm_calls = record.llm_calls.iter().cloned().map(RunEvent::LlmCall);
    let patches = record.patches.iter().cloned().map(RunEvent::Patch);
    let links = record.provenance_chain.iter().flat_map(|chain| &chain.links);
    let links = links.cloned().map(RunEvent::ProvenanceLink);
    tool_calls.chain(llm_calls).chain(patches).chain(links)
}

/// Why a logger could not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunLoggerError {
    /// `end_run` without a run that was started.
    NoRunInProgress,
}

impl fmt::Display for RunLoggerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRunInProgress => f.write_str("No run in progress"),
        }
    }
}

impl Error for RunLoggerError {}

/// What to do about a record that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeliverErrorKind {
    /// The destination cannot be reached: every record waits, and none loses a try.
    LinkDown,
    /// The destination answered and cannot take this record now: try it again later.
    Later,
    /// The destination will never take this record.
    Rejected,
}

/// Why a record was not taken by its destination.
///
/// ```
/// use backhaul_agent::{DeliverError, DeliverErrorKind};
///
/// let error = DeliverError::rejected("run_id is longer than 64 characters");
/// assert!(error.is_final());
/// assert_eq!(error.to_string(), "rejected: run_id is longer than 64 characters");
/// assert_eq!(DeliverError::link_down("no route").kind(), DeliverErrorKind::LinkDown);
/// ```
#[derive(Debug)]
pub struct DeliverError {
    kind: DeliverErrorKind,
    reason: String,
    retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl DeliverError {
    /// The destination cannot be reached.
    pub fn link_down(reason: impl Into<String>) -> Self {
        Self::new(DeliverErrorKind::LinkDown, reason.into())
    }

    /// The destination cannot take this record now.
    pub fn later(reason: impl Into<String>) -> Self {
        Self::new(DeliverErrorKind::Later, reason.into())
    }

    /// The destination will never take this record.
    pub fn rejected(reason: impl Into<String>) -> Self {
        Self::new(DeliverErrorKind::Rejected, reason.into())
    }

    /// Says how long the destination asked to wait.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Keeps the error behind this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What to do about it.
    pub fn kind(&self) -> DeliverErrorKind {
        self.kind
    }

    /// Whether no further try can succeed.
    pub fn is_final(&self) -> bool {
        self.kind == DeliverErrorKind::Rejected
    }

    /// Why, in words.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// How long the destination asked to wait, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    fn new(kind: DeliverErrorKind, reason: String) -> Self {
        Self { kind, reason, retry_after: None, source: None }
    }
}

impl fmt::Display for DeliverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            DeliverErrorKind::LinkDown => "the destination cannot be reached",
            DeliverErrorKind::Later => "not taken now",
            DeliverErrorKind::Rejected => "rejected",
        };
        write!(f, "{what}: {}", self.reason)
    }
}

impl Error for DeliverError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
