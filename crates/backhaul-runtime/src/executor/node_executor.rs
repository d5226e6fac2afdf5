//! What runs nodes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::node_call::NodeCall;
use super::node_error::NodeError;
use super::node_output::NodeOutput;
use crate::dag::Node;

/// What a node's executor gives.
pub type NodeFuture<'a> = Pin<Box<dyn Future<Output = Result<NodeOutput, NodeError>> + Send + 'a>>;

/// Runs the nodes of graphs.
///
/// All nodes of a run are polled in one task: what computes for long, or waits for a disk,
/// belongs into `spawn_blocking`. A future that is dropped was cancelled, or took too long.
pub trait NodeExecutor: Send + Sync + 'static {
    /// Makes one attempt.
    fn execute_node<'a>(&'a self, call: &'a NodeCall) -> NodeFuture<'a>;

    /// Whether it can run a node at all. It is asked of every node before a run begins, so that
    /// a mistake is found before anything has happened. By default it can.
    ///
    /// # Errors
    /// Why it cannot, and what to do.
    fn check(&self, node: &Node) -> Result<(), String> {
        let _ = node;
        Ok(())
    }
}

impl<E: NodeExecutor + ?Sized> NodeExecutor for Arc<E> {
    fn execute_node<'a>(&'a self, call: &'a NodeCall) -> NodeFuture<'a> {
        (**self).execute_node(call)
    }

    fn check(&self, node: &Node) -> Result<(), String> {
        (**self).check(node)
    }
}
