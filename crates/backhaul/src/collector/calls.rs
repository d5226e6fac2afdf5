//! Calls: their starts, their ends, both in one, and what is done to them later.

use axum::response::Response;
use backhaul_weave::{Entry, EntryType, ProjectId};
use serde_json::{Value, json};

use super::WeaveCollector;
use super::answers;
use super::asked::Asked;
use super::fields::Fields;
use super::ids::NewIds;
use super::storing::{entry, project};
use crate::intake::Refusal;

const CALL_ID: &str = "the id of a call";

/// What is stored of one call, and the answer to that.
type Logged = ((ProjectId, Entry), Value);

pub(super) fn complete(collector: &WeaveCollector, asked: &mut Asked) -> Result<Response, Refusal> {
    let body = asked.json(collector.intake())?;
    let batch = Fields::read(&body, "the body")?.objects("batch")?;
    let calls = batch.iter().map(|call| with_id(EntryType::CallComplete, call));
    collector.log_all(calls.collect::<Result<_, _>>()?)?;
    answers::done()
}

pub(super) fn upsert_batch(
    collector: &WeaveCollector,
    asked: &mut Asked,
) -> Result<Response, Refusal> {
    let mut ids = NewIds::of(asked);
    let body = asked.json(collector.intake())?;
    let (mut entries, mut answers) = (Vec::new(), Vec::new());
    for item in Fields::read(&body, "the body")?.objects("batch")? {
        let request = item.object("req")?;
        // The mode says the same, where a client gives one.
        let (entry, answer) = match request.get("end") {
            Some(_) => (ended(&request)?, json!({})),
            None => started(&request, &mut ids)?,
        };
        entries.push(entry);
        answers.push(answer);
    }
    collector.log_all(entries)?;
    answers::json(&json!({"res": answers}))
}

pub(super) fn start(collector: &WeaveCollector, asked: &mut Asked) -> Result<Response, Refusal> {
    let mut ids = NewIds::of(asked);
    let body = asked.json(collector.intake())?;
    let (entry, answer) = started(&Fields::read(&body, "the body")?, &mut ids)?;
    collector.log_all(vec![entry])?;
    answers::json(&answer)
}

pub(super) fn end(collector: &WeaveCollector, asked: &mut Asked) -> Result<Response, Refusal> {
    let body = asked.json(collector.intake())?;
    let entry = ended(&Fields::read(&body, "the body")?)?;
    collector.log_all(vec![entry])?;
    answers::done()
}

pub(super) fn update(collector: &WeaveCollector, asked: &mut Asked) -> Result<Response, Refusal> {
    let body = asked.json(collector.intake())?;
    let request = Fields::read(&body, "the body")?;
    request.require_text("call_id", CALL_ID)?;
    collector.log_request(EntryType::CallUpdate, &request)?;
    answers::done()
}

/// The server counts what stood below the calls too; here that may not all be known.
pub(super) fn delete(collector: &WeaveCollector, asked: &mut Asked) -> Result<Response, Refusal> {
    let body = asked.json(collector.intake())?;
    let request = Fields::read(&body, "the body")?;
    let calls = request.list("call_ids")?.len();
    collector.log_request(EntryType::CallsDelete, &request)?;
    answers::json(&json!({"num_deleted": calls}))
}

fn started(request: &Fields<'_>, ids: &mut NewIds) -> Result<Logged, Refusal> {
    let start = request.object("start")?;
    let project = project(&start)?;
    let (id, trace_id) = (start.text("id")?, start.text("trace_id")?);
    let is_whole = id.is_some() && trace_id.is_some();
    let id = id.unwrap_or_else(|| ids.next());
    let trace_id = trace_id.unwrap_or_else(|| ids.next());
    let entry = match is_whole {
        true => entry(EntryType::CallStart, start.as_text())?,
        false => {
            let with_ids = start.with(&[("id", &id), ("trace_id", &trace_id)]);
            entry(EntryType::CallStart, &with_ids)?
        }
    };
    Ok(((project, entry), json!({"id": id, "trace_id": trace_id})))
}

fn ended(request: &Fields<'_>) -> Result<(ProjectId, Entry), Refusal> {
    with_id(EntryType::CallEnd, &request.object("end")?)
}

fn with_id(entry_type: EntryType, call: &Fields<'_>) -> Result<(ProjectId, Entry), Refusal> {
    let project = project(call)?;
    call.require_text("id", CALL_ID)?;
    Ok((project, entry(entry_type, call.as_text())?))
}
