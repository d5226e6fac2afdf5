//! What must be so in a graph.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use super::builder::DagBuilder;
use super::cycles::cycles;
use super::error::{DagProblem, DagProblemKind};
use super::graph::{Dag, NodeIndex};
use super::names;
use super::node::{Input, Node};
use super::topology::Topology;

/// For so many unknown names at most the one that was meant is searched.
const MAX_HINTS: usize = 50;

/// Everything that is wrong with a graph, in the order of its text.
pub(super) fn check(graph: &DagBuilder, topology: &Topology) -> Vec<DagProblem> {
    let mut checks = Checks { graph, topology, problems: Vec::new() };
    checks.check_size();
    if checks.problems.is_empty() {
        checks.check_nodes();
        checks.check_edges();
        checks.check_cycles();
        checks.check_entry();
    }
    checks.problems
}

struct Checks<'a> {
    graph: &'a DagBuilder,
    topology: &'a Topology,
    problems: Vec<DagProblem>,
}

impl Checks<'_> {
    fn report(&mut self, kind: DagProblemKind, at: impl Into<String>, message: impl Into<String>) {
        self.problems.push(DagProblem::new(kind, at, message));
    }

    fn check_size(&mut self) {
        match self.graph.nodes.len() {
            0 => self.report(DagProblemKind::NoNodes, "nodes", "there are none; add at least one"),
            count if count > Dag::MAX_NODES => self.report(
                DagProblemKind::TooManyNodes,
                "nodes",
                format!("there are {count}; a graph has at most {}", Dag::MAX_NODES),
            ),
            _ => {}
        }
    }

    fn check_nodes(&mut self) {
        let graph = self.graph;
        for (position, node) in graph.nodes.iter().enumerate() {
            let at = format!("nodes[{position}]");
            self.check_id(&at, &node.id, position);
            self.check_values(&at, node);
        }
    }

    fn check_id(&mut self, at: &str, id: &str, position: usize) {
        let at = format!("{at}.id");
        if id.is_empty() {
            self.report(DagProblemKind::EmptyId, at, "it is empty; give the node an id");
            return;
        }
        match self.topology.find(id) {
            Some(first) if first.get() != position => {
                let message = format!("nodes[{}] is called `{id}` too", first.get());
                self.report(DagProblemKind::DuplicateId, at, message);
            }
            _ => {}
        }
    }

    fn check_values(&mut self, at: &str, node: &Node) {
        let mut invalid = |key: &str, message: &str| {
            self.report(DagProblemKind::InvalidValue, format!("{at}.{key}"), message);
        };
        if node.max_attempts == 0 {
            invalid("max_attempts", "it is 0; a node is tried at least once");
        }
        if node.timeout == Some(Duration::ZERO) {
            invalid("timeout_seconds", "it is 0; give the node some time");
        }
        if node.kind.reference() == Some("") {
            invalid("ref_id", "it is empty; name what is called");
        }
        if node.output_key.as_deref() == Some("") {
            invalid("output_key", "it is empty; leave it out if the output is put nowhere");
        }
        for (argument, input) in &node.input_mapping {
            if *input == Input::Path(String::new()) {
                invalid(
                    &format!("input_mapping.{argument}"),
                    "it is empty; give a path in the context",
                );
            }
        }
    }

    fn check_edges(&mut self) {
        let graph = self.graph;
        let mut seen = HashMap::new();
        for (position, edge) in graph.edges.iter().enumerate() {
            let at = format!("edges[{position}]");
            self.check_end(format!("{at}.source"), &edge.source);
            self.check_end(format!("{at}.target"), &edge.target);
            if edge.source == edge.target {
                let message = format!("it leads from `{}` to itself", edge.source);
                self.report(DagProblemKind::SelfLoop, at, message);
                continue;
            }
            match seen.entry((&edge.source, &edge.target)) {
                Entry::Vacant(free) => _ = free.insert(position),
                Entry::Occupied(first) => {
                    let (source, target) = (&edge.source, &edge.target);
                    let message = format!(
                        "edges[{}] leads from `{source}` to `{target}` too; keep one",
                        first.get()
                    );
                    self.report(DagProblemKind::DuplicateEdge, at, message);
                }
            }
        }
    }

    /// Whether the name of a node is that of one.
    fn check_end(&mut self, at: String, id: &str) {
        if self.topology.find(id).is_some() {
            return;
        }
        let known = self.graph.nodes.iter().map(|node| node.id.as_str());
        let hint = match self.problems.len() < MAX_HINTS {
            true => names::hint(id, known),
            false => String::new(),
        };
        self.report(DagProblemKind::UnknownNode, at, format!("no node is called `{id}`{hint}"));
    }

    fn check_cycles(&mut self) {
        for cycle in cycles(self.topology).into_iter().filter(|cycle| cycle.len() > 1) {
            let ids = cycle.iter().chain(cycle.first()).map(|node| self.id(*node));
            let way = ids.collect::<Vec<_>>().join(" -> ");
            self.report(DagProblemKind::Cycle, "edges", format!("they make a cycle: {way}"));
        }
    }

    fn check_entry(&mut self) {
        let Some(id) = &self.graph.entry else {
            return;
        };
        self.check_end("entry_node".to_owned(), id);
        let Some(entry) = self.topology.find(id) else {
            return;
        };
        let is_reached = self.topology.reachable_from(entry);
        for node in self.topology.indices().filter(|node| !is_reached[node.get()]) {
            if self.topology.find(self.id(node)) != Some(node) {
                continue; // Its id is that of another, which is reported.
            }
            let message = format!(
                "no way leads to `{}` from the entry `{id}`; add an edge, or name no entry",
                self.id(node)
            );
            self.report(DagProblemKind::Unreachable, format!("nodes[{}]", node.get()), message);
        }
    }

    fn id(&self, node: NodeIndex) -> &str {
        &self.graph.nodes[node.get()].id
    }
}
