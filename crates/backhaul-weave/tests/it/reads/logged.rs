//! Data that is logged to a real server by HTTP and to a folder.

use backhaul_weave::{Entry, EntryType, OfflineTraceServer, ProjectId};
use serde_json::{Value, json};

use super::dice::Dice;

pub(super) const PROJECT: &str = "local/reads";
/// Who the real server says wrote.
const USER: &str = "reference-user";

/// One thing to log: the path and the body of the request, and the entry that it becomes.
pub(super) struct Step {
    pub(super) path: &'static str,
    pub(super) body: Value,
    pub(super) entry: (EntryType, Value),
}

/// A call as it is known when all is logged.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) id: String,
    pub(super) trace_id: String,
}

pub(super) fn project() -> ProjectId {
    PROJECT.parse().unwrap()
}

pub(super) fn id(number: usize) -> String {
    format!("0195c3a0-0000-7000-8000-{number:012x}")
}

pub(super) fn trace_id(number: usize) -> String {
    format!("0195c3a0-0000-7000-9000-{number:012x}")
}

/// A time on the 15th of January 2024.
pub(super) fn time(micros: usize) -> String {
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    format!("2024-01-15T12:{minutes:02}:{seconds:02}.{micros:06}Z")
}

pub(super) fn ops() -> Vec<String> {
    let op = |name: &str, digest: &str| format!("weave:///{PROJECT}/op/{name}:{digest}");
    vec![op("predict", "aaa"), op("predict", "bbb"), op("score", "ccc"), "plain".to_owned()]
}

pub(super) fn refs() -> Vec<String> {
    let of = |rest: &str| format!("weave:///{PROJECT}/object/{rest}");
    vec![of("model:m1"), of("model:m2"), of("rows:r1/attr/rows/id/abc")]
}

/// A value of any type.
fn value(dice: &mut Dice) -> Value {
    dice.of(&[
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(7),
        json!(-3),
        json!(1.5),
        json!(7.0),
        json!("7"),
        json!("1.5"),
        json!("seven"),
        json!("Seven and more"),
        json!("true"),
        json!(""),
        json!("grün"),
        json!([1, "two", {"three": 3}]),
        json!({"a": {"b": 2}, "c.d": "dotted"}),
    ])
}

fn start(number: usize, known: &[Known], dice: &mut Dice) -> Value {
    let parent = (!known.is_empty() && !dice.once_in(3)).then(|| dice.of(known));
    let trace = parent.as_ref().map_or_else(|| trace_id(number), |one| one.trace_id.clone());
    // Some start at the same moment.
    let at = if dice.once_in(8) { number / 4 * 4 } else { number };
    let refs = refs();
    let (inputs, attributes) = (value(dice), value(dice));
    json!({
        "project_id": PROJECT,
        "id": id(number),
        "trace_id": trace,
        "parent_id": parent.map(|one| one.id),
        "op_name": dice.of(&ops()),
        "display_name": dice.of(&[None, None, Some("shown"), Some("other name")]),
        "thread_id": dice.of(&[None, Some("thread-1"), Some("thread-2")]),
        "turn_id": dice.of(&[None, Some("turn-1")]),
        "started_at": time(at * 250_000),
        "attributes": {"tag": attributes, "weave": {"client_version": "1"}},
        "inputs": {
            "n": inputs,
            "self": dice.of(&[json!(refs[0]), json!([refs[1], {"in": refs[2]}]), json!(1)]),
            "deep": {"list": [number % 5, "x"], "text": format!("call {}", number % 11)},
        },
        "wb_run_id": dice.of(&[None, Some("local/reads/run1"), Some("local/reads/run2")]),
        "wb_run_step": dice.of(&[None, Some(3), Some(20)]),
        "wb_user_id": USER,
    })
}

fn end(start: &Value, number: usize, dice: &mut Dice) -> Value {
    let failed = dice.once_in(5);
    let exception = json!({"type": "ValueError", "message": "no", "traceback": []}).to_string();
    let errors = usize::from(dice.once_in(4));
    let other = value(dice);
    json!({
        "project_id": PROJECT,
        "id": start["id"],
        "ended_at": ended_at(start, number, dice),
        "exception": failed.then_some(exception),
        "output": dice.of(&[json!(null), json!({"score": number % 7, "ref": refs()[1]}), other]),
        "summary": dice.of(&[
            json!({}),
            json!({"status_counts": {"success": 1, "error": errors}, "usage": {"gpt": {"total_tokens": number}}}),
            json!({"weave": {"status": "made up"}, "status_counts": {"error": 2}}),
        ]),
        "wb_run_step_end": dice.of(&[None, Some(4)]),
    })
}

