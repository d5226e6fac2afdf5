//! A graph that was checked.

use std::ops::Index;

use serde_json::{Map, Value};

use super::builder::DagBuilder;
use super::edge::Edge;
use super::error::DagError;
use super::node::Node;
use super::topology::Topology;
use super::{digest, mermaid, read, toml_text, write};

/// A directed graph without cycles: the steps of a run and what each waits for. It was checked
/// when it was built, and never changes.
///
/// ```
/// use backhaul_runtime::dag::{Condition, Dag, Node};
/// let dag = Dag::new("sensor_dag")
///     .node(Node::tool("read", "read_sensors").output_key("reading"))
///     .node(Node::llm("decide").prompt("Is {reading} too hot?").output_key("decision"))
///     .node(Node::function("act", "act_on"))
///     .edge("read", "decide")
///     .edge_when("decide", "act", Condition::equals("decision.alarm", true))
///     .build()?;
/// assert_eq!(Dag::from_value(dag.to_value())?, dag);
/// # Ok::<(), backhaul_runtime::dag::DagError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dag {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    pub(super) entry: Option<String>,
    pub(super) metadata: Map<String, Value>,
    pub(super) topology: Topology,
}

/// The place of a node in the order in which the nodes of its graph were declared, from 0.
/// Whatever takes one panics for a place that its own graph does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub(super) usize);

impl NodeIndex {
    /// The place as a number.
    pub fn get(self) -> usize {
        self.0
    }
}

impl Dag {
    /// How many nodes a graph has at most. Steps of an agent cost milliseconds to minutes; a
    /// graph with more than this was made by mistake.
    pub const MAX_NODES: usize = 10_000;

    /// Begins a graph; [`DagBuilder::build`] ends it.
    #[expect(clippy::new_ret_no_self, reason = "a graph is whole or it is not there")]
    pub fn new(name: impl Into<String>) -> DagBuilder {
        DagBuilder::new(name.into())
    }

    /// Reads a graph from JSON: what [`Dag::to_value`] gives, or what CEMAF's `to_dict` does. The
    /// keys stand in the [module's page](super).
    ///
    /// An upstream node of type `agent` or `skill` is read as a function; `max_retries` counts
    /// all attempts there, so it is read as `max_attempts`, and `retry_on_failure = false` as
    /// one attempt. A failed node ends the run unless an edge handles it, whatever
    /// `retry_on_failure` says.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    ///
    /// ```
    /// use backhaul_runtime::dag::Dag;
    /// let error = Dag::from_json(
    ///     r#"{"name": "d", "nodes": [{"id": "a", "type": "tool", "output_kay": "x"}]}"#,
    /// );
    /// assert_eq!(
    ///     error.unwrap_err().problems()[0].to_string(),
    ///     "nodes[0].output_kay: no such key: did you mean `output_key`?",
    /// );
    /// ```
    pub fn from_json(text: &str) -> Result<Self, DagError> {
        Self::from_value(read::parse_json(text)?)
    }

    /// Reads a graph from TOML, with the keys of the JSON form. A date becomes text.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    ///
    /// ```
    /// use backhaul_runtime::dag::{Dag, Node};
    /// let dag = Dag::from_toml(
    ///     r#"
    ///     name = "sensor_dag"
    ///     [[nodes]]
    ///     id = "read"
    ///     type = "tool"
    ///     ref_id = "read_sensors"
    ///     timeout_seconds = 2.5
    ///     [[nodes]]
    ///     id = "act"
    ///     type = "function"
    ///     [[edges]]
    ///     source = "read"
    ///     target = "act"
    ///     condition = "json_rule"
    ///     condition_rule = { field = "reading.celsius", operator = "greater_than", value = 30 }
    ///     "#,
    /// )?;
    /// assert_eq!(dag.nodes()[1], Node::function("act", "act"));
    /// # Ok::<(), backhaul_runtime::dag::DagError>(())
    /// ```
    pub fn from_toml(text: &str) -> Result<Self, DagError> {
        Self::from_value(toml_text::parse(text)?)
    }

    /// Reads a graph from JSON that was parsed.
    ///
    /// # Errors
    /// As [`Dag::from_json`].
    pub fn from_value(value: Value) -> Result<Self, DagError> {
        read::read(value).build()
    }

    /// The graph as JSON, from which [`Dag::from_value`] makes an equal one.
    pub fn to_value(&self) -> Value {
        write::dag(self)
    }

    /// A hex SHA-256 of what a run depends on: nodes and edges in their order, without names,
    /// descriptions and metadata. A run that is resumed on a graph with another digest is
    /// another run.
    pub fn digest(&self) -> String {
        digest::of(self)
    }

    /// The graph as a Mermaid flowchart: a function is a box, a tool a box with double sides, a
    /// model a hexagon; what follows a failure is dotted. Any text is shown as it is, up to 200
    /// characters.
    ///
    /// ```
    /// use backhaul_runtime::dag::{Dag, Node};
    /// let dag = Dag::new("d").node(Node::tool("end", "notify")).build()?;
    /// assert_eq!(dag.to_mermaid(), "flowchart TD\n    n0[[\"end<br/>notify\"]]\n");
    /// # Ok::<(), backhaul_runtime::dag::DagError>(())
    /// ```
    pub fn to_mermaid(&self) -> String {
        mermaid::of(self)
    }

    /// Each node after all that it waits for; of those that could come next, the first declared.
    pub fn topological_sort(&self) -> Vec<NodeIndex> {
        self.topology.sorted()
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Its nodes, as declared.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Its edges, as declared.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// The id of the one node that it begins with, if it is named. If not, it begins with every
    /// node that waits for none.
    pub fn entry(&self) -> Option<&str> {
        self.entry.as_deref()
    }

    /// Whatever else is to be known of it.
    pub fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    /// The node with this id.
    pub fn node(&self, id: &str) -> Option<&Node> {
        self.index_of(id).map(|index| &self[index])
    }

    /// The place of the node with this id.
    pub fn index_of(&self, id: &str) -> Option<NodeIndex> {
        self.topology.find(id)
    }

    /// The edges out of a node, as declared, each with the place of its target.
    pub fn outgoing(&self, node: NodeIndex) -> impl Iterator<Item = (&Edge, NodeIndex)> {
        let edges = self.topology.outgoing(node).iter();
        edges.map(|(edge, target)| (&self.edges[*edge], *target))
    }
}

impl Index<NodeIndex> for Dag {
    type Output = Node;

    fn index(&self, index: NodeIndex) -> &Node {
        &self.nodes[index.0]
    }
}
