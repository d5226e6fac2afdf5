//! The reader: one pass, no recursion, so that depth is a number and not a stack.

use serde_json::{Map, Number, Value};

use super::{JsonError, MARK, MAX_DEPTH};

const A_VALUE: &str = "a JSON value";
const A_DIGIT: &str = "a digit";
const A_KEY: &str = "a key in double quotes";

pub(super) fn read(text: &str) -> Result<Value, JsonError> {
    let mut reader = Reader { text, at: 0 };
    if text.starts_with('\u{FEFF}') {
        reader.at = '\u{FEFF}'.len_utf8();
    }
    let value = reader.value()?;
    reader.skip_space();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.error("the end of the document")),
    }
}

/// A list or object whose end has not been read yet.
enum Open {
    List(Vec<Value>),
    Object(Map<String, Value>, String),
}

impl Open {
    fn push(&mut self, value: Value) {
        match self {
            Open::List(items) => items.push(value),
            Open::Object(map, key) => {
                map.insert(std::mem::take(key), value);
            }
        }
    }

    fn close(self) -> Value {
        match self {
            Open::List(items) => Value::Array(items),
            Open::Object(map, _) => Value::Object(map),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self) -> Result<Value, JsonError> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            let Some(mut value) = self.begin_value(&mut open)? else {
                continue;
            };
            // Hand the finished value to what surrounds it, and close what ends with it.
            loop {
                let Some(parent) = open.last_mut() else {
                    return Ok(value);
                };
                parent.push(value);
                if self.begin_next_item(parent)? {
                    break;
                }
                match open.pop() {
                    Some(finished) => value = finished.close(),
                    None => return Err(self.error(A_VALUE)),
                }
            }
        }
    }

    /// Reads a scalar or an empty list or object; a filled one is put on `open` instead.
    fn begin_value(&mut self, open: &mut Vec<Open>) -> Result<Option<Value>, JsonError> {
        self.skip_space();
        let value = match self.peek() {
            Some(b'[' | b'{') => return self.begin_nested(open),
            Some(b'"') => Value::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Value::Bool(true))?,
            Some(b'f') => self.word("false", Value::Bool(false))?,
            Some(b'n') => self.word("null", Value::Null)?,
            Some(b'N') => self.word("NaN", super::float(f64::NAN))?,
            Some(b'I') => self.word("Infinity", super::float(f64::INFINITY))?,
            _ => return Err(self.error(A_VALUE)),
        };
        Ok(Some(value))
    }

    fn begin_nested(&mut self, open: &mut Vec<Open>) -> Result<Option<Value>, JsonError> {
        if open.len() == MAX_DEPTH {
            let found = format!("nesting deeper than {MAX_DEPTH} levels");
            return Err(JsonError::new(self.text, self.at, found, "lists and objects less deep"));
        }
        let is_list = self.peek() == Some(b'[');
        self.at += 1;
        self.skip_space();
        if self.eat(if is_list { b']' } else { b'}' }) {
            let empty = if is_list { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
            return Ok(Some(empty));
        }
        open.push(match is_list {
            true => Open::List(Vec::new()),
            false => Open::Object(Map::new(), self.key()?),
        });
        Ok(None)
    }

    /// After an item: true when another one follows, false when the parent has ended.
    fn begin_next_item(&mut self, parent: &mut Open) -> Result<bool, JsonError> {
        self.skip_space();
        match (parent, self.peek()) {
            (Open::List(_), Some(b',')) => self.at += 1,
            (Open::Object(_, key), Some(b',')) => {
                self.at += 1;
                self.skip_space();
                *key = self.key()?;
            }
            (Open::List(_), Some(b']')) | (Open::Object(..), Some(b'}')) => {
                self.at += 1;
                return Ok(false);
            }
            (Open::List(_), _) => return Err(self.error("`,` or `]`")),
            (Open::Object(..), _) => return Err(self.error("`,` or `}`")),
        }
        Ok(true)
    }

    fn key(&mut self) -> Result<String, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.error(A_KEY));
        }
        let key = self.string()?;
        self.skip_space();
        match self.eat(b':') {
            true => Ok(key),
            false => Err(self.error("`:`")),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        if !self.rest().starts_with(word) {
            return Err(self.error(A_VALUE));
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        if self.eat(b'-') && self.peek() == Some(b'I') {
            return self.word("Infinity", super::float(f64::NEG_INFINITY));
        }
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _sign = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        let spelling = self.text.get(start..self.at).unwrap_or_default();
        let number: Result<Number, _> = spelling.parse();
        number.map(Value::Number).map_err(|_| JsonError::at(self.text, start, "a number"))
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let count = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        self.at += count;
        if count == 0 { Err(self.error(A_DIGIT)) } else { Ok(()) }
    }

    /// Reads from an opening quote to behind the closing one.
    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut held = String::new();
        loop {
            let plain = self.rest().bytes().take_while(|byte| is_plain(*byte)).count();
            held.push_str(self.text.get(self.at..self.at + plain).unwrap_or_default());
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(held);
                }
                Some(b'\\') => self.escape(&mut held)?,
                Some(MARK_LEAD) => self.character(&mut held),
                Some(_) => return Err(self.error("an escape, not a control character")),
                None => return Err(self.error("`\"` at the end of the string")),
            }
        }
    }

    /// Takes one character that may be the mark.
    fn character(&mut self, held: &mut String) {
        if let Some(character) = self.rest().chars().next() {
            self.at += character.len_utf8();
            push_code(held, u32::from(character));
        }
    }

    fn escape(&mut self, held: &mut String) -> Result<(), JsonError> {
        self.at += 1;
        let character = match self.peek() {
            Some(b'u') => {
                self.at += 1;
                let code = self.unicode_escape()?;
                push_code(held, code);
                return Ok(());
            }
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return Err(self.error("one of `\"\\/bfnrtu` after a backslash")),
        };
        self.at += 1;
        held.push(character);
        Ok(())
    }

    /// The code point of `\uXXXX`, of which `\u` is read; two escapes when they are a pair.
    fn unicode_escape(&mut self) -> Result<u32, JsonError> {
        let first = self.four_digits()?;
        if !(0xD800..0xDC00).contains(&first) || !self.rest().starts_with("\\u") {
            return Ok(first);
        }
        let before_second = self.at;
        self.at += 2;
        let second = self.four_digits()?;
        if (0xDC00..0xE000).contains(&second) {
            return Ok(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00));
        }
        self.at = before_second;
        Ok(first)
    }

    fn four_digits(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.error("four hex digits after `\\u`"));
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error(&self, expected: &'static str) -> JsonError {
        JsonError::at(self.text, self.at, expected)
    }
}

/// The first byte of the mark in UTF-8, which some other characters share.
const MARK_LEAD: u8 = 0xEF;

fn is_plain(byte: u8) -> bool {
    byte >= b' ' && byte != b'"' && byte != b'\\' && byte != MARK_LEAD
}

fn push_code(held: &mut String, code: u32) {
    match char::from_u32(code) {
        Some(MARK) => held.extend([MARK, MARK]),
        Some(character) => held.push(character),
        None => held.push_str(&format!("{MARK}{code:04x}")),
    }
}
