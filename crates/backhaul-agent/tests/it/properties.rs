//! Generated documents: the round trip is exact, and nothing makes the reader panic.

use backhaul_agent::json::{self, Style};
use backhaul_agent::{ContextPatch, LlmCall, ProvenanceLink, RunRecord, ToolCall};
use backhaul_store::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value};

/// A value as Python holds it. The text of `Text` is code points, surrogates too.
#[derive(Debug, Clone)]
enum Py {
    Word(&'static str),
    Number(String),
    Text(Vec<u32>),
    List(Vec<Py>),
    Dict(Vec<(Vec<u32>, Py)>),
}

/// The plain way to do what `json.dumps` does.
fn dumps(value: &Py, out: &mut String) {
    match value {
        Py::Word(word) => out.push_str(word),
        Py::Number(spelling) => out.push_str(spelling),
        Py::Text(text) => dump_text(text, out),
        Py::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                dumps(item, out);
            }
            out.push(']');
        }
        Py::Dict(entries) => {
            out.push('{');
            for (index, (key, item)) in entries.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                dump_text(key, out);
                out.push_str(": ");
                dumps(item, out);
            }
            out.push('}');
        }
    }
}

fn dump_text(text: &[u32], out: &mut String) {
    out.push('"');
    for &code in text {
        match code {
            0x22 => out.push_str("\\\""),
            0x5c => out.push_str("\\\\"),
            0x08 => out.push_str("\\b"),
            0x09 => out.push_str("\\t"),
            0x0a => out.push_str("\\n"),
            0x0c => out.push_str("\\f"),
            0x0d => out.push_str("\\r"),
            0x20..=0x7e => out.push(char::from_u32(code).unwrap()),
            0x10000.. => {
                let code = code - 0x10000;
                let (high, low) = (0xd800 + (code >> 10), 0xdc00 + (code & 0x3ff));
                out.push_str(&format!("\\u{high:04x}\\u{low:04x}"));
            }
            _ => out.push_str(&format!("\\u{code:04x}")),
        }
    }
    out.push('"');
}

fn code_points() -> impl Strategy<Value = Vec<u32>> {
    let code = prop_oneof![
        4 => 0x20..0x7fu32,
        1 => 0..0x20u32,
        1 => 0x80..0x11_0000u32,
        2 => 0xd800..0xe000u32,
        2 => Just(0xfdd0u32),
        1 => prop::sample::select("d80cNaNInfinity-".chars().map(u32::from).collect::<Vec<_>>()),
    ];
    prop::collection::vec(code, 0..10)
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        "-?[1-9][0-9]{0,60}",
        "-?(0|[1-9][0-9]{0,20})\\.[0-9]{1,20}",
        "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,5})?e[-+][0-9]{1,4}",
    ]
}

fn py() -> impl Strategy<Value = Py> {
    const WORDS: &[&str] = &["null", "true", "false", "NaN", "Infinity", "-Infinity"];
    let scalar = prop_oneof![
        prop::sample::select(WORDS).prop_map(Py::Word),
        number().prop_map(Py::Number),
        code_points().prop_map(Py::Text),
    ];
    scalar.prop_recursive(6, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Py::List),
            prop::collection::btree_map(code_points(), inner, 0..6).prop_map(|map| {
                // Neighbouring surrogates make one character in JSON: keys may become equal.
                let mut seen = std::collections::HashSet::new();
                let dumped = |key: &[u32]| {
                    let mut out = String::new();
                    dump_text(key, &mut out);
                    out
                };
                Py::Dict(map.into_iter().filter(|(key, _)| seen.insert(dumped(key))).collect())
            }),
        ]
    })
}

fn text_of(value: &Py) -> String {
    let mut out = String::new();
    dumps(value, &mut out);
    out
}

fn rewritten(text: &str, style: Style) -> String {
    String::from_utf8(json::to_vec(&json::from_slice(text.as_bytes()).unwrap(), style)).unwrap()
}

