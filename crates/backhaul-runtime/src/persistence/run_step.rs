//! What happens in a run.

use backhaul_agent::ContextPatch;
use serde_json::Value;

use crate::run_status::RunStatus;

/// One thing that happens in a run, and is written down.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RunStep {
    /// The context changes.
    Patch(ContextPatch),
    /// A node is about to begin. What it does may have happened from here on.
    NodeStarted {
        /// Its id.
        node_id: String,
        /// Which attempt it is, from 1.
        attempt: u32,
    },
    /// A node has ended, well or not, or was skipped; the changes that it makes are part of it.
    NodeFinished(NodeRecord),
    /// The run goes on after it was interrupted or had failed. A failure that no other node
    /// handled is forgotten, and so is what was skipped.
    Resumed,
    /// The run has ended.
    Ended {
        /// How.
        status: RunStatus,
        /// What went wrong.
        error: Option<String>,
    },
}

/// What came of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeRecord {
    /// Its id.
    pub node_id: String,
    /// Whether it did what it was to do; `None`: it was skipped.
    pub success: Option<bool>,
    /// What it gave.
    pub output: Value,
    /// What went wrong.
    pub error: Option<String>,
    /// How long it took, in milliseconds, all attempts together.
    pub duration_ms: f64,
    /// How often it was tried.
    pub attempts: u32,
    /// Whether what it does may have happened although it failed: an attempt was given up, or
    /// its process was killed.
    pub may_have_happened: bool,
    /// The nodes that the run goes on to from here: the targets of the edges whose condition
    /// held.
    pub leads_to: Vec<String>,
    /// How the context changes.
    pub patches: Vec<ContextPatch>,
}

impl NodeRecord {
    /// A node that did what it was to do, in no time, and changes nothing.
    pub fn succeeded(node_id: impl Into<String>, output: impl Into<Value>) -> Self {
        Self {
            node_id: node_id.into(),
            success: Some(true),
            output: output.into(),
            error: None,
            duration_ms: 0.0,
            attempts: 1,
            may_have_happened: false,
            leads_to: Vec::new(),
            patches: Vec::new(),
        }
    }

    /// A node that failed.
    pub fn failed(node_id: impl Into<String>, error: impl Into<String>) -> Self {
        let error = Some(error.into());
        Self { success: Some(false), error, ..Self::succeeded(node_id, Value::Null) }
    }

    /// A node that was not to run.
    pub fn skipped(node_id: impl Into<String>) -> Self {
        Self { success: None, attempts: 0, ..Self::succeeded(node_id, Value::Null) }
    }
}
