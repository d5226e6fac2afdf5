//! The record of one run, and its JSON.

use std::fmt;

use backhaul_store::{Lane, Timestamp};
use serde_json::{Map, Value};

use crate::context::Context;
use crate::fields::{FieldError, Fields, Spelling};
use crate::json::{self, JsonError, Style};
use crate::llm_call::LlmCall;
use crate::patch::ContextPatch;
use crate::patch_log::PatchLog;
use crate::provenance::ProvenanceChain;
use crate::shape::{Node, Shape};
use crate::time;
use crate::tool_call::ToolCall;

/// Everything that happened in one run.
///
/// The JSON is upstream's, key for key, with what its later generation (G2) added. Reading
/// and writing back changes nothing but spacing: unknown keys are kept on every level (at
/// the end), numbers and times keep their spelling until they are changed. Three things
/// differ from upstream on purpose: unknown keys are not lost, an empty context reads back
/// as an empty context and not as none, and `total_cost_usd` is added to records that came
/// without it.
///
/// ```
/// use backhaul_agent::RunRecord;
///
/// let record = RunRecord::from_json(br#"{"run_id": "run_001", "later": [1e-05, NaN]}"#)?;
/// assert!(record.success);
/// assert!(record.to_json().ends_with(br#""later":[1e-05,NaN]}"#));
/// # Ok::<(), backhaul_agent::RecordError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Names the run; its only required field.
    pub run_id: String,
    /// The DAG that ran; empty for none.
    pub dag_name: String,
    /// The context before the first step.
    pub initial_context: Option<Context>,
    /// The context after the last step.
    pub final_context: Option<Context>,
    /// Every change of the context, oldest first.
    pub patches: Vec<ContextPatch>,
    /// Every tool call, oldest first.
    pub tool_calls: Vec<ToolCall>,
    /// Every model call, oldest first.
    pub llm_calls: Vec<LlmCall>,
    /// When the run began, by the wall clock of the device.
    pub started_at: Timestamp,
    /// When it ended; `None` while it is running.
    pub completed_at: Option<Timestamp>,
    /// Whether it succeeded; true while it is running, too.
    pub success: bool,
    /// What went wrong.
    pub error: Option<String>,
    /// What else is known; `critical` and `stream` mean something to the queue.
    pub metadata: Map<String, Value>,
    /// What the model calls cost, in US dollars.
    pub total_cost_usd: f64,
    /// Where the contexts of the model calls came from.
    pub provenance_chain: Option<ProvenanceChain>,
    /// Summaries of how sources were chosen, as JSON.
    pub selection_summaries: Vec<Value>,
    /// Keys that this version does not know.
    pub extra: Map<String, Value>,
    spelling: Spelling,
}

impl RunRecord {
    /// An empty record of a run that began at `started_at`.
    pub fn new(run_id: impl Into<String>, started_at: Timestamp) -> Self {
        Self {
            run_id: run_id.into(),
            dag_name: String::new(),
            initial_context: None,
            final_context: None,
            patches: Vec::new(),
            tool_calls: Vec::new(),
            llm_calls: Vec::new(),
            started_at,
            completed_at: None,
            success: true,
            error: None,
            metadata: Map::new(),
            total_cost_usd: 0.0,
            provenance_chain: None,
            selection_summaries: Vec::new(),
            extra: Map::new(),
            spelling: Spelling::default(),
        }
    }

    /// From the beginning to the end, in milliseconds; 0.0 until the run has ended, and
    /// when the clock went backwards meanwhile.
    pub fn duration_ms(&self) -> f64 {
        let ended = self.completed_at.unwrap_or(self.started_at);
        let micros = (ended.as_micros() - self.started_at.as_micros()).max(0);
        // The steps of Python's `total_seconds() * 1000`, so that the digits agree.
        micros as f64 / 1e6 * 1e3
    }

    /// How many tool calls there are.
    pub fn total_tool_calls(&self) -> usize {
        self.tool_calls.len()
    }

    /// How many model calls there are.
    pub fn total_llm_calls(&self) -> usize {
        self.llm_calls.len()
    }

    /// How many patches there are.
    pub fn total_patches(&self) -> usize {
        self.patches.len()
    }

    /// Tokens of all model calls, in and out; at most `u64::MAX`.
    pub fn total_tokens(&self) -> u64 {
        self.llm_calls.iter().map(LlmCall::total_tokens).fold(0, u64::saturating_add)
    }

    /// The patches as a log.
    pub fn get_patch_log(&self) -> PatchLog {
        self.patches.iter().cloned().collect()
    }

    /// Whether `metadata.critical` is true: such a record goes first.
    pub fn is_critical(&self) -> bool {
        is_critical(&self.metadata)
    }

    /// How urgent it is to the store, where no rules say more.
    pub(crate) fn lane(&self) -> Lane {
        if self.is_critical() { Lane::Critical } else { Lane::Normal }
    }

    /// The fields of upstream's `run_summary.json`, in its order.
    pub fn summary(&self) -> Value {
        let spelling = Spelling::default();
        let mut shape = Shape::new(&spelling);
        shape
            .text("run_id", &self.run_id)
            .text("dag_name", &self.dag_name)
            .flag("success", self.success)
            .optional_text("error", self.error.as_deref())
            .time("started_at", self.started_at)
            .optional_time("completed_at", self.completed_at)
            .float("duration_ms", self.duration_ms())
            .count("total_tokens", self.total_tokens())
            .float("total_cost_usd", self.total_cost_usd)
            .node("total_llm_calls", Node::Owned(self.total_llm_calls().into()))
            .node("total_tool_calls", Node::Owned(self.total_tool_calls().into()))
            .node("total_patches", Node::Owned(self.total_patches().into()));
        shape.finish(&Map::new()).into_value()
    }

