//! The writer: takes values, or the parts of an object one by one.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::{MARK, Style, Unit, bare_word, number, units};

/// Writes one document. What is given to it must be well formed: an [`item`](Writer::item)
/// before each value of a list or object, a key after that in an object, an end for each
/// begin. Nothing checks it.
///
/// ```
/// use backhaul_json::{Style, Writer};
/// let mut writer = Writer::new(Style::Python);
/// writer.begin(b'{');
/// writer.item();
/// writer.key("name");
/// writer.text("Zoë");
/// writer.end(b'}');
/// assert_eq!(writer.into_bytes(), br#"{"name": "Zo\u00eb"}"#);
/// ```
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    style: Style,
    sort_keys: bool,
    /// For each open list or object, whether it has an item yet.
    open: Vec<bool>,
}

/// What is left to write of a list or object.
enum Walk<'a> {
    List(std::slice::Iter<'a, Value>),
    Object(serde_json::map::Iter<'a>),
    Sorted(std::vec::IntoIter<(&'a String, &'a Value)>),
}

impl<'a> Walk<'a> {
    fn next(&mut self) -> Option<(Option<&'a String>, &'a Value)> {
        match self {
            Walk::List(items) => items.next().map(|item| (None, item)),
            Walk::Object(entries) => entries.next().map(|(key, value)| (Some(key), value)),
            Walk::Sorted(entries) => entries.next().map(|(key, value)| (Some(key), value)),
        }
    }

    fn end(&self) -> u8 {
        if matches!(self, Walk::List(_)) { b']' } else { b'}' }
    }
}

impl Writer {
    /// A document without anything in it yet.
    pub fn new(style: Style) -> Self {
        Self { out: Vec::new(), style, sort_keys: false, open: Vec::new() }
    }

    /// Writes what `json.dumps(json.loads(text), sort_keys=True)` would: for hashes.
    pub fn sorted() -> Self {
        Self { sort_keys: true, ..Self::new(Style::Python) }
    }

    /// Whether the keys of each object have to come in [`key_order`].
    pub fn sorts_keys(&self) -> bool {
        self.sort_keys
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Begins a list with `[` or an object with `{`.
    pub fn begin(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.open.push(false);
    }

    /// Ends it with `]` or `}`.
    pub fn end(&mut self, bracket: u8) {
        if self.open.pop() == Some(true) {
            self.new_line();
        }
        self.out.push(bracket);
    }

    /// Separates an item of a list or object from the one before it.
    pub fn item(&mut self) {
        if let Some(has_items) = self.open.last_mut()
            && std::mem::replace(has_items, true)
        {
            self.out.extend_from_slice(if self.style == Style::Python { b", " } else { b"," });
        }
        self.new_line();
    }

    /// The key of an item of an object.
    pub fn key(&mut self, key: &str) {
        self.quoted(key);
        self.out.extend_from_slice(if self.style == Style::Compact { b":" } else { b": " });
    }

    /// A held string: a text, or a bare `NaN` or infinity.
    pub fn text(&mut self, text: &str) {
        match bare_word(text) {
            Some(word) => self.out.extend_from_slice(word.as_bytes()),
            None => self.quoted(text),
        }
    }

    /// A number, as it is spelled.
    pub fn number(&mut self, number: &Number) {
        let spelling = number.as_str();
        if self.sort_keys {
            self.out.extend_from_slice(number::as_python_writes(spelling).as_bytes());
        } else {
            self.out.extend_from_slice(spelling.as_bytes());
        }
    }

    /// Writes a value of any depth without recursion.
    pub fn value(&mut self, value: &Value) {
        let mut walks = Vec::new();
        walks.extend(self.begin_value(value));
        self.finish(walks);
    }

    /// Writes an object of any depth without recursion.
    pub fn map(&mut self, map: &Map<String, Value>) {
        let walk = self.begin_map(map);
        self.finish(vec![walk]);
    }

    fn finish(&mut self, mut walks: Vec<Walk<'_>>) {
        while let Some(walk) = walks.last_mut() {
            match walk.next() {
                Some((key, value)) => {
                    self.item();
                    if let Some(key) = key {
                        self.key(key);
                    }
                    walks.extend(self.begin_value(value));
                }
                None => {
                    self.end(walk.end());
                    walks.pop();
                }
            }
        }
    }

    fn begin_value<'a>(&mut self, value: &'a Value) -> Option<Walk<'a>> {
        match value {
            Value::Null => self.out.extend_from_slice(b"null"),
            Value::Bool(true) => self.out.extend_from_slice(b"true"),
            Value::Bool(false) => self.out.extend_from_slice(b"false"),
            Value::Number(number) => self.number(number),
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                self.begin(b'[');
                return Some(Walk::List(items.iter()));
            }
            Value::Object(map) => return Some(self.begin_map(map)),
        }
        None
    }

    fn begin_map<'a>(&mut self, map: &'a Map<String, Value>) -> Walk<'a> {
        self.begin(b'{');
        if !self.sort_keys {
            return Walk::Object(map.iter());
        }
        let mut entries: Vec<_> = map.iter().collect();
        entries.sort_by(|(left, _), (right, _)| key_order(left, right));
        Walk::Sorted(entries.into_iter())
    }

    fn new_line(&mut self) {
        if self.style == Style::Pretty {
            self.out.push(b'\n');
            self.out.resize(self.out.len() + 2 * self.open.len(), b' ');
        }
    }

    fn quoted(&mut self, held: &str) {
        self.out.push(b'"');
        if held.bytes().all(is_plain) || (self.style == Style::Compact && is_plain_utf8(held)) {
            self.out.extend_from_slice(held.as_bytes());
        } else {
            units(held).for_each(|unit| self.unit(unit));
        }
        self.out.push(b'"');
    }

    fn unit(&mut self, unit: Unit) {
        let character = match unit {
            Unit::LoneSurrogate(code) => return self.code_unit(code),
            Unit::Char(character) => character,
        };
        match short_escape(character) {
            Some(escape) => self.out.extend_from_slice(&[b'\\', escape]),
            None if self.is_written_plain(character) => self.utf8(character),
            None => {
                let mut buffer = [0; 2];
                for code in character.encode_utf16(&mut buffer) {
                    self.code_unit(*code);
                }
            }
        }
    }

    fn is_written_plain(&self, character: char) -> bool {
        (' '..='~').contains(&character) || (self.style == Style::Compact && character >= ' ')
    }

    fn utf8(&mut self, character: char) {
        let mut buffer = [0; 4];
        self.out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
    }

    fn code_unit(&mut self, code: u16) {
        self.out.extend_from_slice(format!("\\u{code:04x}").as_bytes());
    }
}

