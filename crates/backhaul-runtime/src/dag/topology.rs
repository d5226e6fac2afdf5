//! Which node leads to which, by number.

use std::collections::{BTreeSet, HashMap};

use super::edge::Edge;
use super::graph::NodeIndex;
use super::node::Node;

/// The edges of a graph between positions of nodes. Made only of edges whose ends are known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Topology {
    index: HashMap<String, NodeIndex>,
    /// Per node: the edges out of it, as position of the edge and target.
    outgoing: Vec<Vec<(usize, NodeIndex)>>,
    /// Per node: how many edges lead into it.
    incoming: Vec<usize>,
}

impl Topology {
    /// Of edges with unknown ends nothing is kept; of two nodes with one id, the first.
    pub(super) fn of(nodes: &[Node], edges: &[Edge]) -> Self {
        let mut index = HashMap::with_capacity(nodes.len());
        for (position, node) in nodes.iter().enumerate() {
            index.entry(node.id.clone()).or_insert(NodeIndex(position));
        }
        let mut topology =
            Self { index, outgoing: vec![Vec::new(); nodes.len()], incoming: vec![0; nodes.len()] };
        for (position, edge) in edges.iter().enumerate() {
            if let (Some(source), Some(target)) =
                (topology.find(&edge.source), topology.find(&edge.target))
            {
                topology.outgoing[source.0].push((position, target));
                topology.incoming[target.0] += 1;
            }
        }
        topology
    }

    pub(super) fn find(&self, id: &str) -> Option<NodeIndex> {
        self.index.get(id).copied()
    }

    pub(super) fn indices(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (0..self.incoming.len()).map(NodeIndex)
    }

    pub(super) fn outgoing(&self, node: NodeIndex) -> &[(usize, NodeIndex)] {
        &self.outgoing[node.0]
    }

    pub(super) fn targets(&self, node: NodeIndex) -> impl Iterator<Item = NodeIndex> + '_ {
        self.outgoing(node).iter().map(|(_, target)| *target)
    }

    pub(super) fn incoming(&self, node: NodeIndex) -> usize {
        self.incoming[node.0]
    }

    /// Each node after all that it waits for; of those that could come next, the first declared.
    /// Nodes on a cycle and behind one are missing.
    pub(super) fn sorted(&self) -> Vec<NodeIndex> {
        let mut unresolved = self.incoming.clone();
        let mut next: BTreeSet<NodeIndex> =
            self.indices().filter(|node| self.incoming(*node) == 0).collect();
        let mut sorted = Vec::with_capacity(unresolved.len());
        while let Some(node) = next.pop_first() {
            sorted.push(node);
            for target in self.targets(node) {
                unresolved[target.0] -= 1;
                if unresolved[target.0] == 0 {
                    next.insert(target);
                }
            }
        }
        sorted
    }

    /// Whether each node is `entry` or one that a way leads to from there.
    pub(super) fn reachable_from(&self, entry: NodeIndex) -> Vec<bool> {
        let mut is_reached = vec![false; self.incoming.len()];
        let mut waiting = vec![entry];
        while let Some(node) = waiting.pop() {
            if !std::mem::replace(&mut is_reached[node.0], true) {
                waiting.extend(self.targets(node));
            }
        }
        is_reached
    }
}
