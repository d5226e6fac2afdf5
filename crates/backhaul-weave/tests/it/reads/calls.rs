//! Calls, and feedback on them, beside the real server.

use backhaul_weave::{Reads, TraceError};
use serde_json::{Value, json};

use super::both::Both;
use super::dice::Dice;
use super::logged::{self, PROJECT};
use super::queries;

fn calls(reads: &Reads, request: &Value) -> Result<Value, TraceError> {
    reads.calls_stream_query(request)?.collect::<Result<Vec<_>, _>>().map(Value::Array)
}

#[test]
fn calls_are_found_sorted_and_shown_as_by_the_real_server() {
    let both = Both::new();
    let mut dice = Dice::new(42);
    let (steps, known) = logged::calls(160, &mut dice);
    both.log(&steps);
    both.log(&logged::feedback(&known, &mut dice));
    let all = both.answers_are_the_same("/calls/stream_query", &json!({}), calls);
    // Some were deleted, with what was below them.
    assert!((100..158).contains(&all.as_array().unwrap().len()));
    let mut found = 0;
    for _ in 0..400 {
        let query = queries::query(&known, &mut dice);
        let answer = both.answers_are_the_same("/calls/stream_query", &query, calls);
        found += answer.as_array().unwrap().len();
    }
    // The questions are not about nothing.
    assert!(found > 4_000, "{found}");
    for _ in 0..60 {
        let filter = queries::filter(&known, &mut dice);
        let mut query = json!({"filter": filter});
        if found % 2 == 0 {
            query["query"] = json!({"$expr": queries::condition(1, &mut dice)});
        }
        found += 1;
        both.answers_are_the_same("/calls/query_stats", &query, Reads::calls_query_stats);
    }
    for one in known.iter().take(40) {
        both.answers_are_the_same("/call/read", &json!({"id": one.id}), Reads::call_read);
    }
    feedback_is_the_same(&both, &known);
    questions_without_sense_are_refused(&both);
}

fn feedback_is_the_same(both: &Both, known: &[logged::Known]) {
    let eq =
        |field: &str, value: Value| json!({"$eq": [{"$getField": field}, {"$literal": value}]});
    let about = format!("weave:///{PROJECT}/call/{}", known[7].id);
    for query in [
        json!({}),
        json!({"query": {"$expr": eq("weave_ref", json!(about))}}),
        json!({"query": {"$expr": eq("feedback_type", json!("wandb.note.1"))}, "limit": 3}),
        json!({"query": {"$expr": eq("payload.output.score", json!(2))}, "offset": 1, "limit": 50}),
        json!({"query": {"$expr": {"$not": [eq("creator", json!("me"))]}}}),
        json!({"fields": ["id", "payload", "feedback_type"],
            "sort_by": [{"field": "feedback_type", "direction": "desc"}, {"field": "id", "direction": "asc"}]}),
    ] {
        let answer = both.answers_are_the_same("/feedback/query", &query, Reads::feedback_query);
        assert!(answer["result"].is_array());
    }
}

fn questions_without_sense_are_refused(both: &Both) {
    for expr in [
        json!({"$eq": [{"$getField": "no_such_field"}, {"$literal": 1}]}),
        json!({"$almost": []}),
        json!({"$and": []}),
        json!({"$convert": {"input": {"$getField": "inputs.n"}, "to": "money"}}),
    ] {
        let request = json!({"query": {"$expr": expr}});
        let error = both.refuse_both("/calls/stream_query", &request, calls);
        assert_eq!(error.kind(), backhaul_weave::TraceErrorKind::InvalidInput, "{error}");
    }
    let sort_by = json!([{"field": "no_such_field", "direction": "asc"}]);
    both.refuse_both("/calls/stream_query", &json!({"sort_by": sort_by}), calls);
    both.refuse_both("/calls/query_stats", &json!({"limit": 0}), Reads::calls_query_stats);
}
