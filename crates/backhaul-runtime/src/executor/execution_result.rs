//! What came of a run.

use backhaul_agent::Context;
use backhaul_store::Timestamp;
use serde_json::{Map, Value};

use super::merge::NodeConflict;
use crate::persistence::NodeRecord;
use crate::run_status::RunStatus;

/// What came of a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ExecutionResult {
    /// The run.
    pub run_id: String,
    /// The graph.
    pub dag_name: String,
    /// How it ended.
    pub status: RunStatus,
    /// What came of each node, in the order in which they ended or were skipped; of a run that
    /// went on, with the nodes of before.
    pub node_results: Vec<NodeResult>,
    /// The context as the run left it.
    pub final_context: Context,
    /// What went wrong.
    pub error: Option<String>,
    /// When it began; of a run that went on, when it went on.
    pub started_at: Timestamp,
    /// When it ended.
    pub completed_at: Timestamp,
    /// Changes of nodes that ran at the same time and met; of a run that went on, those since.
    pub conflicts: Vec<NodeConflict>,
    /// What was given with [`RunOptions`](super::RunOptions); `resumed` and `finished_before` of
    /// a run that went on; and `persistence_error` where not all of the run is on disk.
    pub metadata: Map<String, Value>,
}

impl ExecutionResult {
    /// Whether the run came to its end.
    pub fn success(&self) -> bool {
        self.status == RunStatus::Completed
    }

    /// How long it took, in milliseconds, by the wall clock.
    pub fn duration_ms(&self) -> f64 {
        self.completed_at.since(self.started_at).as_secs_f64() * 1_000.0
    }

    /// What came of a node.
    pub fn node(&self, node_id: &str) -> Option<&NodeResult> {
        self.node_results.iter().find(|node| node.node_id == node_id)
    }
}

/// What came of a node.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NodeResult {
    /// The node.
    pub node_id: String,
    /// Whether it did what it is for; `None`: it was skipped.
    pub success: Option<bool>,
    /// What it gave.
    pub output: Value,
    /// What went wrong, the last time.
    pub error: Option<String>,
    /// How long its attempts took in this process, in milliseconds, without the waits between
    /// them.
    pub duration_ms: f64,
    /// How often it was tried, over all processes.
    pub attempts: u32,
    /// What its executor says of how it came about. That of earlier processes is not kept.
    pub metadata: Map<String, Value>,
}

impl NodeResult {
    pub(super) fn skipped(node_id: impl Into<String>) -> Self {
        NodeRecord::skipped(node_id).into()
    }

    pub(super) fn failed(node_id: impl Into<String>, error: impl Into<String>) -> Self {
        NodeRecord::failed(node_id, error).into()
    }
}

impl From<NodeRecord> for NodeResult {
    fn from(record: NodeRecord) -> Self {
        Self {
            node_id: record.node_id,
            success: record.success,
            output: record.output,
            error: record.error,
            duration_ms: record.duration_ms,
            attempts: record.attempts,
            metadata: Map::new(),
        }
    }
}
