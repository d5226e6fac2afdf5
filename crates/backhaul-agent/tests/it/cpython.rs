//! What CPython's `json` and `datetime` write, this crate reads and writes the same.

use backhaul_agent::Context;
use backhaul_agent::json::{self, Style};
use backhaul_agent::time::{isoformat, parse};
use serde_json::Value;

use crate::support::python;

fn script() -> String {
    format!("{}/tests/it/cpython.py", env!("CARGO_MANIFEST_DIR"))
}

fn rewritten(text: &str, style: Style) -> String {
    let value = json::from_slice(text.as_bytes()).unwrap();
    String::from_utf8(json::to_vec(&value, style)).unwrap()
}

struct Dumped {
    plain: String,
    pretty: String,
    hash: String,
}

fn dumped() -> Vec<Dumped> {
    let output = python(&[&script(), "dump"], b"");
    let field = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
    let read = |line: &str| {
        let value = json::from_slice(line.as_bytes()).unwrap();
        Dumped {
            plain: field(&value, "plain"),
            pretty: field(&value, "pretty"),
            hash: field(&value, "hash"),
        }
    };
    let dumped: Vec<_> = output.lines().map(read).collect();
    assert_eq!(dumped.len(), 1500);
    dumped
}

#[test]
fn rewrites_what_python_dumps_byte_for_byte() {
    for dumped in dumped() {
        assert_eq!(rewritten(&dumped.plain, Style::Python), dumped.plain);
        assert_eq!(rewritten(&dumped.plain, Style::Pretty), dumped.pretty);
        assert_eq!(rewritten(&dumped.pretty, Style::Python), dumped.plain);
        let compact = rewritten(&dumped.plain, Style::Compact);
        assert_eq!(rewritten(&compact, Style::Python), dumped.plain);
    }
}

#[test]
fn python_reads_the_same_values_from_the_compact_form() {
    let lines: Vec<_> =
        dumped().iter().map(|dumped| rewritten(&dumped.plain, Style::Compact)).collect();
    assert_eq!(python(&[&script(), "check"], lines.join("\n").as_bytes()), "same 1500\n");
}

#[test]
fn state_hash_equals_the_one_computed_in_python() {
    for dumped in dumped() {
        let value = json::from_slice(dumped.plain.as_bytes()).unwrap();
        assert_eq!(
            Context::from_value(value).unwrap().state_hash(),
            dumped.hash,
            "{}",
            dumped.plain
        );
    }
}

#[test]
fn spells_floats_as_python_does() {
    for line in python(&[&script(), "floats"], b"").lines() {
        let (spelling, bits) = line.split_once(' ').unwrap();
        let value = json::float(f64::from_bits(bits.parse().unwrap()));
        let written = String::from_utf8(json::to_vec(&value, Style::Compact)).unwrap();
        assert_eq!(written, spelling, "{bits}");
    }
}

#[test]
fn writes_and_reads_times_as_python_does() {
    for line in python(&[&script(), "times"], b"").lines() {
        let mut words = line.split(' ');
        let (utc, elsewhere) = (words.next().unwrap(), words.next().unwrap());
        let micros: i64 = words.next().unwrap().parse().unwrap();
        let time = parse(utc).unwrap();
        assert_eq!(time.as_micros(), micros, "{utc}");
        assert_eq!(parse(elsewhere), Some(time), "{elsewhere}");
        assert_eq!(isoformat(time), utc);
    }
}