    /// The record as compact JSON.
    pub fn to_json(&self) -> Vec<u8> {
        self.to_json_styled(Style::Compact)
    }

    /// The record as JSON indented by two spaces.
    pub fn to_json_pretty(&self) -> Vec<u8> {
        self.to_json_styled(Style::Pretty)
    }

    /// The record as JSON in a style of its own.
    pub fn to_json_styled(&self, style: Style) -> Vec<u8> {
        self.shape().to_vec(style)
    }

    /// The record as a JSON value: a deep copy.
    pub fn to_value(&self) -> Value {
        self.shape().into_value()
    }

    /// Reads a record. Only `run_id` is required: a missing `started_at` is now, by the
    /// clock of the machine, and a missing `success` is true.
    ///
    /// # Errors
    /// When the bytes are not JSON, or a field holds something unexpected: `null` for a
    /// list, a text for a number. The error names the place.
    pub fn from_json(json: &[u8]) -> Result<Self, RecordError> {
        Self::from_json_at(json, time::now())
    }

    /// Reads a record as [`RunRecord::from_json`] does, with `now` for missing times.
    ///
    /// # Errors
    /// The same.
    pub fn from_json_at(json: &[u8], now: Timestamp) -> Result<Self, RecordError> {
        let value = json::from_slice(json)?;
        Ok(Self::from_value_at(value, now)?)
    }

    /// Reads a record from a JSON value, with `now` for missing times.
    ///
    /// # Errors
    /// When a field holds something unexpected.
    pub fn from_value_at(value: Value, now: Timestamp) -> Result<Self, FieldError> {
        Self::read(Fields::of_document(value, now)?)
    }

    fn read(mut fields: Fields) -> Result<Self, FieldError> {
        let mut record = Self {
            run_id: fields.required_text("run_id")?,
            dag_name: fields.text("dag_name")?,
            initial_context: read_context(&mut fields, "initial_context")?,
            final_context: read_context(&mut fields, "final_context")?,
            patches: fields.list_of("patches", ContextPatch::read)?,
            tool_calls: fields.list_of("tool_calls", ToolCall::read)?,
            llm_calls: fields.list_of("llm_calls", LlmCall::read)?,
            started_at: fields.time("started_at")?,
            completed_at: fields.optional_time("completed_at")?,
            success: fields.flag_or("success", true)?,
            error: fields.optional_text("error")?,
            metadata: fields.object("metadata")?,
            total_cost_usd: fields.float("total_cost_usd")?,
            provenance_chain: fields.sparse("provenance_chain", |fields, key| {
                fields.optional(key, ProvenanceChain::read)
            })?,
            selection_summaries: fields
                .sparse("selection_summaries", |fields, key| fields.list(key))?,
            extra: Map::new(),
            spelling: Spelling::default(),
        };
        (record.extra, record.spelling) = fields.finish();
        Ok(record)
    }

    pub(crate) fn shape(&self) -> Node<'_> {
        let summaries = &self.selection_summaries;
        let mut shape = Shape::new(&self.spelling);
        shape
            .text("run_id", &self.run_id)
            .text("dag_name", &self.dag_name)
            .node("initial_context", context_node(self.initial_context.as_ref()))
            .node("final_context", context_node(self.final_context.as_ref()))
            .node("patches", Node::list(&self.patches, ContextPatch::shape))
            .node("tool_calls", Node::list(&self.tool_calls, ToolCall::shape))
            .node("llm_calls", Node::list(&self.llm_calls, LlmCall::shape))
            .time("started_at", self.started_at)
            .optional_time("completed_at", self.completed_at)
            .flag("success", self.success)
            .optional_text("error", self.error.as_deref())
            .map("metadata", &self.metadata)
            .float("total_cost_usd", self.total_cost_usd)
            .sparse("provenance_chain", self.provenance_chain.as_ref().map(ProvenanceChain::shape))
            .sparse(
                "selection_summaries",
                (!summaries.is_empty()).then(|| Node::values(summaries)),
            );
        shape.finish(&self.extra)
    }
}

/// Whether metadata say that their run is critical: `critical` is true.
pub fn is_critical(metadata: &Map<String, Value>) -> bool {
    metadata.get("critical") == Some(&Value::Bool(true))
}

fn read_context(fields: &mut Fields, key: &'static str) -> Result<Option<Context>, FieldError> {
    match fields.take(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(data)) => Ok(Some(Context::from(data))),
        Some(other) => Err(fields.error(key, Some(&other), "an object or null")),
    }
}

fn context_node(context: Option<&Context>) -> Node<'_> {
    context.map_or(Node::Owned(Value::Null), |context| Node::Shared(context.data()))
}

/// Why bytes are not a run record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// They are not JSON.
    Syntax(JsonError),
    /// They are JSON, and a field holds something unexpected.
    Field(FieldError),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => write!(f, "not JSON: {error}"),
            Self::Field(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RecordError {}

impl From<JsonError> for RecordError {
    fn from(error: JsonError) -> Self {
        Self::Syntax(error)
    }
}

impl From<FieldError> for RecordError {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}
