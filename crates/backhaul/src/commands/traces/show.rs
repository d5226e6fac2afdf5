//! `backhaul traces show`.

use std::collections::{HashMap, HashSet};

use anyhow::{anyhow, bail};
use backhaul_weave::{CallsFilter, CallsQuery, ProjectId};
use serde_json::{Value, json};

use super::{Found, name_of, status_of, took};
use crate::cli;
use crate::config::Config;
use crate::exit::{OrUsage as _, Outcome};
use crate::printer::{Printer, harmless};

/// Branches are drawn down to this depth; what is below is told its depth.
const MAX_DRAWN: usize = 40;
/// Names that are longer push the rest of their line: so the others fit where there are 60
/// columns.
const NAME_WIDTH: usize = 40;
/// Ids that are named where more than one is meant.
const NAMED: usize = 5;

pub(super) fn run(args: &cli::TracesShow, config: &Config) -> anyhow::Result<Outcome> {
    let printer = Printer { json: args.common.json };
    let found = Found::open_or_usage(config, args.project.as_deref())?;
    let (project, id) = find(&found, &args.id)?;
    let call = found.reads.call(&project, &id)?;
    let call = call.ok_or_else(|| anyhow!("the call {id} was removed just now"))?;
    let trace_id = call["trace_id"].as_str().unwrap_or_default().to_owned();
    let filter = CallsFilter { trace_ids: Some(vec![trace_id.clone()]), ..CallsFilter::default() };
    let query = CallsQuery { filter, ..CallsQuery::default() };
    let calls = found.reads.calls(&project, &query)?.collect::<Result<Vec<_>, _>>()?;
    let tree = in_order(calls);
    if printer.json {
        let calls: Vec<Value> = tree.into_iter().map(Node::into_json).collect();
        let trace =
            json!({"project_id": project.to_string(), "trace_id": trace_id, "calls": calls});
        printer.object(&trace)?;
        return Ok(Outcome::Done);
    }
    let started = tree.first().and_then(|root| root.call["started_at"].as_str());
    printer.data(format_args!(
        "trace {} of {project}, {} call{}, started {}\n",
        harmless(&trace_id),
        tree.len(),
        if tree.len() == 1 { "" } else { "s" },
        started.unwrap_or("-")
    ))?;
    draw(printer, &tree, &id)?;
    Ok(Outcome::Done)
}

/// The one call whose id begins with a text.
fn find(found: &Found<'_>, prefix: &str) -> anyhow::Result<(ProjectId, String)> {
    let mut matches = Vec::new();
    for project in &found.projects {
        let ids = found.reads.call_ids(project, prefix, NAMED + 1)?;
        matches.extend(ids.into_iter().map(|id| (project.clone(), id)));
    }
    let whole = matches.iter().position(|(_, id)| id == prefix);
    if let Some(whole) =
        whole.filter(|_| matches.iter().filter(|(_, id)| id == prefix).count() == 1)
    {
        return Ok(matches.swap_remove(whole));
    }
    match matches.len() {
        0 => bail!(
            "there is no call {prefix} in {}: `backhaul traces list` shows the traces that there are",
            found.dir.display()
        ),
        1 => Ok(matches.swap_remove(0)),
        _ => {
            let named =
                matches.iter().take(NAMED).map(|(project, id)| format!("{id} of {project}"));
            let named: Vec<String> = named.collect();
            let more = if matches.len() > NAMED { ", …" } else { "" };
            Err(anyhow!(
                "{prefix} may be {}{more}: say more of the id, or --project",
                named.join(", ")
            ))
            .or_usage()
        }
    }
}

/// A call in its tree.
struct Node {
    call: Value,
    depth: usize,
    /// What is drawn before its name.
    branch: String,
}

impl Node {
    fn into_json(self) -> Value {
        let mut call = self.call;
        if let Some(fields) = call.as_object_mut() {
            fields.insert("depth".to_owned(), self.depth.into());
        }
        call
    }
}

