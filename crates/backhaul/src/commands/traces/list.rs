//! `backhaul traces list`.

use backhaul_weave::{CallsFilter, CallsQuery, ProjectId, SortBy};
use serde_json::{Value, json};

use super::{Found, name_of, status_of, took};
use crate::cli;
use crate::config::Config;
use crate::exit::Outcome;
use crate::old_weave_data::OldWeaveData;
use crate::printer::{Printer, harmless};

/// What is told of a trace.
const COLUMNS: [&str; 4] = ["summary", "display_name", "ended_at", "exception"];

pub(super) fn run(args: &cli::TracesList, config: &Config) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.json };
    OldWeaveData::hint(printer, config);
    let found = Found::open_or_usage(config, args.project.as_deref())?;
    let limit = usize::try_from(args.limit)?;
    let mut roots: Vec<Value> = Vec::new();
    for project in &found.projects {
        for root in found.reads.calls(project, &query(args, project))? {
            roots.push(root?);
        }
    }
    roots.sort_by(|one, other| other["started_at"].as_str().cmp(&one["started_at"].as_str()));
    roots.truncate(limit);
    if roots.is_empty() && !printer.json {
        let such = if found.projects.is_empty() { "no traces yet" } else { "no such traces" };
        printer.talk(format_args!("there are {such} in {}", found.dir.display()));
    }
    for (number, root) in roots.iter().enumerate() {
        let trace = summary(&found, root)?;
        match printer.json {
            true => printer.object(&trace)?,
            false => {
                if number == 0 {
                    printer.data(printer.cut(HEAD))?;
                }
                printer.data(printer.cut(&line(root, &trace)))?;
            }
        }
    }
    Ok(Outcome::Done)
}

fn query(args: &cli::TracesList, project: &ProjectId) -> CallsQuery {
    let failed = json!({"$in": [
        {"$getField": "summary.weave.status"},
        [{"$literal": "error"}, {"$literal": "descendant_error"}],
    ]});
    let op_names =
        args.op.as_ref().map(|op| vec![op.clone(), format!("weave:///{project}/op/{op}:*")]);
    CallsQuery {
        filter: CallsFilter { trace_roots_only: Some(true), op_names, ..CallsFilter::default() },
        query: if args.errors { json!({"$expr": failed}) } else { Value::Null },
        sort_by: Some(vec![SortBy::descending("started_at")]),
        limit: Some(args.limit.into()),
        columns: Some(COLUMNS.map(ToOwned::to_owned).to_vec()),
        ..CallsQuery::default()
    }
}

fn summary(found: &Found<'_>, root: &Value) -> anyhow::Result<Value> {
    let text = |field: &str| root[field].as_str().unwrap_or_default().to_owned();
    let filter = CallsFilter { trace_ids: Some(vec![text("trace_id")]), ..CallsFilter::default() };
    let query = CallsQuery { filter, ..CallsQuery::default() };
    let calls = found.reads.count_calls(&text("project_id").parse()?, &query)?;
    Ok(json!({
        "call_id": root["id"],
        "trace_id": root["trace_id"],
        "project_id": root["project_id"],
        "name": name_of(root),
        "op_name": root["op_name"],
        "started_at": root["started_at"],
        "duration_ms": root["summary"]["weave"]["latency_ms"],
        "status": status_of(root),
        "calls": calls,
    }))
}

const HEAD: &str = "\
started                    took  status            calls  call                                  project and op";

fn line(root: &Value, trace: &Value) -> String {
    let text = |field: &str| harmless(trace[field].as_str().unwrap_or_default());
    // A JSON number knows of no width.
    let calls = trace["calls"].as_u64().unwrap_or_default();
    let started = text("started_at");
    let seconds = started.split(['.', 'Z']).next().unwrap_or_default();
    format!(
        "{:<20}  {:>9}  {:<16}  {:>5}  {:<36}  {}  {}",
        format!("{seconds}Z"),
        took(root),
        text("status"),
        calls,
        text("call_id"),
        text("project_id"),
        text("name"),
    )
}
