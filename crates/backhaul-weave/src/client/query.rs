//! Reading what was logged, on the device.

use std::collections::HashMap;

use backhaul_store::Timestamp;
use serde_json::{Value, json};

use super::object_ref::ObjectRef;
use super::weave_client::{WeaveClient, required};
use crate::error::{TraceError, TraceErrorKind};
use crate::project::ProjectId;
use crate::reads::{CallsFilter, CallsQuery, Reads, SortBy};
use crate::refs;

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallStatus {
    /// It ended well.
    Success,
    /// It failed.
    Error,
    /// It goes on, or its program was stopped before it ended.
    Running,
}

impl CallStatus {
    /// As Weave calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Running => "running",
        }
    }
}

/// The calls of the client's project that are on this device, those logged a moment ago
/// included. To be narrowed down, and [listed](CallsRequest::list).
///
/// ```
/// # use backhaul_weave as weave;
/// # let dir = tempfile::tempdir()?;
/// use weave::CallStatus;
/// weave::init("my_team/my_project").offline(true).offline_dir(dir.path()).start()?;
/// weave::call("read").attribute("site", "buoy 7").run(|| 21.5);
///
/// let calls = weave::calls().op("read").attribute("site", "buoy 7").list()?;
/// assert_eq!(calls.len(), 1);
/// assert_eq!(calls[0].output(), 21.5);
/// assert_eq!(calls[0].status(), CallStatus::Success);
/// assert!(weave::calls().status(CallStatus::Error).list()?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn calls() -> CallsRequest {
    CallsRequest {
        of: Of::Client,
        filter: CallsFilter::default(),
        ops: Vec::new(),
        conditions: Vec::new(),
        is_newest_first: false,
        limit: None,
    }
}

/// The calls of a project in a folder, with or without a client: of any program, also of
/// another device.
///
/// # Errors
/// [`InvalidInput`](TraceErrorKind::InvalidInput) for a name of a project that is none.
pub fn calls_in(
    dir: impl AsRef<std::path::Path>,
    project: &str,
) -> Result<CallsRequest, TraceError> {
    let project = project.parse().map_err(|error: crate::ProjectError| {
        TraceError::new(TraceErrorKind::InvalidInput, error.to_string())
    })?;
    Ok(CallsRequest { of: Of::Folder(Reads::of_folder(dir), project), ..calls() })
}

/// Which calls are wanted. Made by [`calls`] and [`calls_in`].
#[derive(Debug, Clone)]
#[must_use = "calls are read by list()"]
pub struct CallsRequest {
    of: Of,
    filter: CallsFilter,
    ops: Vec<String>,
    conditions: Vec<Value>,
    is_newest_first: bool,
    limit: Option<usize>,
}

#[derive(Debug, Clone)]
enum Of {
    Client,
    Folder(Reads, ProjectId),
}

impl CallsRequest {
    /// Of an op, in any version of it. Of several, any.
    pub fn op(mut self, name: impl Into<String>) -> Self {
        self.ops.push(name.into());
        self
    }

    /// That came to this.
    pub fn status(self, status: CallStatus) -> Self {
        self.condition("$eq", "summary.weave.status", &status.name().into())
    }

    /// That began at a time or later.
    pub fn started_at_or_after(self, time: Timestamp) -> Self {
        self.condition("$gte", "started_at", &time.to_string().into())
    }

    /// That began before a time.
    pub fn started_before(mut self, time: Timestamp) -> Self {
        let is_later = comparison("$gte", "started_at", &time.to_string().into());
        self.conditions.push(json!({"$not": [is_later]}));
        self
    }

    /// Right below a call, by its id.
    pub fn parent(mut self, id: impl Into<String>) -> Self {
        self.filter.parent_ids.get_or_insert_default().push(id.into());
        self
    }

    /// Of a trace, by its id.
    pub fn trace(mut self, id: impl Into<String>) -> Self {
        self.filter.trace_ids.get_or_insert_default().push(id.into());
        self
    }

    /// Of a conversation, by its id.
    pub fn thread(mut self, id: impl Into<String>) -> Self {
        self.filter.thread_ids.get_or_insert_default().push(id.into());
        self
    }

    /// That stand below no other.
    pub fn roots(mut self) -> Self {
        self.filter.trace_roots_only = Some(true);
        self
    }

    /// With a value as an attribute, by its name; a `.` leads into an object.
    pub fn attribute(self, name: &str, value: impl Into<Value>) -> Self {
        self.condition("$eq", &format!("attributes.{name}"), &value.into())
    }

    /// With a value as an input, by its name; a `.` leads into an object.
    pub fn input(self, name: &str, value: impl Into<Value>) -> Self {
        self.condition("$eq", &format!("inputs.{name}"), &value.into())
    }

    /// The last one first. Default: as they began.
    pub fn newest_first(mut self) -> Self {
        self.is_newest_first = true;
        self
    }

    /// At most so many.
    pub fn limit(mut self, calls: usize) -> Self {
        self.limit = Some(calls);
        self
    }

