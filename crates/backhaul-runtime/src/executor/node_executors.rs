//! One executor per kind of node.

use std::fmt;
use std::sync::Arc;

use super::node_call::NodeCall;
use super::node_error::NodeError;
use super::node_executor::{NodeExecutor, NodeFuture};
use crate::dag::{Node, NodeKind};

/// One executor per kind of node.
///
/// ```
/// use backhaul_runtime::dag::Node;
/// use backhaul_runtime::executor::{FunctionNodes, NodeExecutor, NodeExecutors};
/// let nodes = NodeExecutors::new()
///     .functions(FunctionNodes::new().with_plain("act", |_| "done"));
/// assert!(nodes.check(&Node::function("act", "act")).is_ok());
/// assert_eq!(
///     nodes.check(&Node::llm("decide")).unwrap_err(),
///     "nothing runs models: give `NodeExecutors::llm` an executor",
/// );
/// ```
#[derive(Clone, Default)]
pub struct NodeExecutors {
    functions: Option<Arc<dyn NodeExecutor>>,
    tools: Option<Arc<dyn NodeExecutor>>,
    llm: Option<Arc<dyn NodeExecutor>>,
}

impl NodeExecutors {
    /// Nothing is run.
    pub fn new() -> Self {
        Self::default()
    }

    /// What runs functions, such as [`FunctionNodes`](super::FunctionNodes).
    #[must_use]
    pub fn functions(self, executor: impl NodeExecutor) -> Self {
        Self { functions: Some(Arc::new(executor)), ..self }
    }

    /// What calls tools.
    #[must_use]
    pub fn tools(self, executor: impl NodeExecutor) -> Self {
        Self { tools: Some(Arc::new(executor)), ..self }
    }

    /// What asks models, such as [`LlmNodeExecutor`](super::LlmNodeExecutor).
    #[must_use]
    pub fn llm(self, executor: impl NodeExecutor) -> Self {
        Self { llm: Some(Arc::new(executor)), ..self }
    }

    fn of(&self, node: &Node) -> Result<&dyn NodeExecutor, String> {
        let (executor, what, method) = match node.kind {
            NodeKind::Function { .. } => (&self.functions, "functions", "functions"),
            NodeKind::Tool { .. } => (&self.tools, "tools", "tools"),
            NodeKind::Llm { .. } => (&self.llm, "models", "llm"),
        };
        let missing = || format!("nothing runs {what}: give `NodeExecutors::{method}` an executor");
        executor.as_deref().ok_or_else(missing)
    }
}

impl NodeExecutor for NodeExecutors {
    fn execute_node<'a>(&'a self, call: &'a NodeCall) -> NodeFuture<'a> {
        match self.of(call.node()) {
            Ok(executor) => executor.execute_node(call),
            Err(why) => Box::pin(std::future::ready(Err(NodeError::fatal(why)))),
        }
    }

    fn check(&self, node: &Node) -> Result<(), String> {
        self.of(node)?.check(node)
    }
}

impl fmt::Debug for NodeExecutors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeExecutors")
            .field("functions", &self.functions.is_some())
            .field("tools", &self.tools.is_some())
            .field("llm", &self.llm.is_some())
            .finish()
    }
}
