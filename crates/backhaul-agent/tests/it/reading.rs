//! What the reader of records takes, and how it says no.

use backhaul_agent::{Context, RecordError, RunRecord};
use backhaul_store::Timestamp;

fn error_of(document: &str) -> String {
    RunRecord::from_json(document.as_bytes()).unwrap_err().to_string()
}

#[test]
fn only_the_run_id_is_required() {
    let now = Timestamp::from_micros(7_000_000);
    let record = RunRecord::from_json_at(br#"{"run_id": "r"}"#, now).unwrap();
    assert_eq!(record, RunRecord::new("r", now));
    assert!(record.success);
    assert_eq!(record.duration_ms(), 0.0);
    assert_eq!(error_of("{}"), "`run_id`: found nothing, expected text");
    assert_eq!(error_of("[]"), "found a list, expected an object");
}

#[test]
fn missing_times_of_nested_records_are_the_given_now() {
    let now = Timestamp::from_micros(7_000_000);
    let document = br#"{"run_id": "r", "tool_calls": [{"tool_id": "t"}]}"#;
    let record = RunRecord::from_json_at(document, now).unwrap();
    assert_eq!(record.tool_calls[0].timestamp, now);
}

#[test]
fn an_empty_context_stays_an_empty_context() {
    let document = br#"{"run_id": "r", "initial_context": {}, "final_context": null}"#;
    let record = RunRecord::from_json(document).unwrap();
    assert_eq!(record.initial_context, Some(Context::new()));
    assert_eq!(record.final_context, None);
    let text = String::from_utf8(record.to_json()).unwrap();
    assert!(text.contains(r#""initial_context":{},"final_context":null"#), "{text}");
}

#[test]
fn errors_name_the_place_what_was_found_and_what_was_expected() {
    for (fields, expected) in [
        (r#""patches": null"#, "`patches`: found null, expected a list"),
        (r#""selection_summaries": null"#, "`selection_summaries`: found null, expected a list"),
        (r#""tool_calls": [{"tool_id": "a"}, 7]"#, "`tool_calls[1]`: found 7, expected an object"),
        (
            r#""tool_calls": [{"tool_id": "a", "duration_ms": "abc"}]"#,
            "`tool_calls[0].duration_ms`: found \"abc\", expected a number",
        ),
        (
            r#""llm_calls": [{"model": "m", "input_tokens": NaN}]"#,
            "`llm_calls[0].input_tokens`: found NaN, expected a whole number from 0 to 2^64 - 1",
        ),
        (r#""success": "yes""#, "`success`: found \"yes\", expected true or false"),
        (
            r#""started_at": "yesterday""#,
            "`started_at`: found \"yesterday\", expected a time like 2024-01-15T10:30:00+00:00",
        ),
        (
            r#""started_at": null"#,
            "`started_at`: found null, expected a time like 2024-01-15T10:30:00+00:00",
        ),
        (r#""final_context": [1]"#, "`final_context`: found a list, expected an object or null"),
        (r#""metadata": 1"#, "`metadata`: found 1, expected an object"),
        (r#""dag_name": NaN"#, "`dag_name`: found NaN, expected text"),
        (r#""total_cost_usd": {}"#, "`total_cost_usd`: found an object, expected a number"),
        (
            r#""provenance_chain": {"links": [{}]}"#,
            "`provenance_chain.links[0].llm_call_id`: found nothing, expected text",
        ),
    ] {
        assert_eq!(error_of(&format!(r#"{{"run_id": "r", {fields}}}"#)), expected);
    }
}

#[test]
fn long_values_are_cut_in_errors() {
    let error = error_of(&format!(r#"{{"run_id": "r", "started_at": "{}"}}"#, "é".repeat(10_000)));
    assert!(error.len() < 250, "{error}");
}

#[test]
fn broken_json_is_told_from_a_wrong_field() {
    let syntax = RunRecord::from_json(b"{\"run_id\": }").unwrap_err();
    assert!(matches!(&syntax, RecordError::Syntax(error) if error.offset() == 11), "{syntax}");
    let field = RunRecord::from_json(b"{\"run_id\": 1}").unwrap_err();
    assert!(matches!(&field, RecordError::Field(error) if error.path() == "run_id"), "{field}");
}

#[test]
fn a_record_nested_too_deep_is_an_error() {
    let nested = format!(r#"{{"run_id": "r", "metadata": {}"#, r#"{"a":"#.repeat(100_000));
    assert!(matches!(RunRecord::from_json(nested.as_bytes()), Err(RecordError::Syntax(_))));
}

#[test]
fn null_scalars_are_the_default_and_stay_null() {
    let document = concat!(
        r#"{"run_id":"r","dag_name":null,"initial_context":null,"final_context":null,"#,
        r#""patches":[],"tool_calls":[],"llm_calls":[],"started_at":"2024-01-15T10:30:00+00:00","#,
        r#""completed_at":null,"success":true,"error":null,"metadata":null,"#,
        r#""total_cost_usd":null,"provenance_chain":null,"selection_summaries":[]}"#
    );
    let mut record = RunRecord::from_json(document.as_bytes()).unwrap();
    assert_eq!(record.dag_name, "");
    assert_eq!(String::from_utf8(record.to_json()).unwrap(), document);
    record.metadata.insert("a".into(), 1.into());
    record.dag_name = "dag".into();
    let changed = document
        .replace(r#""metadata":null"#, r#""metadata":{"a":1}"#)
        .replace(r#""dag_name":null"#, r#""dag_name":"dag""#);
    assert_eq!(String::from_utf8(record.to_json()).unwrap(), changed);
}

#[test]
fn a_clock_that_went_backwards_makes_no_negative_duration() {
    let mut record = RunRecord::new("r", Timestamp::from_micros(5_000_000));
    record.completed_at = Some(Timestamp::from_micros(1_000_000));
    assert_eq!(record.duration_ms(), 0.0);
    record.completed_at = Some(Timestamp::from_micros(5_000_001));
    assert_eq!(record.duration_ms(), 0.001);
}