/// What a `Value` can hold of a text that serde_json can read, too.
fn plain_json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(json::float).prop_filter("finite", Value::is_number),
        "[^\u{FDD0}]{0,12}".prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[^$\u{FDD0}]{0,6}", inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn as_map(value: Value) -> Map<String, Value> {
    [("value".to_owned(), value)].into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_python_dumps_is_written_back_in_the_same_bytes(value in py()) {
        let text = text_of(&value);
        prop_assert_eq!(rewritten(&text, Style::Python), text.clone());
        for style in [Style::Compact, Style::Pretty] {
            prop_assert_eq!(rewritten(&rewritten(&text, style), Style::Python), text.clone());
        }
    }

    #[test]
    fn different_documents_never_become_the_same_value(left in py(), right in py()) {
        let (left, right) = (text_of(&left), text_of(&right));
        let read = |text: &str| json::from_slice(text.as_bytes()).unwrap();
        prop_assert_eq!(left == right, read(&left) == read(&right));
    }

    #[test]
    fn agrees_with_serde_json_on_plain_json(value in plain_json()) {
        let theirs = serde_json::to_vec(&value).unwrap();
        prop_assert_eq!(json::from_slice(&theirs).unwrap(), value.clone());
        for style in [Style::Compact, Style::Python, Style::Pretty] {
            let ours = json::to_vec(&value, style);
            prop_assert_eq!(&serde_json::from_slice::<Value>(&ours).unwrap(), &value);
        }
    }

    #[test]
    fn text_of_a_program_survives_whatever_it_holds(text in any::<String>(), at in any::<prop::sample::Index>()) {
        let mut text: Vec<char> = text.chars().collect();
        text.insert(at.index(text.len() + 1), '\u{FDD0}');
        let text: String = text.into_iter().collect();
        let bytes = json::to_vec(&json::text(&text), Style::Compact);
        prop_assert_eq!(serde_json::from_slice::<String>(&bytes).unwrap(), text);
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error_inside_them(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Err(error) = json::from_slice(&bytes) {
            prop_assert!(error.offset() <= bytes.len());
        }
    }

    #[test]
    fn a_document_cut_or_changed_anywhere_never_panics(value in py(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = text_of(&value).into_bytes();
        let at = at.index(bytes.len());
        let _ = json::from_slice(&bytes[..at]);
        bytes[at] = byte;
        let _ = json::from_slice(&bytes);
        let _ = RunRecord::from_json(&bytes);
    }

    #[test]
    fn any_value_survives_in_every_place_of_a_record(value in py(), micros in any::<i64>(), cost in any::<f64>()) {
        let held = json::from_slice(text_of(&value).as_bytes()).unwrap();
        let time = Timestamp::from_micros(micros.rem_euclid(250_000_000_000_000_000));
        let mut record = RunRecord::new("run", time);
        record.initial_context = Some(as_map(held.clone()).into());
        record.metadata = as_map(held.clone());
        record.extra = as_map(held.clone());
        record.total_cost_usd = cost;
        record.patches.push(ContextPatch::set("p", held.clone()).timestamp(time));
        record.tool_calls.push(ToolCall::new("t", held.clone(), held.clone()).duration_ms(cost));
        record.llm_calls.push(LlmCall::new("m", vec![held.clone()], "").cost_usd(cost));
        let mut chain = backhaul_agent::ProvenanceChain::new("run");
        chain.links.push(ProvenanceLink::new("l").context_source(held));
        record.provenance_chain = Some(chain);

        let bytes = record.to_json();
        let read = RunRecord::from_json(&bytes).unwrap();
        prop_assert_eq!(read.to_json(), bytes);
        prop_assert_eq!(json::to_vec(&record.to_value(), Style::Compact), record.to_json());
        if !cost.is_nan() {
            prop_assert_eq!(read, record);
        }
    }
}
