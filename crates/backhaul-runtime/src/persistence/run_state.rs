//! All that is known of a run: what its steps come to.

use std::collections::BTreeMap;

use backhaul_agent::{Context, ContextError, ContextPatch};

use super::run_step::{NodeRecord, RunStep};
use crate::run_status::RunStatus;

/// All that is known of a run. The live one and the one that is recovered are made by the same
/// steps, in the same way.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RunState {
    /// The run.
    pub run_id: String,
    /// The graph that it runs.
    pub dag_name: String,
    /// The graph's digest, where it is known: a run goes on with the graph it began with.
    pub dag_digest: Option<String>,
    /// How far it is. One that was interrupted is running.
    pub status: RunStatus,
    /// The context of now.
    pub context: Context,
    /// The nodes that have ended or were skipped, in the order in which they did.
    pub nodes: Vec<NodeRecord>,
    /// Nodes that have not ended, where the graph's nodes are known.
    pub pending: Vec<String>,
    /// Nodes that were begun and have not ended, and the attempt that they are at: what they do
    /// may have happened.
    pub begun: BTreeMap<String, u32>,
    /// What went wrong.
    pub error: Option<String>,
    /// Patches so far, those of runs before this one not counted.
    pub(super) patch_count: u64,
}

impl RunState {
    /// A run that begins.
    pub fn new(
        run_id: impl Into<String>,
        dag_name: impl Into<String>,
        context: impl Into<Context>,
    ) -> Self {
        Self {
            run_id: run_id.into(),
            dag_name: dag_name.into(),
            dag_digest: None,
            status: RunStatus::Running,
            context: context.into(),
            nodes: Vec::new(),
            pending: Vec::new(),
            begun: BTreeMap::new(),
            error: None,
            patch_count: 0,
        }
    }

    /// Says which graph it is.
    #[must_use]
    pub fn dag_digest(self, digest: impl Into<String>) -> Self {
        Self { dag_digest: Some(digest.into()), ..self }
    }

    /// Says which nodes it has.
    #[must_use]
    pub fn pending(self, node_ids: impl IntoIterator<Item = String>) -> Self {
        Self { pending: node_ids.into_iter().collect(), ..self }
    }

    /// Whether it can go on: it was interrupted, or failed.
    pub fn can_resume(&self) -> bool {
        matches!(self.status, RunStatus::Pending | RunStatus::Running | RunStatus::Failed)
    }

    /// What came of a node, where it has ended.
    pub fn node(&self, node_id: &str) -> Option<&NodeRecord> {
        self.nodes.iter().find(|node| node.node_id == node_id)
    }

    /// Takes a step. Nothing is changed where it cannot be taken.
    ///
    /// # Errors
    /// For a patch that cannot be applied.
    pub fn take(&mut self, step: &RunStep) -> Result<(), ContextError> {
        match step {
            RunStep::Patch(patch) => self.apply(std::slice::from_ref(patch))?,
            RunStep::NodeStarted { node_id, attempt } => {
                self.begun.insert(node_id.clone(), *attempt);
            }
            RunStep::NodeFinished(node) => {
                self.apply(&node.patches)?;
                self.begun.remove(&node.node_id);
                self.pending.retain(|pending| *pending != node.node_id);
                // Its patches are in the context.
                self.nodes.push(NodeRecord { patches: Vec::new(), ..node.clone() });
            }
            RunStep::Resumed => self.reopen(),
            RunStep::Ended { status, error } => {
                self.status = *status;
                self.error.clone_from(error);
            }
        }
        Ok(())
    }

    fn apply(&mut self, patches: &[ContextPatch]) -> Result<(), ContextError> {
        let mut context = self.context.clone();
        for patch in patches {
            context = context.apply(patch)?;
        }
        self.context = context;
        self.patch_count += patches.len() as u64;
        Ok(())
    }

    fn reopen(&mut self) {
        let stays = |node: &NodeRecord| match node.success {
            Some(true) => true,
            Some(false) => !node.leads_to.is_empty(),
            None => false,
        };
        let (stay, open) = std::mem::take(&mut self.nodes).into_iter().partition(stays);
        self.nodes = stay;
        self.pending.extend(open.into_iter().map(|node: NodeRecord| node.node_id));
        self.status = RunStatus::Running;
        self.error = None;
    }
}
