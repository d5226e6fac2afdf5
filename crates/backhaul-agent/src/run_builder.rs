//! An open run: the building block of every logger.

use backhaul_store::Timestamp;
use serde_json::Value;

use crate::fields::{FieldError, Fields};
use crate::llm_call::LlmCall;
use crate::patch::ContextPatch;
use crate::provenance::{ProvenanceChain, ProvenanceLink};
use crate::run_record::RunRecord;
use crate::run_span::{RunEnd, RunStart};
use crate::shape::{Entry, Node};
use crate::time;
use crate::tool_call::ToolCall;

/// Says in the metadata of a record that its run was interrupted.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEvent {
    /// A tool was called.
    ToolCall(ToolCall),
    /// A model was called.
    LlmCall(LlmCall),
    /// The context was changed.
    Patch(ContextPatch),
    /// The provenance of a model call.
    ProvenanceLink(ProvenanceLink),
}

impl RunEvent {
    /// `{"kind": …, "event": …}`, for a journal.
    pub fn to_value(&self) -> Value {
        Node::Object(self.entries().into()).into_value()
    }

    pub(crate) fn entries(&self) -> [Entry<'_>; 2] {
        let (kind, event) = match self {
            Self::ToolCall(call) => ("tool_call", call.shape()),
            Self::LlmCall(call) => ("llm_call", call.shape()),
            Self::Patch(patch) => ("patch", patch.shape()),
            Self::ProvenanceLink(link) => ("provenance_link", link.shape()),
        };
        [("kind", Node::Text(kind)), ("event", event)]
    }

    /// Reads what [`RunEvent::to_value`] gives.
    ///
    /// # Errors
    /// When the kind is unknown or the event cannot be read.
    pub fn from_value(value: Value) -> Result<Self, FieldError> {
        let mut fields = Fields::of_document(value, time::now())?;
        let kind = fields.take("kind");
        let event = fields.take("event").unwrap_or_default();
        match kind.as_ref().and_then(Value::as_str) {
            Some("tool_call") => ToolCall::from_value(event).map(Self::ToolCall),
            Some("llm_call") => LlmCall::from_value(event).map(Self::LlmCall),
            Some("patch") => ContextPatch::from_value(event).map(Self::Patch),
            Some("provenance_link") => ProvenanceLink::from_value(event).map(Self::ProvenanceLink),
            _ => {
                let expected = "`tool_call`, `llm_call`, `patch` or `provenance_link`";
                Err(fields.error("kind", kind.as_ref(), expected))
            }
        }
    }
}

/// A run that has begun and not ended.
///
/// Times are given to it, so that it needs no clock of its own.
///
/// ```
/// use backhaul_agent::{RunBuilder, RunEnd, RunEvent, RunStart, ToolCall};
/// use backhaul_store::Timestamp;
/// use serde_json::json;
///
/// let start = RunStart::new("run_001").metadata("site", "roof");
/// let mut run = RunBuilder::start(start, Timestamp::from_micros(0));
/// run.record(RunEvent::ToolCall(ToolCall::new("pump", json!({}), json!({}))));
/// let record = run.finish(RunEnd::new(), Timestamp::from_micros(2_000_000));
/// assert_eq!(record.duration_ms(), 2000.0);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RunBuilder {
    record: RunRecord,
}

impl RunBuilder {
    /// Begins a run.
    pub fn start(start: RunStart, now: Timestamp) -> Self {
        let mut record = RunRecord::new(start.run_id, now);
        record.dag_name = start.dag_name;
        record.initial_context = start.initial_context;
        record.metadata = start.metadata;
        Self { record }
    }

    /// Goes on with a run whose record so far was kept, such as in a journal.
    pub fn resume(record: RunRecord) -> Self {
        Self { record }
    }

    /// Adds what happened. The cost of a link is added to the cost of the run.
    pub fn record(&mut self, event: RunEvent) {
        match event {
            RunEvent::ToolCall(call) => self.record.tool_calls.push(call),
            RunEvent::LlmCall(call) => self.record.llm_calls.push(call),
            RunEvent::Patch(patch) => self.record.patches.push(patch),
            RunEvent::ProvenanceLink(link) => self.record_provenance_link(link),
        }
    }

    /// The record so far: not completed, and a success.
    pub fn current(&self) -> &RunRecord {
        &self.record
    }

    /// Ends the run as `end` says.
    pub fn finish(mut self, end: RunEnd, now: Timestamp) -> RunRecord {
        self.record.final_context = end.final_context;
        self.record.success = end.success;
        self.record.error = end.error;
        self.record.metadata.extend(end.metadata);
        self.record.completed_at = Some(now);
        self.record
    }

    /// Closes a run that did not end itself: without success, with the error
    /// `interrupted: ` and the reason, and with `metadata.interrupted` set to true, which
    /// tells it from a run whose agent ended it with such an error.
    pub fn interrupt(self, reason: &str, now: Timestamp) -> RunRecord {
        let end = RunEnd::failed(format!("interrupted: {reason}"));
        self.finish(end.metadata(INTERRUPTED, true), now)
    }

    fn record_provenance_link(&mut self, link: ProvenanceLink) {
        self.record.total_cost_usd += link.cost_usd;
        let run_id = &self.record.run_id;
        let chain =
            self.record.provenance_chain.get_or_insert_with(|| ProvenanceChain::new(run_id));
        chain.links.push(link);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    #[test]
    fn metadata_of_the_end_wins() {
        let start = RunStart::new("r").metadata("a", 1).metadata("b", 1).critical(true);
        let run = RunBuilder::start(start, second(0));
        assert!(run.current().is_critical());
        let record = run.finish(RunEnd::new().metadata("b", 2).critical(false), second(1));
        assert_eq!(Value::Object(record.metadata), json!({"a": 1, "b": 2, "critical": false}));
    }

    #[test]
    fn links_make_a_chain_and_add_up_their_cost() {
        let mut run = RunBuilder::start("r".into(), second(0));
        for cost in [0.5, 0.25] {
            run.record(RunEvent::ProvenanceLink(ProvenanceLink::new("llm").cost_usd(cost)));
        }
        let record = run.finish(RunEnd::new(), second(1));
        assert_eq!(record.total_cost_usd, 0.75);
        let chain = record.provenance_chain.unwrap();
        assert_eq!((chain.run_id.as_str(), chain.links.len()), ("r", 2));
    }

    #[test]
    fn interrupted_run_says_so_and_keeps_what_happened() {
        let mut run = RunBuilder::start("r".into(), second(0));
        run.record(RunEvent::Patch(ContextPatch::set("a", 1)));
        let record = run.interrupt("power cut", second(3));
        assert_eq!(record.error.as_deref(), Some("interrupted: power cut"));
        assert_eq!(record.metadata[INTERRUPTED], json!(true));
        assert!(!record.success);
        assert_eq!(record.total_patches(), 1);
        assert_eq!(record.duration_ms(), 3000.0);
    }

    #[test]
    fn events_read_back_from_a_journal() {
        for event in [
            RunEvent::ToolCall(ToolCall::failed("t", json!({"x": 1}), "no")),
            RunEvent::LlmCall(LlmCall::new("m", vec![json!({"role": "user"})], "out")),
            RunEvent::Patch(ContextPatch::append("a", 1)),
            RunEvent::ProvenanceLink(ProvenanceLink::new("l")),
        ] {
            assert_eq!(RunEvent::from_value(event.to_value()), Ok(event));
        }
        let error = RunEvent::from_value(json!({"kind": "nap", "event": {}})).unwrap_err();
        assert_eq!(error.path(), "kind");
    }
}
