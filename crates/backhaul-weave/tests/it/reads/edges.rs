//! Questions at the edges of what can be asked, beside the real server: what it refuses is
//! refused here, and what it answers is the answer here.

use backhaul_weave::{Reads, TraceError};
use serde_json::{Value, json};

use super::both::Both;
use super::dice::Dice;
use super::logged::{self, Known, PROJECT, time};

fn calls(reads: &Reads, request: &Value) -> Result<Value, TraceError> {
    reads.calls_stream_query(request)?.collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn field(name: &str) -> Value {
    json!({"$getField": name})
}

fn literal(value: impl Into<Value>) -> Value {
    json!({"$literal": value.into()})
}

/// A folder of calls, and a server with the same; and what they answered differently.
struct Edges {
    both: Both,
    known: Vec<Known>,
    answered: usize,
    differences: Vec<String>,
}

impl Edges {
    fn new() -> Self {
        let both = Both::new();
        let mut dice = Dice::new(1234);
        let (steps, known) = logged::calls(90, &mut dice);
        both.log(&steps);
        both.log(&logged::feedback(&known, &mut dice));
        Self { both, known, answered: 0, differences: Vec::new() }
    }

    /// Asks both. `None`: both refuse it, or they differ.
    fn ask(
        &mut self,
        path: &str,
        request: &Value,
        ours: impl FnOnce(&Reads, &Value) -> Result<Value, TraceError>,
    ) -> Option<Value> {
        let answer = self.both.compare(path, request, ours);
        let answer = answer.unwrap_or_else(|differs| {
            self.differences.push(differs);
            None
        });
        self.answered += usize::from(answer.is_some());
        answer
    }

    /// At least so many questions were answered, and all in the same way.
    #[track_caller]
    fn are_the_same(self, at_least: usize) {
        assert!(self.differences.is_empty(), "{}", self.differences.join("\n\n"));
        assert!(self.answered >= at_least, "{}", self.answered);
    }
}

#[test]
fn calls_are_answered_as_by_the_real_server_at_the_edges() {
    let mut edges = Edges::new();
    for request in [orders(), pages(), conditions(), columns()].concat() {
        edges.ask("/calls/stream_query", &request, calls);
    }
    threads_and_deleted_calls(&mut edges);
    edges.are_the_same(300);
}

/// By fields that are there in some calls alone, of several types, deep, or nowhere.
fn orders() -> Vec<Value> {
    let fields = [
        "inputs.n",
        "inputs.n.a.b",
        "inputs.deep.list.0",
        "inputs.deep.list",
        "inputs.deep",
        "inputs.nothing.at.all",
        "inputs",
        "attributes.tag",
        "output",
        "output.score",
        "summary.usage.gpt.total_tokens",
        "summary.weave.status",
        "summary.weave.trace_name",
        "exception",
        "ended_at",
        "thread_id",
        "parent_id",
        "display_name",
        "wb_run_step",
        "wb_run_step_end",
        "wb_user_id",
        "project_id",
        "deleted_at",
        "no_such_field",
        "",
    ];
    let by = |field: &str, direction: &str| json!({"field": field, "direction": direction});
    let mut requests = Vec::new();
    for field in fields {
        requests.push(json!({"sort_by": [by(field, "asc")]}));
        let then = [by(field, "desc"), by("inputs.deep.text", "asc")];
        requests.push(json!({"sort_by": then, "limit": 25}));
    }
    requests.push(json!({"sort_by": [by("id", "up")]}));
    requests.push(json!({"sort_by": null}));
    requests
}

fn pages() -> Vec<Value> {
    let sizes = [json!(null), json!(0), json!(1), json!(50), json!(1_000_000)];
    let mut requests = Vec::new();
    for limit in &sizes {
        for offset in &sizes {
            requests.push(json!({"limit": limit, "offset": offset}));
            let by_op = json!([{"field": "op_name", "direction": "desc"}]);
            requests.push(json!({"limit": limit, "offset": offset, "sort_by": by_op}));
        }
    }
    requests.push(json!({"limit": "many"}));
    requests
}

/// Without those that the reference server answers by how it keeps things: that a time equals
/// one, a time and a number, names of traces; and `exists`, which it does not know.
fn conditions() -> Vec<Value> {
    let n = || field("inputs.n");
    let contains = |input: Value, substr: Value, case_insensitive: bool| {
        json!({"$contains":
            {"input": input, "substr": substr, "case_insensitive": case_insensitive}})
    };
    let convert = |name: &str, to: &str| json!({"$convert": {"input": field(name), "to": to}});
    let started = || field("started_at");
    let mut conditions = vec![
        json!({"$in": [n(), [literal(7), literal("7"), literal(true)]]}),
        json!({"$in": [n(), [literal(7), literal(1.5)]]}),
        json!({"$in": [n(), [literal(true), literal(false)]]}),
        json!({"$in": [n(), [literal("seven"), literal(Value::Null)]]}),
        json!({"$in": [n(), [literal(Value::Null)]]}),
        json!({"$in": [n(), []]}),
        json!({"$in": [n(), literal(7)]}),
        json!({"$in": [field("op_name"), [literal("plain"), literal("nobody")]]}),
        json!({"$in": [literal(7), [n(), literal(3)]]}),
        json!({"$not": [{"$in": [n(), [literal(7)]]}]}),
        json!({"$not": [{"$eq": [n(), literal(7)]}]}),
        json!({"$not": [{"$not": [{"$gt": [n(), literal(0)]}]}]}),
        json!({"$eq": [n(), literal(Value::Null)]}),
        json!({"$eq": [literal(Value::Null), n()]}),
        json!({"$gt": [n(), literal(Value::Null)]}),
        json!({"$not": [{"$eq": [field("exception"), literal(Value::Null)]}]}),
        json!({"$eq": [field("inputs.n"), field("output.score")]}),
        json!({"$eq": [literal(1), literal(1)]}),
        json!({"$eq": [literal(1), literal(2)]}),
        json!({"$eq": [n(), n(), n()]}),
        json!({"$eq": [n()]}),
        json!({"$lt": [started(), literal("2024-01-15")]}),
        json!({"$and": [{"$gt": [started(), literal(time(9_000_000))]},
            {"$lte": [started(), literal(time(4_000_000))]}]}),
        json!({"$or": [{"$lt": [started(), literal(time(2_000_008))]},
            {"$eq": [field("op_name"), literal("plain")]}]}),
        json!({"$gt": [field("ended_at"), literal(time(9_000_000))]}),
        json!({"$eq": [field("ended_at"), literal(Value::Null)]}),
        json!({"$eq": [field("id"), literal(logged::id(5))]}),
        json!({"$in": [field("id"), [literal(logged::id(5)), literal(logged::id(6))]]}),
        json!({"$eq": [field("parent_id"), literal(Value::Null)]}),
        json!({"$gt": [field("wb_run_step"), literal(3)]}),
        json!({"$eq": [field("wb_run_step"), literal("3")]}),
        json!({"$gt": [field("summary.weave.latency_ms"), literal("1000")]}),
        json!({"$eq": [field("inputs.deep.list"), literal(r#"[1,"x"]"#)]}),
        json!({"$eq": [field("inputs.deep.list.1"), literal("x")]}),
        json!({"$eq": [field("inputs.no.such"), literal("x")]}),
        json!({"$eq": [field("no_such"), literal("x")]}),
        json!({"$eq": [field(""), literal("x")]}),
        json!({"$or": []}),
        json!({"$not": [literal(1), literal(2)]}),
        json!({}),
        json!({"$literal": true}),
        json!({"$getField": "inputs.n"}),
        json!({"$eq": [n(), {"$literal": [1]}]}),
        json!({"$contains": {"input": n()}}),
        json!({"$convert": {"input": n(), "to": "date"}}),
        json!({"$size": n()}),
    ];
    for part in ["", "%", "_", "*", "SEVEN", "grün", "GRÜN", "7", "\\", "'", "call 1"] {
        for name in ["inputs.n", "inputs.deep.text", "output", "op_name", "exception", "inputs"] {
            conditions.push(contains(field(name), literal(part), false));
            conditions.push(contains(field(name), literal(part), true));
        }
    }
    conditions.push(contains(n(), literal(7), false));
    conditions.push(contains(n(), literal(Value::Null), true));
    conditions.push(contains(n(), field("attributes.tag"), false));
    for to in ["int", "double", "string", "bool"] {
        for name in ["inputs.n", "inputs.nothing", "output.score", "attributes.tag", "wb_run_step"]
        {
            conditions.push(json!({"$eq": [convert(name, to), literal(7)]}));
            conditions.push(json!({"$gt": [convert(name, to), literal(0)]}));
            conditions.push(json!({"$eq": [convert(name, to), literal("7")]}));
            conditions.push(json!({"$eq": [convert(name, to), literal(true)]}));
            conditions.push(json!({"$eq": [convert(name, to), literal(Value::Null)]}));
        }
    }
    conditions.into_iter().map(|expr| json!({"query": {"$expr": expr}})).collect()
}

fn columns() -> Vec<Value> {
    let some = [
        json!([]),
        json!(["id"]),
        json!(["inputs.n", "output.score"]),
        json!(["inputs_dump", "summary"]),
        json!(["no_such_column"]),
        json!(["summary.weave.status"]),
        json!(["wb_run_step", "deleted_at", "expire_at"]),
        json!(null),
    ];
    let mut requests: Vec<Value> = some.iter().map(|list| json!({"columns": list})).collect();
    requests.push(json!({"include_feedback": true, "columns": ["id"]}));
    requests.push(json!({"filter": {"no_such_filter": ["x"]}}));
    requests.push(json!({"filter": null, "query": null, "no_such_field": 1}));
    requests
}

/// What was deleted is gone with what was below it, however it is asked for.
fn threads_and_deleted_calls(edges: &mut Edges) {
    let of_thread = json!({"$expr": {"$eq": [field("thread_id"), literal("thread-1")]}});
    for threads in [json!([]), json!(null), json!(["thread-2"]), json!(["thread-1", "x"])] {
        let request = json!({"filter": {"thread_ids": threads}, "query": of_thread});
        edges.ask("/calls/stream_query", &request, calls);
        edges.ask("/calls/query_stats", &request, Reads::calls_query_stats);
    }
    let mut gone = 0;
    for one in edges.known.clone() {
        let read = edges.ask("/call/read", &json!({"id": one.id}), Reads::call_read);
        if read.is_none_or(|read| !read["call"].is_null()) {
            continue;
        }
        gone += 1;
        for filter in [
            json!({"call_ids": [one.id]}),
            json!({"parent_ids": [one.id]}),
            json!({"trace_ids": [one.trace_id]}),
        ] {
            let request = json!({"filter": filter});
            edges.ask("/calls/stream_query", &request, calls);
            edges.ask("/calls/query_stats", &request, Reads::calls_query_stats);
        }
    }
    // More than the two that were named.
    assert!(gone > 2, "{gone}");
    edges.ask("/calls/query_stats", &json!({}), Reads::calls_query_stats);
    edges.ask("/calls/query_stats", &json!({"limit": 3}), Reads::calls_query_stats);
    edges.ask("/calls/query_stats", &json!({"limit": -1}), Reads::calls_query_stats);
}

/// Without what the reference server fails at: conversions, orders by parts of payloads, and an
/// offset without a limit.
#[test]
fn feedback_is_answered_as_by_the_real_server_at_the_edges() {
    let mut edges = Edges::new();
    let known = edges.known.clone();
    let about = |one: &Known| literal(format!("weave:///{PROJECT}/call/{}", one.id));
    let score = || field("payload.output.score");
    let mut questions: Vec<Value> = [
        json!({"$in": [field("weave_ref"), [about(&known[7]), about(&known[8]), about(&known[9])]]}),
        json!({"$in": [field("feedback_type"), [literal("wandb.note.1"), literal("field.report")]]}),
        json!({"$contains": {"input": field("payload.note"), "substr": literal("fine")}}),
        json!({"$contains": {"input": field("weave_ref"), "substr": literal("/CALL/"),
            "case_insensitive": true}}),
        json!({"$gt": [score(), literal(1)]}),
        json!({"$eq": [score(), literal("2")]}),
        json!({"$eq": [field("payload.output.good"), literal(true)]}),
        json!({"$eq": [score(), literal(Value::Null)]}),
        json!({"$eq": [field("creator"), literal(Value::Null)]}),
        json!({"$eq": [field("runnable_ref"), literal(Value::Null)]}),
        json!({"$eq": [field("no_such"), literal(1)]}),
    ]
    .into_iter()
    .map(|expr| json!({"query": {"$expr": expr}}))
    .collect();
    for by in ["creator", "weave_ref", "feedback_type", "nothing"] {
        for direction in ["asc", "desc"] {
            let sort_by =
                json!([{"field": by, "direction": direction}, {"field": "id", "direction": "asc"}]);
            questions.push(json!({"sort_by": sort_by}));
        }
    }
    questions.extend([
        json!({"limit": 0}),
        json!({"limit": 5, "offset": 1000}),
        json!({"fields": []}),
        json!({"fields": ["id", "no_such"]}),
        json!({"fields": ["payload.note", "id"]}),
    ]);
    for question in &questions {
        edges.ask("/feedback/query", question, Reads::feedback_query);
    }
    edges.are_the_same(20);
}
