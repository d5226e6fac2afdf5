//! Digests beside those that a real server gave, and canonical JSON beside CPython's.

use std::io::Write as _;
use std::process::{Command, Stdio};

use backhaul_json::{Style, to_vec};
use backhaul_testkit::Prng;
use backhaul_weave::{digest, refs};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// What the trace store of weave 0.52.42 answered, recorded over HTTP.
pub(crate) fn vectors() -> Value {
    backhaul_json::from_slice(include_bytes!("vectors.json")).unwrap()
}

pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let items = value[key].as_array().unwrap();
    assert!(!items.is_empty() || key == "rows" || key == "row_digests", "{key}");
    items
}

#[test]
fn objects_have_the_digests_that_the_server_gave() {
    let vectors = vectors();
    let internal = vectors["internal_project_id"].as_str().unwrap();
    for vector in list(&vectors, "objects") {
        let mut value = vector["val"].clone();
        refs::rewrite(&mut value, &mut |project, rest| {
            let is_its_own = vectors["project"] == project.to_string();
            is_its_own.then(|| format!("{}{internal}/{rest}", refs::INTERNAL_SCHEME))
        });
        assert_eq!(vector["digest"], digest::of_value(&value), "{vector}");
    }
}

#[test]
fn a_reference_counts_as_the_server_has_it() {
    let vectors = vectors();
    let with_reference = &list(&vectors, "objects")[8];
    assert_ne!(with_reference["digest"], digest::of_value(&with_reference["val"]));
}

#[test]
fn tables_and_rows_have_the_digests_that_the_server_gave() {
    let vectors = vectors();
    for vector in list(&vectors, "tables") {
        let rows: Vec<String> = list(vector, "rows").iter().map(digest::of_value).collect();
        assert_eq!(vector["row_digests"], json!(rows), "{vector}");
        assert_eq!(vector["digest"], digest::of_table(&rows), "{vector}");
    }
}

#[test]
fn files_have_the_digests_that_the_server_gave() {
    let vectors = vectors();
    for vector in list(&vectors, "files") {
        let content = STANDARD.decode(vector["base64"].as_str().unwrap()).unwrap();
        assert_eq!(vector["digest"], digest::of_file(&content), "{vector}");
    }
}

/// Values of all kinds and depths: numbers at the edges of every spelling, texts with what
/// is escaped, keys whose order differs between code points and UTF-16.
struct Generator(Prng);

impl Generator {
    fn value(&mut self, depth: usize) -> Value {
        match self.0.index(if depth > 4 { 6 } else { 8 }) {
            0 => [Value::Null, true.into(), false.into()][self.0.index(3)].clone(),
            1 => self.integer(),
            2 | 3 => self.float(),
            4 | 5 => Value::String(self.text()),
            6 => (0..self.0.index(5)).map(|_| self.value(depth + 1)).collect(),
            _ => {
                let entries = (0..self.0.index(6)).map(|_| (self.text(), self.value(depth + 1)));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    fn integer(&mut self) -> Value {
        let digits: String = (0..=self.0.index(40)).map(|_| self.digit()).collect();
        let digits = digits.trim_start_matches('0');
        let sign = ["", "-"][self.0.index(2)];
        let text = if digits.is_empty() { "0".to_owned() } else { format!("{sign}{digits}") };
        backhaul_json::from_slice(text.as_bytes()).unwrap()
    }

    fn digit(&mut self) -> char {
        char::from(b'0' + u8::try_from(self.0.index(10)).unwrap())
    }

    /// Any bits; a few digits around the exponents where spellings change; other spellings.
    fn float(&mut self) -> Value {
        let text = match self.0.index(3) {
            0 => match f64::from_bits(self.0.next_u64()) {
                float if float.is_finite() => format!("{float:?}"),
                _ => "0.5".to_owned(),
            },
            1 => {
                let digits: String = (0..=self.0.index(17)).map(|_| self.digit()).collect();
                let exponent = i32::try_from(self.0.index(50)).unwrap() - 25;
                let sign = if exponent < 0 { "" } else { "+" };
                format!("{}.{digits}e{sign}{exponent}", self.digit())
            }
            _ => format!("{}.{}E{}", self.digit(), self.digit(), self.0.index(330)),
        };
        backhaul_json::from_slice(text.as_bytes()).unwrap()
    }

    fn text(&mut self) -> String {
        const CHARACTERS: [char; 24] = [
            'a',
            'b',
            'Z',
            '0',
            ' ',
            '/',
            '"',
            '\\',
            '\n',
            '\t',
            '\u{8}',
            '\u{c}',
            '\r',
            '\0',
            '\u{1f}',
            '\u{7f}',
            'é',
            'ß',
            '\u{2028}',
            '\u{ffff}',
            '\u{e000}',
            '\u{10000}',
            '😀',
            '\u{10ffff}',
        ];
        (0..self.0.index(7)).map(|_| CHARACTERS[self.0.index(CHARACTERS.len())]).collect()
    }
}

/// How many values: `BACKHAUL_JSON_VALUES`, else 100,000.
fn count() -> usize {
    let text = std::env::var("BACKHAUL_JSON_VALUES").ok();
    text.map_or(100_000, |text| text.parse().unwrap())
}

/// What CPython makes of values, a line each.
fn by_cpython(values: &[Value]) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/canonical.py");
    let mut python = Command::new("python3")
        .args([script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test compares with the real python3, which has to be installed");
    let mut lines = Vec::new();
    for value in values {
        lines.extend(to_vec(value, Style::Compact));
        lines.push(b'\n');
    }
    let mut stdin = python.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&lines).unwrap());
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
}

#[test]
fn canonical_json_is_that_of_cpython() {
    let mut generator = Generator(Prng::new(1));
    let values: Vec<Value> = (0..count()).map(|_| generator.value(0)).collect();
    let expected = by_cpython(&values);
    assert_eq!(expected.len(), values.len());
    for (value, expected) in values.iter().zip(expected) {
        assert_eq!(String::from_utf8(digest::canonical(value)).unwrap(), expected);
    }
}

#[test]
fn the_comparison_notices_keys_that_are_not_sorted() {
    let value = json!({"b": 1, "a": 2});
    let expected = by_cpython(std::slice::from_ref(&value)).remove(0);
    assert_ne!(String::from_utf8(to_vec(&value, Style::Python)).unwrap(), expected);
}
