//! What a run begins with.

use std::collections::BTreeMap;
use std::sync::Arc;

use backhaul_agent::Context;

use super::cancellation::CancellationToken;
use super::execution_result::NodeResult;
use super::keeper::Keeper;
use super::recorder::Recorder;
use crate::dag::Schedule;

/// What a run begins with, or goes on with.
pub(super) struct Beginning {
    pub(super) run_id: Arc<str>,
    pub(super) schedule: Schedule,
    pub(super) context: Context,
    /// What has come of nodes before.
    pub(super) node_results: Vec<NodeResult>,
    /// What is known of attempts in earlier processes at nodes that have not ended.
    pub(super) past: BTreeMap<String, Past>,
    pub(super) recorder: Recorder,
    pub(super) keeper: Keeper,
    pub(super) cancellation: CancellationToken,
}

/// Earlier attempts at a node that has not ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Past {
    pub(super) attempts: u32,
    /// The last one was begun, and has not ended.
    pub(super) is_begun: bool,
    pub(super) may_have_happened: bool,
}

impl Past {
    /// The last attempt that may be made. One that has not ended counts as a failure, but there
    /// is always another one; what has failed for good begins to count again.
    pub(super) fn last_attempt(self, max_attempts: u32) -> u32 {
        let next = self.attempts.saturating_add(1);
        match self.is_begun {
            true => max_attempts.max(next),
            false => self.attempts.saturating_add(max_attempts.max(1)),
        }
    }
}
