//! What has come of a run.

use backhaul_agent::Context;

use super::execution_result::NodeResult;
use super::merge::NodeConflict;
use crate::persistence::RunStep;
use crate::run_status::RunStatus;

/// How a run ended.
pub(super) struct End {
    pub(super) status: RunStatus,
    pub(super) error: Option<String>,
}

impl End {
    pub(super) fn step(&self) -> RunStep {
        RunStep::Ended { status: self.status, error: self.error.clone() }
    }
}

/// What has come of a run.
pub(super) struct Ran {
    pub(super) end: End,
    pub(super) context: Context,
    pub(super) node_results: Vec<NodeResult>,
    pub(super) conflicts: Vec<NodeConflict>,
    pub(super) persistence_error: Option<String>,
}
