//! Questions about calls.

use serde_json::{Value, json};

use super::dice::Dice;
use super::logged::{Known, ops, refs, time};

/// A body of `calls/stream_query` without its project.
pub(super) fn query(known: &[Known], dice: &mut Dice) -> Value {
    let mut query = json!({});
    if !dice.once_in(3) {
        query["filter"] = filter(known, dice);
    }
    if dice.once_in(2) {
        query["query"] = json!({"$expr": condition(2, dice)});
    }
    if !dice.once_in(3) {
        let count = 1 + dice.below(2);
        query["sort_by"] = (0..count).map(|_| sort(dice)).collect();
    }
    if dice.once_in(2) {
        query["limit"] = json!(dice.below(20));
    }
    if dice.once_in(3) {
        query["offset"] = json!(dice.below(10));
    }
    if dice.once_in(4) {
        let columns =
            ["inputs", "output.score", "summary", "display_name", "ended_at", "exception"];
        query["columns"] = json!(dice.some(&columns));
    }
    if dice.once_in(5) {
        query["include_feedback"] = json!(true);
    }
    query
}

pub(super) fn filter(known: &[Known], dice: &mut Dice) -> Value {
    let ids = |dice: &mut Dice, of: fn(&Known) -> &String| {
        let one = dice.of(known);
        let other = dice.of(known);
        json!([of(&one), of(&other), "nobody"])
    };
    let mut filter = json!({});
    for _ in 0..=dice.below(3) {
        match dice.below(11) {
            0 => {
                let mut names = ops();
                names.push("weave:///local/reads/op/predict:*".to_owned());
                filter["op_names"] = json!(dice.some(&names));
            }
            1 => filter["trace_roots_only"] = json!(dice.once_in(2)),
            2 => filter["trace_ids"] = ids(dice, |one| &one.trace_id),
            3 => filter["parent_ids"] = ids(dice, |one| &one.id),
            4 => filter["call_ids"] = ids(dice, |one| &one.id),
            5 => filter["thread_ids"] = json!(dice.some(&["thread-1", "thread-2", "none"])),
            6 => filter["wb_run_ids"] = json!(dice.some(&["local/reads/run1", "local/reads/run2"])),
            7 => filter["wb_user_ids"] = json!(["reference-user"]),
            8 | 9 => {
                let mut refs = refs();
                refs.push("weave:///local/reads/object/model:*".to_owned());
                filter["input_refs"] = json!(dice.some(&refs));
            }
            _ => filter["output_refs"] = json!(dice.some(&refs())),
        }
    }
    filter
}

const TEXTS: [&str; 6] =
    ["op_name", "display_name", "trace_id", "parent_id", "thread_id", "exception"];

const VALUES: [&str; 16] = [
    "inputs.n",
    "inputs.n.a.b",
    r"inputs.n.c\.d",
    "inputs.deep.list.0",
    "inputs.deep.text",
    "inputs.nothing",
    "attributes.tag",
    "output",
    "output.score",
    "summary.n",
    "summary.usage.gpt.total_tokens",
    "summary.status_counts.error",
    "summary.weave.status",
    "wb_run_step",
    "feedback.[wandb.runnable.judge].payload.output.score",
    "feedback.[wandb.note.1].payload.note",
];

fn field(dice: &mut Dice) -> Value {
    let name = if dice.once_in(3) { dice.of(&TEXTS) } else { dice.of(&VALUES) };
    json!({"$getField": name})
}

fn literal(dice: &mut Dice) -> Value {
    let value = dice.of(&[
        json!(7),
        json!(3),
        json!(0),
        json!(1.5),
        json!(true),
        json!(false),
        json!("7"),
        json!("seven"),
        json!("success"),
        json!("error"),
        json!("shown"),
        json!("plain"),
        json!("fine"),
        json!("thread-1"),
    ]);
    json!({"$literal": value})
}

fn operand(dice: &mut Dice) -> Value {
    match dice.below(4) {
        0 => {
            let to = dice.of(&["int", "double", "string", "bool"]);
            json!({"$convert": {"input": field(dice), "to": to}})
        }
        _ => field(dice),
    }
}

pub(super) fn condition(depth: usize, dice: &mut Dice) -> Value {
    if depth > 0 && dice.once_in(2) {
        let operator = dice.of(&["$and", "$or", "$not"]);
        let count = if operator == "$not" { 1 } else { 1 + dice.below(3) };
        let parts: Vec<Value> = (0..count).map(|_| condition(depth - 1, dice)).collect();
        return json!({operator: parts});
    }
    match dice.below(10) {
        0 => json!({"$eq": [field(dice), {"$literal": null}]}),
        1 => json!({"$in": [operand(dice), [literal(dice), literal(dice), literal(dice)]]}),
        2 | 3 => {
            let part = dice.of(&["e", "SEVEN", "predict", "fine", "call 1"]);
            json!({"$contains": {
                "input": field(dice),
                "substr": {"$literal": part},
                "case_insensitive": dice.once_in(2),
            }})
        }
        4 => {
            let at = json!({"$literal": time(dice.below(200) * 250_000 + 8)});
            json!({dice.of(&["$gt", "$gte", "$lt", "$lte"]): [{"$getField": "started_at"}, at]})
        }
        5 => json!({"$gt": [{"$getField": "summary.weave.latency_ms"}, {"$literal": 1000.5}]}),
        _ => {
            let operator = dice.of(&["$eq", "$gt", "$gte", "$lt", "$lte"]);
            json!({operator: [operand(dice), literal(dice)]})
        }
    }
}

fn sort(dice: &mut Dice) -> Value {
    let fields = [
        "started_at",
        "started_at",
        "ended_at",
        "op_name",
        "display_name",
        "id",
        "inputs.n",
        "inputs.deep.text",
        "output.score",
        "summary.weave.status",
        "summary.weave.latency_ms",
        "summary.usage.gpt.total_tokens",
        "wb_run_step",
        "exception",
    ];
    json!({"field": dice.of(&fields), "direction": dice.of(&["asc", "desc"])})
}
