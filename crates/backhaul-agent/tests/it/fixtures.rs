//! Stored records of both generations, as Python wrote them.

use backhaul_agent::json::Style;
use backhaul_agent::{PatchSource, RunRecord};
use serde_json::json;

use crate::support::{fixture_dir, python};

fn stored(name: &str) -> String {
    std::fs::read_to_string(fixture_dir().join(name)).unwrap()
}

fn record(name: &str) -> RunRecord {
    RunRecord::from_json(stored(name).as_bytes()).unwrap()
}

fn written(record: &RunRecord, style: Style) -> String {
    String::from_utf8(record.to_json_styled(style)).unwrap()
}

#[test]
fn stored_records_are_what_the_generator_writes() {
    let script = fixture_dir().join("generate.py");
    let output = python(&[script.to_str().unwrap(), "--check"], b"");
    assert_eq!(output, "differing: []\n");
}

#[test]
fn records_of_the_second_generation_are_written_back_in_the_same_bytes() {
    for name in [
        "g2_minimal.json",
        "g2_failed.json",
        "g2_sensors.json",
        "g2_provenance.json",
        "g2_traps.json",
    ] {
        assert_eq!(written(&record(name), Style::Python), stored(name), "{name}");
    }
}

#[test]
fn pretty_records_are_written_back_in_the_same_bytes() {
    for name in ["g2_provenance.pretty.json", "g2_traps.pretty.json"] {
        assert_eq!(
            String::from_utf8(record(name).to_json_pretty()).unwrap(),
            stored(name),
            "{name}"
        );
    }
}

#[test]
fn compact_form_loses_nothing() {
    for name in ["g2_provenance.json", "g2_traps.json"] {
        let again = RunRecord::from_json(&record(name).to_json()).unwrap();
        assert_eq!(written(&again, Style::Python), stored(name), "{name}");
    }
}

#[test]
fn records_of_the_first_generation_gain_only_the_cost() {
    for name in ["g1_minimal.json", "g1_sensors.json"] {
        let expected = stored(name);
        let expected = expected.strip_suffix('}').unwrap();
        let expected = format!("{expected}, \"total_cost_usd\": 0.0}}");
        assert_eq!(written(&record(name), Style::Python), expected, "{name}");
    }
}

#[test]
fn typed_fields_hold_what_python_wrote() {
    let record = record("g2_provenance.json");
    assert_eq!(record.dag_name, "sensor_dag");
    assert!(record.is_critical());
    assert_eq!(record.patches[0].source, PatchSource::Tool);
    assert_eq!(record.patches[1].value["text"], "Dach zu heiß 🔥");
    assert_eq!(record.tool_calls[1].error.as_deref(), Some("no answer"));
    assert_eq!(record.llm_calls[0].context_sources_used, ["manual", "memory"]);
    assert_eq!(record.llm_calls[0].cost_usd, 1.5e-5);
    let chain = record.provenance_chain.as_ref().unwrap();
    assert_eq!(chain.links[0].patch_ids, ["patch_00000001"]);
    assert_eq!(record.selection_summaries.len(), 1);
    assert_eq!(record.total_tokens(), 14);
}

#[test]
fn traps_reach_the_typed_fields() {
    let record = record("g2_traps.json");
    assert!(record.tool_calls[0].duration_ms.is_nan());
    assert_eq!(record.tool_calls[1].duration_ms, 5.0);
    assert_eq!(record.llm_calls[0].duration_ms, f64::INFINITY);
    assert_eq!(record.llm_calls[0].error.as_deref(), Some("cut off"));
    assert_eq!(record.initial_context, Some(Default::default()));
    for extra in [&record.extra, &record.patches[1].extra, &record.llm_calls[0].extra] {
        assert_eq!(extra.keys().collect::<Vec<_>>(), ["x_later", "a_later"]);
    }
}

#[test]
fn patches_replay_to_the_final_context() {
    let record = record("g2_sensors.json");
    let initial = record.initial_context.clone().unwrap();
    let replayed = record.get_patch_log().replay(&initial).unwrap();
    assert_eq!(Some(replayed.to_value()), record.final_context.map(|context| context.to_value()));
}

#[test]
fn summary_has_the_fields_of_upstream() {
    let summary = record("g2_provenance.json").summary();
    let expected = json!({
        "run_id": "run_provenance", "dag_name": "sensor_dag", "success": true, "error": null,
        "started_at": "2024-01-15T10:30:00+00:00",
        "completed_at": "2024-01-15T10:32:00.000007+00:00",
        "duration_ms": backhaul_agent::json::float(120_000.007), "total_tokens": 14,
        "total_cost_usd": backhaul_agent::json::float(1.5e-5),
        "total_llm_calls": 1, "total_tool_calls": 2, "total_patches": 4,
    });
    assert_eq!(summary.to_string(), expected.to_string());
}
