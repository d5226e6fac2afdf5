//! A call as Weave's trace server answers it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::request::CallsQuery;
use super::view::{CallView, op_name};
use crate::reads::failure::Result;
use crate::reads::{feedback, path, refs, time};

/// All fields, in the server's order.
const FIELDS: [&str; 23] = [
    "id",
    "project_id",
    "op_name",
    "display_name",
    "trace_id",
    "parent_id",
    "thread_id",
    "turn_id",
    "started_at",
    "attributes",
    "inputs",
    "ended_at",
    "exception",
    "output",
    "summary",
    "wb_user_id",
    "wb_run_id",
    "wb_run_step",
    "wb_run_step_end",
    "deleted_at",
    "expire_at",
    "storage_size_bytes",
    "total_storage_size_bytes",
];

/// Those that every answer has.
const ALWAYS: [&str; 5] = ["id", "project_id", "op_name", "trace_id", "started_at"];

/// What follows from other fields, and is never taken from a client.
const DERIVED: [&str; 4] = ["status", "trace_name", "latency_ms", "display_name"];

/// The call, with the columns that are wanted.
pub(super) fn to_json(call: &CallView<'_>, query: &CallsQuery) -> Result<Value> {
    let wanted = query.columns.as_deref().filter(|columns| !columns.is_empty()).map(columns);
    let is_wanted = |field: &str| wanted.as_ref().is_none_or(|wanted| wanted.contains(field));
    let mut fields = Map::new();
    for field in FIELDS {
        let value = if is_wanted(field) { field_of(call, field)? } else { Value::Null };
        fields.insert(field.to_owned(), value);
    }
    if let Some(dump) = call.start()?.get("otel_dump").filter(|dump| !dump.is_null())
        && let Some(attributes) = fields.get_mut("attributes").and_then(as_object)
    {
        attributes.insert("otel_span".to_owned(), dump.clone());
    }
    if !query.expand_columns.is_empty() {
        expand(call, &mut fields, &query.expand_columns)?;
    }
    for field in ["attributes", "inputs"] {
        // Fields that the answer cannot be without.
        if let Some(value) = fields.get_mut(field).filter(|value| value.is_null()) {
            *value = json!({});
        }
    }
    summarize(call, &mut fields)?;
    if query.include_feedback
        && let Some(summary) =
            fields.get_mut("summary").and_then(|summary| as_object(&mut summary["weave"]))
    {
        summary.insert("feedback".to_owned(), feedback::on_call(call.view, &call.row.id)?.into());
    }
    if query.include_storage_size {
        fields.insert("storage_size_bytes".to_owned(), size(call)?.into());
    }
    Ok(Value::Object(fields))
}

/// The fields that some columns are parts of.
fn columns(columns: &[String]) -> BTreeSet<String> {
    let field = |column: &String| {
        let field = column.split('.').next().unwrap_or(column);
        field.strip_suffix("_dump").unwrap_or(field).to_owned()
    };
    let mut wanted: BTreeSet<String> = columns.iter().map(field).collect();
    if wanted.contains("summary") {
        wanted.extend(["ended_at", "exception", "display_name"].map(str::to_owned));
    }
    wanted.extend(ALWAYS.map(str::to_owned));
    wanted
}

fn field_of(call: &CallView<'_>, field: &str) -> Result<Value> {
    let time = |micros: Option<i64>| micros.map_or(Value::Null, |at| time::to_text(at).into());
    Ok(match field {
        "id" => call.row.id.clone().into(),
        "project_id" => call.view.reads.project.to_string().into(),
        "started_at" => time(Some(call.row.started_at)),
        "ended_at" => time(call.row.ended_at),
        "display_name" => call.display_name()?.filter(|name| !name.is_empty()).into(),
        "deleted_at" | "expire_at" | "storage_size_bytes" | "total_storage_size_bytes" => {
            Value::Null
        }
        "exception" | "output" | "summary" | "wb_run_step_end" => call.end()?[field].clone(),
        _ => call.start()?[field].clone(),
    })
}

/// Adds what follows from other fields of the answer: how the call went, its name, and how
/// long it took.
fn summarize(call: &CallView<'_>, fields: &mut Map<String, Value>) -> Result<()> {
    let said = |field: &str| fields.get(field).unwrap_or(&Value::Null);
    let mut summary = said("summary").as_object().cloned().unwrap_or_default();
    let mut derived = match summary.remove("weave") {
        Some(Value::Object(derived)) => derived,
        _ => Map::new(),
    };
    DERIVED.iter().for_each(|key| drop(derived.remove(*key)));
    let failed_below = path::get(said("summary"), "status_counts.error").and_then(Value::as_f64);
    let status = if said("exception").as_str().is_some_and(|text| !text.is_empty()) {
        "error"
    } else if said("ended_at").is_null() {
        "running"
    } else if failed_below.is_some_and(|count| count > 0.0) {
        "descendant_error"
    } else {
        "success"
    };
    derived.insert("status".to_owned(), status.into());
    if let Some(latency) = call.latency().filter(|_| !said("ended_at").is_null()) {
        derived.insert("latency_ms".to_owned(), latency.div_euclid(1000).into());
    }
    match said("display_name").as_str() {
        Some(name) => derived.insert("display_name".to_owned(), name.into()),
        None => {
            let name = said("op_name").as_str().map(op_name);
            derived.insert("trace_name".to_owned(), name.into())
        }
    };
    summary.insert("weave".to_owned(), Value::Object(derived));
    fields.insert("summary".to_owned(), Value::Object(summary));
    Ok(())
}

/// Puts what addresses lead to in their place, and the address beside it, as `_ref`.
fn expand(call: &CallView<'_>, fields: &mut Map<String, Value>, columns: &[String]) -> Result<()> {
    let mut columns: Vec<&String> = columns.iter().collect();
    columns.sort_by_key(|column| column.matches('.').count());
    for column in columns {
        let keys: Vec<&str> = column.split('.').collect();
        let Some(address) = get(fields, &keys).and_then(Value::as_str).map(ToOwned::to_owned)
        else {
            continue;
        };
        let Some(value) = refs::lead_to(call.view, &address)? else { continue };
        set(fields, &keys, value);
        set(fields, &[keys.as_slice(), &["_ref"]].concat(), address.into());
    }
    Ok(())
}

fn get<'a>(fields: &'a Map<String, Value>, keys: &[&str]) -> Option<&'a Value> {
    let (first, rest) = keys.split_first()?;
    rest.iter().try_fold(fields.get(*first)?, |value, key| value.as_object()?.get(*key))
}

/// Sets what stands below some keys, making objects of what is none on the way.
fn set(fields: &mut Map<String, Value>, keys: &[&str], value: Value) {
    let Some((first, rest)) = keys.split_first() else { return };
    if rest.is_empty() {
        fields.insert((*first).to_owned(), value);
        return;
    }
    let below = fields.entry((*first).to_owned()).or_insert_with(|| json!({}));
    if !below.is_object() {
        *below = json!({});
    }
    if let Some(below) = below.as_object_mut() {
        set(below, rest, value);
    }
}

fn as_object(value: &mut Value) -> Option<&mut Map<String, Value>> {
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut()
}

/// Characters of its values, as the server writes them.
fn size(call: &CallView<'_>) -> Result<usize> {
    let len = |value: &Value| backhaul_json::to_vec(value, backhaul_json::Style::Python).len();
    let (start, end) = (call.start()?, call.end()?);
    let ended = if call.row.end.is_some() { len(&end["output"]) + len(&end["summary"]) } else { 0 };
    Ok(len(&start["attributes"]) + len(&start["inputs"]) + ended)
}
