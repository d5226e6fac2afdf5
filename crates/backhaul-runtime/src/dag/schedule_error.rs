//! A step that a schedule does not allow.

use std::fmt;

use super::schedule::NodeState;

/// A step that a schedule does not allow. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScheduleError {
    /// A node was begun that may not begin.
    NotReady {
        /// Its id.
        node: String,
        /// What it is instead.
        state: NodeState,
    },
    /// A node was finished that was not begun, or has finished before.
    NotRunning {
        /// Its id.
        node: String,
        /// What it is instead.
        state: NodeState,
    },
    /// The history of a run names a node that the graph does not have.
    UnknownNode {
        /// The id in the history.
        node: String,
    },
    /// The history of a run names an edge that the graph does not have.
    UnknownEdge {
        /// The id of its source.
        source: String,
        /// The id of its target.
        target: String,
    },
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady { node, state } => {
                write!(f, "the node `{node}` cannot begin: it is {state}, not ready")
            }
            Self::NotRunning { node, state } => {
                write!(f, "the node `{node}` cannot finish: it is {state}, not running")
            }
            Self::UnknownNode { node } => write!(
                f,
                "the history names the node `{node}`, which the graph does not have; it is that \
                 of another graph"
            ),
            Self::UnknownEdge { source, target } => write!(
                f,
                "the history names an edge from `{source}` to `{target}`, which the graph does \
                 not have; it is that of another graph"
            ),
        }
    }
}

impl std::error::Error for ScheduleError {}