/// The calls of a trace as they are drawn: each below its parent, those of one parent in the
/// order in which they began. One whose parent is not here is drawn as a root.
fn in_order(calls: Vec<Value>) -> Vec<Node> {
    let id = |call: &Value| call["id"].as_str().unwrap_or_default().to_owned();
    let known: HashSet<String> = calls.iter().map(id).collect();
    let mut below: HashMap<String, Vec<Value>> = HashMap::new();
    let mut roots = Vec::new();
    for call in calls {
        match call["parent_id"].as_str().filter(|parent| known.contains(*parent)) {
            Some(parent) => below.entry(parent.to_owned()).or_default().push(call),
            None => roots.push(call),
        }
    }
    let node = |call, depth, branch: &str| Node { call, depth, branch: branch.to_owned() };
    // What is still to come, the next one last; and what is drawn below it.
    let mut left: Vec<(Node, String)> =
        roots.into_iter().rev().map(|call| (node(call, 0, ""), String::new())).collect();
    let mut drawn = Vec::new();
    loop {
        let Some((parent, indent)) = left.pop() else {
            // Calls that are below each other in a circle.
            let Some(parent) = below.keys().min().cloned() else { break };
            let rest = below.remove(&parent).unwrap_or_default().into_iter().rev();
            left.extend(rest.map(|call| (node(call, 0, ""), String::new())));
            continue;
        };
        let children = below.remove(&id(&parent.call)).unwrap_or_default();
        let depth = parent.depth + 1;
        drawn.push(parent);
        for (from_end, call) in children.into_iter().rev().enumerate() {
            let (branch, further) = match (depth > MAX_DRAWN, from_end == 0) {
                (true, _) => (format!("{indent}({depth}) "), indent.clone()),
                (false, true) => (format!("{indent}└─ "), format!("{indent}   ")),
                (false, false) => (format!("{indent}├─ "), format!("{indent}│  ")),
            };
            left.push((node(call, depth, &branch), further));
        }
    }
    drawn
}

fn draw(printer: Printer, tree: &[Node], asked: &str) -> anyhow::Result<()> {
    let name = |node: &Node| format!("{}{}", node.branch, harmless(name_of(&node.call)));
    let width =
        tree.iter().map(|node| name(node).chars().count()).max().unwrap_or(0).min(NAME_WIDTH);
    let several = tree.len() > 1;
    for node in tree {
        let mark = if several && node.call["id"] == asked { "  <" } else { "" };
        let line = format!(
            "{:<width$}  {:>9}  {}{mark}",
            name(node),
            took(&node.call),
            remark(&node.call),
        );
        printer.data(line.trim_end())?;
    }
    Ok(())
}

/// What there is to say of a call that did not simply succeed.
fn remark(call: &Value) -> String {
    match status_of(call) {
        "success" => String::new(),
        "running" => "running".to_owned(),
        "descendant_error" => "(failed below)".to_owned(),
        _ => {
            let exception = call["exception"].as_str().unwrap_or_default();
            let said: Value = serde_json::from_str(exception).unwrap_or_default();
            let text = match (said["type"].as_str(), said["message"].as_str()) {
                (Some(kind), Some(message)) => format!("{kind}: {message}"),
                _ => exception.to_owned(),
            };
            format!("error  {}", harmless(text.lines().next().unwrap_or_default()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str, parent: Option<&str>) -> Value {
        json!({"id": id, "parent_id": parent})
    }

    #[test]
    fn calls_stand_below_their_parents_with_their_branches() {
        let calls = vec![
            call("root", None),
            call("one", Some("root")),
            call("orphan", Some("gone")),
            call("deep", Some("one")),
            call("two", Some("root")),
            call("itself", Some("itself")),
        ];
        let drawn: Vec<String> = in_order(calls)
            .iter()
            .map(|node| format!("{}{}", node.branch, node.call["id"].as_str().unwrap()))
            .collect();
        assert_eq!(drawn, ["root", "├─ one", "│  └─ deep", "└─ two", "orphan", "itself"]);
    }

    #[test]
    fn a_chain_of_many_calls_is_drawn_without_growing_wide() {
        let id = |number: usize| number.to_string();
        let calls: Vec<Value> = (0..2_000)
            .map(|number| call(&id(number), number.checked_sub(1).map(id).as_deref()))
            .collect();
        let drawn = in_order(calls);
        assert_eq!(drawn.len(), 2_000);
        assert!(drawn.iter().all(|node| node.branch.chars().count() < 200));
        assert!(drawn[1_999].branch.ends_with("(1999) "));
    }
}
