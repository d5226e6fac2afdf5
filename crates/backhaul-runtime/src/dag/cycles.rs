//! Nodes that wait for each other.

use super::graph::NodeIndex;
use super::topology::Topology;

/// Cycles of the graph, each with its nodes in order: at least one if there are any. One that
/// shares both the ends of its last edge with an earlier one may be missing.
pub(super) fn cycles(topology: &Topology) -> Vec<Vec<NodeIndex>> {
    let count = topology.indices().count();
    let mut search = Search {
        topology,
        visits: vec![Visit::NotYet; count],
        is_reported: vec![false; count],
        path: Vec::new(),
        found: Vec::new(),
    };
    topology.indices().for_each(|node| search.search_from(node));
    search.found
}

/// A search in depth, without recursion: chains are as long as graphs are large.
struct Search<'a> {
    topology: &'a Topology,
    visits: Vec<Visit>,
    is_reported: Vec<bool>,
    /// The nodes from the start to here, each with the number of edges followed out of it.
    path: Vec<(NodeIndex, usize)>,
    found: Vec<Vec<NodeIndex>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Visit {
    NotYet,
    OnPath,
    Left,
}

impl Search<'_> {
    fn search_from(&mut self, start: NodeIndex) {
        self.enter(start);
        while let Some((node, followed)) = self.path.last_mut() {
            let (node, edge) = (*node, *followed);
            *followed += 1;
            match self.topology.outgoing(node).get(edge) {
                Some((_, target)) if self.visits[target.0] == Visit::OnPath => {
                    self.report(node, *target);
                }
                Some((_, target)) => self.enter(*target),
                None => {
                    self.visits[node.0] = Visit::Left;
                    self.path.pop();
                }
            }
        }
    }

    fn enter(&mut self, node: NodeIndex) {
        if self.visits[node.0] == Visit::NotYet {
            self.visits[node.0] = Visit::OnPath;
            self.path.push((node, 0));
        }
    }

    /// An edge leads from the end of the path to a node on it.
    fn report(&mut self, last: NodeIndex, first: NodeIndex) {
        if self.is_reported[last.0] && self.is_reported[first.0] {
            return;
        }
        let path = self.path.iter().map(|(node, _)| *node);
        let cycle: Vec<NodeIndex> = path.skip_while(|node| *node != first).collect();
        cycle.iter().for_each(|node| self.is_reported[node.0] = true);
        self.found.push(cycle);
    }
}