    /// Reads them.
    ///
    /// # Errors
    /// Where there is no client, and where the folder cannot be read.
    pub fn list(self) -> Result<Vec<CallRecord>, TraceError> {
        let (reads, project) = match self.of.clone() {
            Of::Folder(reads, project) => (reads, project),
            Of::Client => {
                let client = required()?;
                (client.reads()?, client.project().clone())
            }
        };
        let query = self.into_query(&project);
        let calls = reads.calls(&project, &query)?;
        calls.map(|call| call.map(CallRecord)).collect()
    }

    fn condition(mut self, operator: &str, field: &str, value: &Value) -> Self {
        self.conditions.push(comparison(operator, field, value));
        self
    }

    fn into_query(self, project: &ProjectId) -> CallsQuery {
        let Self { mut filter, ops, conditions, is_newest_first, limit, .. } = self;
        if !ops.is_empty() {
            // An op by its code, and one that is only named.
            let any_version = |op: &String| format!("{}{project}/op/{op}:*", refs::SCHEME);
            filter.op_names = Some(ops.iter().map(any_version).chain(ops.clone()).collect());
        }
        let query = match conditions.is_empty() {
            true => Value::Null,
            false => json!({"$expr": {"$and": conditions}}),
        };
        CallsQuery {
            filter,
            query,
            sort_by: is_newest_first.then(|| vec![SortBy::descending("started_at")]),
            limit: limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX)),
            ..CallsQuery::default()
        }
    }
}

fn comparison(operator: &str, field: &str, value: &Value) -> Value {
    let field = json!({"$getField": field});
    let field = match value {
        Value::Number(number) if number.is_f64() => {
            json!({"$convert": {"input": field, "to": "double"}})
        }
        Value::Number(_) => json!({"$convert": {"input": field, "to": "int"}}),
        _ => field,
    };
    json!({operator: [field, {"$literal": value}]})
}

/// A call as it was logged: what a Weave server answers for it.
#[derive(Debug, Clone, PartialEq)]
pub struct CallRecord(Value);

impl CallRecord {
    /// All of it.
    pub fn as_json(&self) -> &Value {
        &self.0
    }

    /// Its id.
    pub fn id(&self) -> &str {
        self.text("id").unwrap_or_default()
    }

    /// The id of its trace.
    pub fn trace_id(&self) -> &str {
        self.text("trace_id").unwrap_or_default()
    }

    /// The id of the call that it stands below.
    pub fn parent_id(&self) -> Option<&str> {
        self.text("parent_id")
    }

    /// The name of its op, without project and version.
    pub fn op_name(&self) -> &str {
        let name = self.text("op_name").unwrap_or_default();
        let of_version = refs::parts(name).and_then(|(_, rest)| rest.strip_prefix("op/"));
        of_version.map_or(name, |rest| rest.rsplit_once(':').map_or(rest, |(name, _)| name))
    }

    /// What is shown in the place of that.
    pub fn display_name(&self) -> Option<&str> {
        self.text("display_name")
    }

    /// When it began, in RFC 3339.
    pub fn started_at(&self) -> &str {
        self.text("started_at").unwrap_or_default()
    }

    /// When it ended.
    pub fn ended_at(&self) -> Option<&str> {
        self.text("ended_at")
    }

    /// What it was given.
    pub fn inputs(&self) -> &Value {
        &self.0["inputs"]
    }

    /// What it gave.
    pub fn output(&self) -> &Value {
        &self.0["output"]
    }

    /// Its attributes.
    pub fn attributes(&self) -> &Value {
        &self.0["attributes"]
    }

    /// What it and the calls below it came to.
    pub fn summary(&self) -> &Value {
        &self.0["summary"]
    }

    /// What went wrong: JSON with `type`, `message` and `traceback`, where a client wrote it so.
    pub fn exception(&self) -> Option<&str> {
        self.text("exception")
    }

    /// What became of it.
    pub fn status(&self) -> CallStatus {
        match self.0["summary"]["weave"]["status"].as_str() {
            Some("error") => CallStatus::Error,
            Some("running") => CallStatus::Running,
            _ => CallStatus::Success,
        }
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.0[field].as_str()
    }
}

/// A call, and those below it.
#[derive(Debug, Clone, PartialEq)]
pub struct CallTree {
    /// The call.
    pub call: CallRecord,
    /// Those right below it, as they began.
    pub children: Vec<CallTree>,
}

/// The call with an id. `None`: there is none on this device.
///
/// # Errors
/// Where there is no client, and where the folder cannot be read.
pub fn get_call(id: &str) -> Result<Option<CallRecord>, TraceError> {
    let client = required()?;
    Ok(client.reads()?.call(client.project(), id)?.map(CallRecord))
}

/// The calls of a trace as trees: one for each call whose parent is not here, as they began.
///
/// # Errors
/// Where there is no client, and where the folder cannot be read.
pub fn trace_tree(trace_id: &str) -> Result<Vec<CallTree>, TraceError> {
    Ok(trees_of(calls().trace(trace_id).list()?))
}

