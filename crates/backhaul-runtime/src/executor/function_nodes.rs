//! Nodes that are functions of the program.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;

use super::node_call::NodeCall;
use super::node_error::NodeError;
use super::node_executor::{NodeExecutor, NodeFuture};
use super::node_output::NodeOutput;
use crate::dag::{Node, NodeKind};

type Function = Box<dyn Fn(NodeCall) -> NodeFuture<'static> + Send + Sync>;

/// Functions of the program, by name, for nodes of the kind [`NodeKind::Function`].
///
/// ```
/// use backhaul_runtime::executor::{FunctionNodes, NodeCall};
/// let functions = FunctionNodes::new()
///     .with("read", |call: NodeCall| async move {
///         let path = call.input("path").and_then(|path| path.as_str()).unwrap_or("/dev/null");
///         Ok(std::fs::read_to_string(path)?)
///     })
///     .with_plain("twice", |call: &NodeCall| call.input("n").and_then(|n| n.as_i64()).map(|n| 2 * n));
/// assert_eq!(functions.names().collect::<Vec<_>>(), ["read", "twice"]);
/// ```
#[derive(Default)]
pub struct FunctionNodes {
    functions: BTreeMap<String, Function>,
}

impl FunctionNodes {
    /// No functions.
    pub fn new() -> Self {
        Self::default()
    }

    /// With an async function, in place of an earlier one of the name.
    #[must_use]
    pub fn with<F, O>(
        mut self,
        name: impl Into<String>,
        function: impl Fn(NodeCall) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<O, NodeError>> + Send + 'static,
        O: Into<NodeOutput>,
    {
        let function = move |call| -> NodeFuture<'static> {
            let running = function(call);
            Box::pin(async move { running.await.map(Into::into) })
        };
        self.functions.insert(name.into(), Box::new(function));
        self
    }

    /// With a function that only computes, and cannot fail.
    #[must_use]
    pub fn with_plain<O: Into<NodeOutput>>(
        mut self,
        name: impl Into<String>,
        function: impl Fn(&NodeCall) -> O + Send + Sync + 'static,
    ) -> Self {
        let function = move |call| -> NodeFuture<'static> {
            let output = function(&call).into();
            Box::pin(std::future::ready(Ok(output)))
        };
        self.functions.insert(name.into(), Box::new(function));
        self
    }

    /// The names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.functions.keys().map(String::as_str)
    }

    fn find(&self, node: &Node) -> Result<&Function, String> {
        let NodeKind::Function { function } = &node.kind else {
            return Err(format!(
                "it is no function, and only functions can be run: {:?}",
                node.kind
            ));
        };
        self.functions.get(function).ok_or_else(|| {
            let known: Vec<_> = self.names().map(|name| format!("`{name}`")).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            format!("no function is called `{function}`; those that are registered: {known}")
        })
    }
}

impl NodeExecutor for FunctionNodes {
    fn execute_node<'a>(&'a self, call: &'a NodeCall) -> NodeFuture<'a> {
        match self.find(call.node()) {
            Ok(function) => function(call.clone()),
            Err(why) => Box::pin(std::future::ready(Err(NodeError::fatal(why)))),
        }
    }

    fn check(&self, node: &Node) -> Result<(), String> {
        self.find(node).map(drop)
    }
}

impl fmt::Debug for FunctionNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
