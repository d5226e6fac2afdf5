//! What a graph is recognised by.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::graph::Dag;
use super::write;

/// A hash of nodes and edges in canonical JSON, without what only people read.
pub(super) fn of(dag: &Dag) -> String {
    let nodes: Vec<Value> = dag.nodes.iter().map(write::node).map(without_names).collect();
    let edges: Vec<Value> = dag.edges.iter().map(write::edge).collect();
    let mut canonical = json!({"nodes": nodes, "edges": edges});
    canonical.sort_all_objects();
    let digest = Sha256::digest(canonical.to_string());
    digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn without_names(mut node: Value) -> Value {
    if let Some(map) = node.as_object_mut() {
        map.shift_remove("name");
        map.shift_remove("description");
    }
    node
}
