//! What an agent leaves behind: run records, the contexts and patches in them,
//! and the loggers that collect them.
//!
//! The JSON is the one CEMAF writes in Python, key for key, and what Python's
//! `json` module can write this crate reads and writes back unchanged ([`json`]).
//! Keys that this version does not know stay with the value they came on.
//!
//! [`OfflineRunLogger`] stores each run in an [`OfflineQueue`] before anything else; a
//! courier ([`backhaul_sync`]) delivers it to the primary logger when the link allows,
//! over HTTP where that is a [`CloudRunLogger`]. No other part of this crate uses the
//! network, and none starts a thread but where its text says so.
//!
//! ```
//! use backhaul_agent::{InMemoryRunLogger, RunEnd, RunLogger, RunStart, ToolCall};
//! use serde_json::json;
//!
//! let logger = InMemoryRunLogger::new();
//! logger.start_run(RunStart::new("run_001").dag_name("sensor_dag"));
//! logger.record_tool_call(ToolCall::new("thermometer", json!({}), json!({"celsius": 21.5})));
//! let record = logger.end_run(RunEnd::new())?;
//!
//! assert_eq!(record.run_id, "run_001");
//! assert_eq!(record.total_tool_calls(), 1);
//! # Ok::<(), backhaul_agent::RunLoggerError>(())
//! ```

pub mod time;

mod cloud_run_logger;
mod context;
mod context_diff;
mod context_error;
mod context_json;
mod context_typed;
mod fallback;
mod fields;
mod held;
mod id;
mod in_memory_run_logger;
mod journal;
mod journal_alarm;
mod llm_call;
mod lock;
mod merge_branches;
mod no_op_run_logger;
mod offline_run_logger;
mod patch;
mod patch_history;
mod patch_log;
mod path;
mod provenance;
mod queue;
mod queue_error;
mod recovery;
mod run_builder;
mod run_entry;
mod run_handle;
mod run_logger;
mod run_logger_destination;
mod run_record;
mod run_span;
mod run_summary;
mod shape;
mod shared_list;
mod shared_object;
mod shared_run_logger;
mod shared_value;
mod shared_walk;
mod shorten;
mod tool_call;

pub use backhaul_json as json;
pub use cloud_run_logger::{CloudConfigError, CloudRunLogger, CloudRunLoggerBuilder};
pub use context::Context;
pub use context_error::ContextError;
pub use fields::FieldError;
pub use in_memory_run_logger::InMemoryRunLogger;
pub use llm_call::LlmCall;
pub use merge_branches::{
    MergeConflict, MergeConflictError, MergeResult, MergeStrategy, UnknownMergeStrategy,
};
pub use no_op_run_logger::NoOpRunLogger;
pub use offline_run_logger::{OfflineRunLogger, OfflineRunLoggerBuilder};
pub use patch::{ContextPatch, PatchOperation, PatchSource};
pub use patch_log::PatchLog;
pub use provenance::{ProvenanceChain, ProvenanceLink, SourceReference};
pub use queue::{Enqueued, OfflineQueue, OfflineQueueBuilder, QueueStats};
pub use queue_error::{QueueError, QueueErrorKind};
pub use run_builder::{RunBuilder, RunEvent};
pub use run_entry::describe_run;
pub use run_handle::{RunHandle, RunSink};
pub use run_logger::{DeliverError, DeliverErrorKind, RunLogger, RunLoggerError};
pub use run_logger_destination::RunLoggerDestination;
pub use run_record::{RecordError, RunRecord, is_critical};
pub use run_span::{RunEnd, RunStart};
pub use run_summary::summarize_run;
pub use shared_run_logger::{ParallelRunLogger, SharedRunLogger};
pub use tool_call::ToolCall;