/// The order in which Python sorts held keys: by code point, lone surrogates too.
pub fn key_order(left: &str, right: &str) -> Ordering {
    units(left).map(Unit::code_point).cmp(units(right).map(Unit::code_point))
}

fn is_plain(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\'
}

fn is_plain_utf8(held: &str) -> bool {
    held.bytes().all(|byte| byte >= 0x80 || is_plain(byte)) && !held.contains(MARK)
}

fn short_escape(character: char) -> Option<u8> {
    match character {
        '"' => Some(b'"'),
        '\\' => Some(b'\\'),
        '\n' => Some(b'n'),
        '\r' => Some(b'r'),
        '\t' => Some(b't'),
        '\u{8}' => Some(b'b'),
        '\u{c}' => Some(b'f'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_slice;

    fn sorted(document: &str) -> String {
        let mut writer = Writer::sorted();
        writer.value(&from_slice(document.as_bytes()).unwrap());
        String::from_utf8(writer.into_bytes()).unwrap()
    }

    #[test]
    fn sorted_form_orders_keys_by_code_point() {
        assert_eq!(
            sorted(r#"{"\uffff":1,"\ud800":2,"\ue000":3,"a":{"c":1,"b":2},"\ud83d\ude00":4}"#),
            r#"{"a": {"b": 2, "c": 1}, "\ud800": 2, "\ue000": 3, "\uffff": 1, "\ud83d\ude00": 4}"#
        );
    }

    #[test]
    fn sorted_form_spells_numbers_as_python_would_again() {
        assert_eq!(sorted("[1e5,-0,1.10,1e400,0.00001]"), "[100000.0, 0, 1.1, Infinity, 1e-05]");
    }

    #[test]
    fn writes_values_deeper_than_the_reader_takes() {
        let mut value = Value::Null;
        for _ in 0..4 * crate::MAX_DEPTH {
            value = Value::Array(vec![value]);
        }
        let bytes = crate::to_vec(&value, Style::Compact);
        assert_eq!(bytes.len(), 8 * crate::MAX_DEPTH + 4);
    }
}
