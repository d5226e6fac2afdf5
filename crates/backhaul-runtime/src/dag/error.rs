//! What is wrong with a graph.

use std::fmt;

/// Everything that is wrong with a graph: all of it, so that it can be put right in one go.
///
/// ```
/// use backhaul_runtime::dag::{Dag, Node};
/// let error = Dag::new("sensor_dag")
///     .node(Node::tool("read", "read_sensors").max_attempts(0))
///     .edge("read", "decide")
///     .build()
///     .unwrap_err();
/// assert_eq!(error.problems().len(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DagError {
    name: String,
    problems: Vec<DagProblem>,
}

/// One thing that is wrong with a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DagProblem {
    kind: DagProblemKind,
    at: String,
    message: String,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DagProblemKind {
    /// The text is not JSON or TOML.
    Syntax,
    /// A key that no such thing has.
    UnknownKey,
    /// A key that stands twice in one object of JSON.
    RepeatedKey,
    /// A value that is missing, of the wrong type or out of range.
    InvalidValue,
    /// Something that other frameworks have and graphs here do without.
    Unsupported,
    /// There are no nodes.
    NoNodes,
    /// There are more than [`Dag::MAX_NODES`](super::Dag::MAX_NODES).
    TooManyNodes,
    /// A node without an id.
    EmptyId,
    /// Two nodes with one id.
    DuplicateId,
    /// An edge or an entry that names no node.
    UnknownNode,
    /// An edge from a node to itself.
    SelfLoop,
    /// A second edge from one node to another.
    DuplicateEdge,
    /// Nodes that wait for each other.
    Cycle,
    /// A node to which no way leads from the entry.
    Unreachable,
}

impl DagError {
    /// Of a list that is not empty.
    pub(super) fn new(name: impl Into<String>, problems: Vec<DagProblem>) -> Self {
        Self { name: name.into(), problems }
    }

    /// What is wrong, at least one thing.
    pub fn problems(&self) -> &[DagProblem] {
        &self.problems
    }
}

impl DagProblem {
    pub(super) fn new(
        kind: DagProblemKind,
        at: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { kind, at: at.into(), message: message.into() }
    }

    /// What is wrong.
    pub fn kind(&self) -> DagProblemKind {
        self.kind
    }

    /// Where, as a path: `nodes[2].max_attempts`. Empty: the graph as a whole.
    pub fn at(&self) -> &str {
        &self.at
    }

    /// What was found and what to do, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for DagProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.at.is_empty() {
            write!(f, "{}: ", self.at)?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for DagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = if self.name.is_empty() { String::new() } else { format!(" `{}`", self.name) };
        match self.problems.as_slice() {
            [problem] => write!(f, "the graph{of} has a problem: {problem}"),
            problems => {
                write!(f, "the graph{of} has {} problems:", problems.len())?;
                problems.iter().try_for_each(|problem| write!(f, "\n- {problem}"))
            }
        }
    }
}

impl std::error::Error for DagError {}
