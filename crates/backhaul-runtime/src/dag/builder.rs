//! A graph while it is put together.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::check::check;
use super::condition::Condition;
use super::edge::{Edge, EdgeCondition};
use super::error::{DagError, DagProblem};
use super::graph::Dag;
use super::node::Node;
use super::topology::Topology;

/// A graph while it is put together, begun by [`Dag::new`]. Nodes and edges come in any order;
/// nothing is checked before [`DagBuilder::build`].
#[derive(Debug, Clone)]
#[must_use = "it is no graph before it is built"]
pub struct DagBuilder {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    pub(super) entry: Option<String>,
    pub(super) metadata: Map<String, Value>,
    /// What was wrong with the text that it was read from.
    pub(super) problems: Vec<DagProblem>,
}

impl DagBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            description: String::new(),
            nodes: Vec::new(),
            edges: Vec::new(),
            entry: None,
            metadata: Map::new(),
            problems: Vec::new(),
        }
    }

    /// Says what the graph is for.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Adds a node.
    pub fn node(mut self, node: Node) -> Self {
        self.nodes.push(node);
        self
    }

    /// Lets `target` wait for the success of `source`.
    pub fn edge(self, source: impl Into<String>, target: impl Into<String>) -> Self {
        self.edge_if(source, target, EdgeCondition::OnSuccess)
    }

    /// Lets `target` wait for the failure of `source`, which is handled by that.
    pub fn edge_on_failure(self, source: impl Into<String>, target: impl Into<String>) -> Self {
        self.edge_if(source, target, EdgeCondition::OnFailure)
    }

    /// Lets `target` wait for the end of `source`, whatever comes of it.
    pub fn edge_always(self, source: impl Into<String>, target: impl Into<String>) -> Self {
        self.edge_if(source, target, EdgeCondition::Always)
    }

    /// Lets `target` wait for the success of `source`, and run if the context it leaves behind
    /// is like this.
    pub fn edge_when(
        self,
        source: impl Into<String>,
        target: impl Into<String>,
        condition: Condition,
    ) -> Self {
        self.edge_if(source, target, EdgeCondition::When(condition))
    }

    /// Adds an edge of any kind.
    pub fn edge_if(
        mut self,
        source: impl Into<String>,
        target: impl Into<String>,
        condition: EdgeCondition,
    ) -> Self {
        self.edges.push(Edge { source: source.into(), target: target.into(), condition });
        self
    }

    /// Names the one node that the graph begins with; a way must lead from there to every other.
    /// Default: it begins with every node that waits for none.
    pub fn entry(mut self, id: impl Into<String>) -> Self {
        self.entry = Some(id.into());
        self
    }

    /// Adds an entry to what else is to be known of it.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Checks the graph as a whole.
    ///
    /// # Errors
    /// Everything that is wrong with it ([`DagProblemKind`](super::DagProblemKind)).
    pub fn build(self) -> Result<Dag, DagError> {
        let topology = Topology::of(&self.nodes, &self.edges);
        let unread: HashSet<&str> = self.problems.iter().map(DagProblem::at).collect();
        let found = check(&self, &topology).into_iter();
        // What could not be read is not also missing.
        let found = found.filter(|problem| !unread.contains(problem.at()));
        let problems: Vec<DagProblem> = self.problems.iter().cloned().chain(found).collect();
        if !problems.is_empty() {
            return Err(DagError::new(self.name, problems));
        }
        let Self { name, description, nodes, edges, entry, metadata, .. } = self;
        Ok(Dag { name, description, nodes, edges, entry, metadata, topology })
    }
}
