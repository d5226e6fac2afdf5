//! A graph as JSON.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::edge::{Edge, EdgeCondition};
use super::graph::Dag;
use super::node::{Input, Join, Node, NodeKind};

/// The whole graph. Only what is empty is left out: a default that changes one day changes no
/// graph that was written before.
pub(super) fn dag(dag: &Dag) -> Value {
    let mut map = Map::new();
    map.insert("name".to_owned(), dag.name.clone().into());
    insert_text(&mut map, "description", &dag.description);
    if let Some(entry) = &dag.entry {
        map.insert("entry_node".to_owned(), entry.clone().into());
    }
    map.insert("nodes".to_owned(), dag.nodes.iter().map(node).collect());
    map.insert("edges".to_owned(), dag.edges.iter().map(edge).collect());
    insert_map(&mut map, "metadata", &dag.metadata);
    Value::Object(map)
}

pub(super) fn node(node: &Node) -> Value {
    let mut map = Map::new();
    map.insert("id".to_owned(), node.id.clone().into());
    insert_kind(&mut map, &node.kind);
    map.insert("name".to_owned(), node.name.clone().into());
    insert_text(&mut map, "description", &node.description);
    let inputs = node.input_mapping.iter();
    let inputs = inputs.map(|(argument, source)| (argument.clone(), input(source))).collect();
    insert_map(&mut map, "input_mapping", &inputs);
    if let Some(path) = &node.output_key {
        map.insert("output_key".to_owned(), path.clone().into());
    }
    map.insert("max_attempts".to_owned(), node.max_attempts.into());
    map.insert("timeout_seconds".to_owned(), timeout(node.timeout));
    map.insert("join".to_owned(), join(node.join).into());
    insert_map(&mut map, "config", &node.config);
    Value::Object(map)
}

pub(super) fn edge(edge: &Edge) -> Value {
    let condition = match &edge.condition {
        EdgeCondition::OnSuccess => "on_success",
        EdgeCondition::OnFailure => "on_failure",
        EdgeCondition::Always => "always",
        EdgeCondition::When(_) => "json_rule",
    };
    let mut value = json!({"source": edge.source, "target": edge.target, "condition": condition});
    if let EdgeCondition::When(rule) = &edge.condition {
        value["condition_rule"] = json!({"field": rule.field, "operator": rule.operator.as_str()});
        if !rule.value.is_null() {
            value["condition_rule"]["value"] = rule.value.clone();
        }
    }
    value
}

fn insert_kind(map: &mut Map<String, Value>, kind: &NodeKind) {
    let name = match kind {
        NodeKind::Function { .. } => "function",
        NodeKind::Tool { .. } => "tool",
        NodeKind::Llm { .. } => "llm",
    };
    map.insert("type".to_owned(), name.into());
    match kind {
        NodeKind::Function { function: name } | NodeKind::Tool { tool: name } => {
            map.insert("ref_id".to_owned(), name.clone().into());
        }
        NodeKind::Llm { prompt, system } => {
            map.insert("prompt".to_owned(), prompt.clone().into());
            if let Some(system) = system {
                map.insert("system".to_owned(), system.clone().into());
            }
        }
    }
}

fn insert_text(map: &mut Map<String, Value>, key: &str, text: &str) {
    if !text.is_empty() {
        map.insert(key.to_owned(), text.into());
    }
}

fn insert_map(map: &mut Map<String, Value>, key: &str, entries: &Map<String, Value>) {
    if !entries.is_empty() {
        map.insert(key.to_owned(), entries.clone().into());
    }
}

fn input(input: &Input) -> Value {
    match input {
        Input::Path(path) => path.clone().into(),
        Input::Value(value) => json!({"value": value}),
    }
}

fn timeout(timeout: Option<Duration>) -> Value {
    match timeout {
        None => "none".into(),
        Some(whole) if whole.subsec_nanos() == 0 => whole.as_secs().into(),
        Some(time) => time.as_secs_f64().into(),
    }
}

fn join(join: Join) -> &'static str {
    match join {
        Join::All => "all",
        Join::Any => "any",
    }
}