/// Puts calls below those that they name as their parents. Not by recursion: programs nest as
/// deep as they like.
fn trees_of(calls: Vec<CallRecord>) -> Vec<CallTree> {
    let ids: HashMap<&str, usize> =
        calls.iter().enumerate().map(|(at, call)| (call.id(), at)).collect();
    let parents: Vec<Option<usize>> =
        calls.iter().map(|call| call.parent_id().and_then(|id| ids.get(id).copied())).collect();
    drop(ids);
    let order = parents_first(&parents);
    let mut trees: Vec<Option<CallTree>> =
        calls.into_iter().map(|call| Some(CallTree { call, children: Vec::new() })).collect();
    let mut roots = Vec::new();
    for at in order.into_iter().rev() {
        let Some(mut tree) = trees.get_mut(at).and_then(Option::take) else { continue };
        // They came in the opposite order.
        tree.children.reverse();
        let parent = parents.get(at).copied().flatten();
        match parent.and_then(|parent| trees.get_mut(parent)).and_then(Option::as_mut) {
            Some(parent) => parent.children.push(tree),
            None => roots.push(tree),
        }
    }
    roots.reverse();
    roots
}

/// Numbers of all calls, each after that of its parent, and those with one parent as they were.
/// Of calls that name each other as their parents one counts as the first.
fn parents_first(parents: &[Option<usize>]) -> Vec<usize> {
    let mut order = Vec::with_capacity(parents.len());
    let mut is_placed = vec![false; parents.len()];
    for at in 0..parents.len() {
        let mut above = Vec::new();
        let mut next = Some(at);
        while let Some(call) = next {
            match is_placed.get_mut(call) {
                Some(placed) if !*placed => *placed = true,
                _ => break,
            }
            above.push(call);
            next = parents.get(call).copied().flatten();
        }
        order.extend(above.into_iter().rev());
    }
    order
}

/// What an address of an object or a part of it leads to, on this device.
///
/// # Errors
/// [`NotFound`](TraceErrorKind::NotFound) where it leads to nothing here, and where there is
/// no client.
pub fn get(address: &ObjectRef) -> Result<Value, TraceError> {
    let reads = required()?.reads()?;
    let found = reads.refs_read_batch(&json!({"refs": [address.to_string()]}))?;
    Ok(found["vals"][0].clone())
}

/// The rows of a dataset, or of a table, on this device.
///
/// # Errors
/// [`NotFound`](TraceErrorKind::NotFound) where it is not here, and where there is no client.
pub fn rows(address: &ObjectRef) -> Result<Vec<Value>, TraceError> {
    let reads = required()?.reads()?;
    let table: ObjectRef = match address.name() {
        "" => address.clone(),
        _ => get(&address.attr("rows"))?.as_str().unwrap_or_default().parse()?,
    };
    let asked = json!({"project_id": table.project().to_string(), "digest": table.digest()});
    reads.table_query_stats(&asked)?;
    let rows = reads.table_query_stream(&asked)?;
    Ok(rows.into_iter().map(|mut row| row["val"].take()).collect())
}

/// A tree lets go of those below it one by one, however deep they stand.
impl Drop for CallTree {
    fn drop(&mut self) {
        let mut left = std::mem::take(&mut self.children);
        while let Some(mut tree) = left.pop() {
            left.append(&mut tree.children);
        }
    }
}

impl WeaveClient {
    /// Reads of all that was logged to the folder, this client's calls of now included.
    ///
    /// # Errors
    /// Where the disk takes nothing, and so what was logged last is not there.
    pub fn reads(&self) -> Result<Reads, TraceError> {
        self.flush()?;
        Ok(self.kept_reads().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: usize, parent: Option<usize>) -> CallRecord {
        let parent = parent.map(|parent| parent.to_string());
        CallRecord(json!({"id": id.to_string(), "parent_id": parent}))
    }

    #[test]
    fn a_tree_may_be_as_deep_as_it_likes() {
        let calls = (0_usize..100_000).map(|id| call(id, id.checked_sub(1))).collect();
        let trees = trees_of(calls);
        let (mut deepest, mut depth) = (&trees[0], 1);
        while let [child] = &*deepest.children {
            (deepest, depth) = (child, depth + 1);
        }
        assert_eq!((trees.len(), depth), (1, 100_000));
    }

    #[test]
    fn each_call_is_in_one_tree_also_those_that_name_each_other_or_nobody_that_is_here() {
        fn count(trees: &[CallTree]) -> usize {
            trees.iter().map(|tree| 1 + count(&tree.children)).sum()
        }
        let parents = [Some(1), Some(0), Some(2), Some(1), None, Some(99), Some(4), Some(4)];
        let calls: Vec<_> =
            parents.iter().enumerate().map(|(id, parent)| call(id, *parent)).collect();
        let trees = trees_of(calls);
        assert_eq!(count(&trees), parents.len());
        let of_four = trees.iter().find(|tree| tree.call.id() == "4").unwrap();
        let below: Vec<_> = of_four.children.iter().map(|child| child.call.id()).collect();
        assert_eq!(below, ["6", "7"]);
    }
}
