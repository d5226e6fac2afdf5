//! A step as a line of a journal.

use backhaul_agent::{ContextPatch, json, time};
use backhaul_store::{Timestamp, open_line, seal_line};
use serde_json::{Map, Value};

use super::run_step::{NodeRecord, RunStep};
use crate::run_status::RunStatus;

/// The line of a step, which is the `number`th of its run.
pub(super) fn encode(number: u64, at: Timestamp, step: &RunStep) -> Vec<u8> {
    let mut object = Map::new();
    object.insert("n".into(), number.into());
    object.insert("at".into(), time::isoformat(at).into());
    let (kind, value) = match step {
        RunStep::Patch(patch) => ("patch", patch.to_value()),
        RunStep::NodeStarted { node_id, attempt } => (
            "node_started",
            object_of([("node_id", json::text(node_id)), ("attempt", (*attempt).into())]),
        ),
        RunStep::NodeFinished(node) => ("node_finished", node_value(node, true)),
        RunStep::Resumed => ("resumed", Value::Object(Map::new())),
        RunStep::Ended { status, error } => (
            "ended",
            object_of([("status", status.as_str().into()), ("error", text_or_null(error))]),
        ),
    };
    object.insert(kind.into(), value);
    seal_line(json::to_vec(&Value::Object(object), json::Style::Compact))
}

/// The step of a line and its number. `None`: the line is torn, damaged, or not of this format.
pub(super) fn decode(line: &[u8]) -> Option<(u64, RunStep)> {
    let object = open_line(line)?;
    let mut value = json::from_slice(object.as_bytes()).ok()?;
    let number = value.get("n")?.as_u64()?;
    let mut take = |kind: &str| value.get_mut(kind).map(Value::take);
    let step = if let Some(patch) = take("patch") {
        RunStep::Patch(ContextPatch::from_value(patch).ok()?)
    } else if let Some(node) = take("node_finished") {
        RunStep::NodeFinished(read_node(node)?)
    } else if let Some(started) = take("node_started") {
        let attempt = u32::try_from(started.get("attempt")?.as_u64()?).ok()?;
        RunStep::NodeStarted { node_id: text(started.get("node_id")?)?, attempt }
    } else if take("resumed").is_some() {
        RunStep::Resumed
    } else {
        let ended = take("ended")?;
        let status = RunStatus::named(ended.get("status")?.as_str()?)?;
        RunStep::Ended { status, error: ended.get("error").and_then(text) }
    };
    Some((number, step))
}

/// A node as JSON, with its patches or without.
pub(super) fn node_value(node: &NodeRecord, with_patches: bool) -> Value {
    let leads_to = node.leads_to.iter().map(|target| json::text(target));
    let mut object = object_of([
        ("node_id", json::text(&node.node_id)),
        ("success", node.success.map_or(Value::Null, Value::Bool)),
        ("output", node.output.clone()),
        ("error", text_or_null(&node.error)),
        ("duration_ms", json::float(node.duration_ms)),
        ("attempts", node.attempts.into()),
        ("leads_to", leads_to.collect()),
    ]);
    let Some(fields) = object.as_object_mut() else { return object };
    if node.may_have_happened {
        fields.insert("may_have_happened".into(), true.into());
    }
    if with_patches {
        let patches = node.patches.iter().map(ContextPatch::to_value).collect();
        fields.insert("patches".into(), patches);
    }
    object
}

/// Reads what [`node_value`] gives.
pub(super) fn read_node(mut value: Value) -> Option<NodeRecord> {
    let mut list = |key: &str| match value.get_mut(key).map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    let patches = list("patches").into_iter().map(|patch| ContextPatch::from_value(patch).ok());
    let patches = patches.collect::<Option<Vec<_>>>()?;
    let leads_to = list("leads_to");
    let leads_to = leads_to.iter().map(text);
    Some(NodeRecord {
        leads_to: leads_to.collect::<Option<Vec<_>>>()?,
        patches,
        node_id: text(value.get("node_id")?)?,
        success: value.get("success")?.as_bool(),
        output: value.get_mut("output").map(Value::take).unwrap_or_default(),
        error: value.get("error").and_then(text),
        duration_ms: value.get("duration_ms").and_then(json::as_f64).unwrap_or_default(),
        attempts: u32::try_from(value.get("attempts")?.as_u64()?).ok()?,
        may_have_happened: value
            .get("may_have_happened")
            .is_some_and(|it| *it == Value::Bool(true)),
    })
}

pub(super) fn object_of<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

pub(super) fn text_or_null(text: &Option<String>) -> Value {
    text.as_deref().map_or(Value::Null, json::text)
}

/// A text that [`json::text`] has made a value of.
pub(super) fn text(value: &Value) -> Option<String> {
    value.as_str().map(|held| held.replace("\u{FDD0}\u{FDD0}", "\u{FDD0}"))
}
