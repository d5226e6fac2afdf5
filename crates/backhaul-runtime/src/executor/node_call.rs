//! One attempt at a node, as its executor gets it.

use std::sync::Arc;

use backhaul_agent::Context;
use serde_json::{Map, Value};

use super::cancellation::CancellationToken;
use super::recorder::Recorder;
use crate::dag::{Dag, Node, NodeIndex};

/// One attempt at a node, as its executor gets it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeCall {
    /// The context as it was when the node began: the same for all attempts of one process.
    pub context: Context,
    /// The arguments, as the node's `input_mapping` says.
    pub inputs: Map<String, Value>,
    /// The run.
    pub run_id: Arc<str>,
    /// What this step of the run is known by, in every attempt and every process: the run's id,
    /// a slash and the node's. Keys of effects are made of it.
    pub step: Arc<str>,
    /// Which attempt it is, from 1, over all processes.
    pub attempt: u32,
    /// Whether an earlier attempt may have done it: its process was killed, it took too long and
    /// was given up, it panicked, or its error [says so](super::NodeError::may_have_happened).
    pub may_have_happened: bool,
    /// Whether the run is to stop. An attempt that is cancelled is dropped where it waits; one
    /// that computes may look here.
    pub cancellation: CancellationToken,
    pub(super) recorder: Recorder,
    pub(super) dag: Arc<Dag>,
    pub(super) index: NodeIndex,
}

impl NodeCall {
    /// The node.
    pub fn node(&self) -> &Node {
        &self.dag[self.index]
    }

    /// The graph that it is part of.
    pub fn dag(&self) -> &Arc<Dag> {
        &self.dag
    }

    /// An argument.
    pub fn input(&self, name: &str) -> Option<&Value> {
        self.inputs.get(name)
    }

    /// Tells the run's logger what happens.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }
}
