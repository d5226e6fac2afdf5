//! A run at one moment, as upstream writes it.

use backhaul_agent::{Context, json, time};
use backhaul_store::{Timestamp, open_line, seal_line};
use serde_json::{Map, Value};

use super::journal_line::{self, node_value, object_of, read_node, text_or_null};
use super::run_state::RunState;
use crate::run_status::RunStatus;

/// The version of what stands under `backhaul` in a checkpoint.
const FORMAT: u64 = 1;
/// What marks a checkpoint as one of ours.
const OWN: &str = "backhaul";

/// A run at one moment, and how many lines of its journal came before.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Checkpoint {
    pub(super) state: RunState,
    pub(super) lines: u64,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// A newer version wrote it.
    Newer(u64),
    /// It is torn, damaged, or no checkpoint.
    Damaged(String),
}

/// The bytes of a run at one moment: upstream's keys in its order, ours, and a checksum. The
/// context is written from where it is: it may be large.
pub(super) fn encode(state: &RunState, lines: u64, at: Timestamp) -> Vec<u8> {
    let RunState { run_id, dag_name, status, context, nodes, pending, error, .. } = state;
    let completed = nodes.iter().filter(|node| node.success.is_some());
    let failed = nodes.iter().rev().find(|node| node.success == Some(false));
    let before = object_of([
        ("run_id", json::text(run_id)),
        ("dag_name", json::text(dag_name)),
        ("status", status.as_str().into()),
        ("completed_nodes", completed.map(|node| json::text(&node.node_id)).collect()),
        ("pending_nodes", pending.iter().map(|id| json::text(id)).collect()),
    ]);
    let after = object_of([
        ("error", text_or_null(error)),
        ("failed_node", failed.map_or(Value::Null, |node| json::text(&node.node_id))),
        ("fencing_token", 0.into()),
        (OWN, own(state, lines, at)),
    ]);
    let mut bytes = json::to_vec(&before, json::Style::Compact);
    bytes.pop();
    bytes.extend_from_slice(b",\"context\":");
    bytes.extend(context.to_checkpoint_json());
    bytes.push(b',');
    bytes.extend(json::to_vec(&after, json::Style::Compact).into_iter().skip(1));
    seal_line(bytes)
}

/// What upstream has no keys for.
fn own(state: &RunState, lines: u64, at: Timestamp) -> Value {
    let begun = state.begun.iter().map(|(id, attempt)| (id.clone(), Value::from(*attempt)));
    object_of([
        ("format", FORMAT.into()),
        ("at", time::isoformat(at).into()),
        ("lines", lines.into()),
        ("patches", state.patch_count.into()),
        ("dag_digest", text_or_null(&state.dag_digest)),
        ("nodes", state.nodes.iter().map(|node| node_value(node, false)).collect()),
        ("begun", begun.collect()),
    ])
}

impl Checkpoint {
    /// Reads a checkpoint of ours or of upstream's.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unusable> {
        let sealed = open_line(bytes);
        let text = sealed.as_ref().map_or(bytes, |object| object.as_bytes());
        let value = json::from_slice(text).map_err(|error| Unusable::Damaged(error.to_string()))?;
        let Value::Object(mut fields) = value else {
            return Err(Unusable::Damaged("it is no JSON object".to_owned()));
        };
        let own = fields.remove(OWN);
        match own.as_ref().and_then(|own| own.get("format")).and_then(Value::as_u64) {
            Some(newer) if newer > FORMAT => Err(Unusable::Newer(newer)),
            Some(_) if sealed.is_none() => {
                Err(Unusable::Damaged("its checksum is wrong".to_owned()))
            }
            _ => read(fields, own.unwrap_or_default()),
        }
    }
}

fn read(mut fields: Map<String, Value>, mut own: Value) -> Result<Checkpoint, Unusable> {
    let context = Context::from_checkpoint_value(fields.remove("context").unwrap_or_default())
        .map_err(|error| Unusable::Damaged(format!("context: {error}")))?;
    let text = |key: &str| journal_line::text(fields.get(key)?);
    let missing = |key: &str| Unusable::Damaged(format!("`{key}` is missing or no text"));
    let status =
        text("status").as_deref().and_then(RunStatus::named).ok_or_else(|| missing("status"))?;
    let mut state = RunState::new(
        text("run_id").ok_or_else(|| missing("run_id"))?,
        text("dag_name").unwrap_or_default(),
        context,
    );
    state.status = status;
    state.error = text("error");
    let pending = fields.get("pending_nodes").and_then(Value::as_array);
    let ids = pending.into_iter().flatten();
    state.pending = ids.filter_map(journal_line::text).collect();
    let number = |key: &str| own.get(key).and_then(Value::as_u64);
    let lines = number("lines").unwrap_or(0);
    state.patch_count = number("patches").unwrap_or(0);
    state.dag_digest = own.get("dag_digest").and_then(journal_line::text);
    let begun = own.get("begun").and_then(Value::as_object);
    let attempt = |value: &Value| u32::try_from(value.as_u64().unwrap_or(1)).unwrap_or(1);
    state.begun =
        begun.into_iter().flatten().map(|(id, value)| (id.clone(), attempt(value))).collect();
    if let Some(Value::Array(nodes)) = own.get_mut("nodes").map(Value::take) {
        let read: Option<Vec<_>> = nodes.into_iter().map(read_node).collect();
        let damaged = || Unusable::Damaged("`backhaul.nodes` cannot be read".to_owned());
        state.nodes = read.ok_or_else(damaged)?;
    }
    Ok(Checkpoint { state, lines })
}