/// No two calls took as long: the server reckons in days, and equal times differ for it.
fn ended_at(start: &Value, number: usize, dice: &mut Dice) -> String {
    let started = start["started_at"].as_str().unwrap();
    let started = (0..).map(|at| at * 250_000).find(|at| time(*at) == started).unwrap();
    time(started + 1_000 * (7 + 3 * number + 1_000 * dice.below(3)))
}

/// Calls that start and end, or come whole, or go on; some renamed, some deleted.
pub(super) fn calls(count: usize, dice: &mut Dice) -> (Vec<Step>, Vec<Known>) {
    let (mut steps, mut known): (Vec<Step>, Vec<Known>) = Default::default();
    for number in 0..count {
        let start = start(number, &known, dice);
        let text = |key: &str| start[key].as_str().unwrap().to_owned();
        known.push(Known { id: text("id"), trace_id: text("trace_id") });
        let end = end(&start, number, dice);
        if dice.once_in(2) {
            let mut complete = start.clone();
            let fields = end.as_object().unwrap().clone();
            complete.as_object_mut().unwrap().extend(fields);
            steps.push(Step {
                path: "/v2/local/reads/calls/complete",
                body: json!({"batch": [complete]}),
                entry: (EntryType::CallComplete, complete),
            });
            continue;
        }
        steps.push(Step {
            path: "/call/start",
            body: json!({"start": start}),
            entry: (EntryType::CallStart, start),
        });
        if !dice.once_in(6) {
            steps.push(Step {
                path: "/call/end",
                body: json!({"end": end}),
                entry: (EntryType::CallEnd, end),
            });
        }
    }
    for one in &known {
        if !dice.once_in(12) {
            continue;
        }
        let name = dice.of(&["renamed", "Renamed again", ""]);
        let body = json!({"project_id": PROJECT, "call_id": one.id, "display_name": name});
        steps.push(Step {
            path: "/call/update",
            entry: (EntryType::CallUpdate, body.clone()),
            body,
        });
    }
    for one in [3, count / 2] {
        let body = json!({"project_id": PROJECT, "call_ids": [known[one].id]});
        steps.push(Step {
            path: "/calls/delete",
            entry: (EntryType::CallsDelete, body.clone()),
            body,
        });
    }
    (steps, known)
}

pub(super) fn feedback(known: &[Known], dice: &mut Dice) -> Vec<Step> {
    let kinds = ["wandb.reaction.1", "wandb.note.1", "field.report", "wandb.runnable.judge"];
    let mut steps = Vec::new();
    for number in 0..known.len() / 3 {
        let kind = dice.of(&kinds);
        let call = dice.of(known);
        let payload = match kind {
            "wandb.reaction.1" => json!({"emoji": "👍"}),
            "wandb.note.1" => json!({"note": dice.of(&["fine", "not so fine"])}),
            _ => json!({"output": {"score": dice.below(5), "good": dice.once_in(2)}}),
        };
        let runnable = (kind == "wandb.runnable.judge")
            .then(|| format!("weave:///{PROJECT}/object/judge:abc"));
        let body = json!({
            "id": id(100_000 + number),
            "project_id": PROJECT,
            "weave_ref": format!("weave:///{PROJECT}/call/{}", call.id),
            "creator": dice.of(&[None, Some("me")]),
            "feedback_type": kind,
            "payload": payload,
            "runnable_ref": runnable,
            "wb_user_id": USER,
        });
        let entry = (EntryType::FeedbackCreate, body.clone());
        steps.push(Step { path: "/feedback/create", body, entry });
    }
    let gone = json!({"project_id": PROJECT, "query":
        {"$expr": {"$eq": [{"$getField": "id"}, {"$literal": id(100_001)}]}}});
    steps.push(Step {
        path: "/feedback/purge",
        entry: (EntryType::FeedbackPurge, gone.clone()),
        body: gone,
    });
    steps
}

/// Logs to the folder.
pub(super) fn log(server: &OfflineTraceServer, steps: &[Step]) {
    for step in steps {
        let (entry_type, data) = &step.entry;
        server.log(&project(), &[Entry::of_value(*entry_type, data)]).unwrap();
    }
}
