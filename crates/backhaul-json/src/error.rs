use std::fmt;
use std::str::Utf8Error;

/// Why bytes are not a JSON document: what was found, where, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    offset: usize,
    line: usize,
    column: usize,
    found: String,
    expected: &'static str,
}

impl JsonError {
    /// The position in bytes from the start, from 0.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The character in the line, from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What stands at the position, in words.
    pub fn found(&self) -> &str {
        &self.found
    }

    /// What could have stood there, in words.
    pub fn expected(&self) -> &str {
        self.expected
    }

    pub(super) fn at(text: &str, offset: usize, expected: &'static str) -> Self {
        let found = text.get(offset..).unwrap_or_default().chars().next();
        Self::new(text, offset, describe(found), expected)
    }

    pub(super) fn new(text: &str, offset: usize, found: String, expected: &'static str) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            offset,
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            found,
            expected,
        }
    }

    pub(super) fn not_utf8(bytes: &[u8], error: &Utf8Error) -> Self {
        let offset = error.valid_up_to();
        let valid = bytes.get(..offset).unwrap_or_default();
        let valid = std::str::from_utf8(valid).unwrap_or_default();
        let found = match bytes.get(offset) {
            Some(byte) => format!("the byte 0x{byte:02x}"),
            None => describe(None),
        };
        Self::new(valid, offset, found, "UTF-8 text")
    }
}

fn describe(found: Option<char>) -> String {
    match found {
        None => "the end of the input".to_owned(),
        Some(character) if character.is_control() => format!("U+{:04X}", u32::from(character)),
        Some(character) => format!("`{character}`"),
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, line, column, found, expected } = self;
        write!(
            f,
            "line {line}, column {column} (byte {offset}): found {found}, expected {expected}"
        )
    }
}

impl std::error::Error for JsonError {}

#[cfg(test)]
mod tests {
    use crate::from_slice;

    fn message(document: &[u8]) -> String {
        from_slice(document).unwrap_err().to_string()
    }

    #[test]
    fn names_place_found_and_expected() {
        assert_eq!(
            message(b"{\"a\":\n 1,}"),
            "line 2, column 4 (byte 9): found `}`, expected a key in double quotes"
        );
        assert_eq!(
            message(b"[1"),
            "line 1, column 3 (byte 2): found the end of the input, expected `,` or `]`"
        );
        assert_eq!(
            message("\"é\u{1}\"".as_bytes()),
            "line 1, column 3 (byte 3): found U+0001, expected an escape, not a control character"
        );
        assert_eq!(
            message(b"\"a\xff\""),
            "line 1, column 3 (byte 2): found the byte 0xff, expected UTF-8 text"
        );
    }

    #[test]
    fn covers_each_way_to_be_wrong() {
        for (document, offset) in [
            ("", 0),
            (" ", 1),
            ("tru", 0),
            ("nan", 0),
            ("-", 1),
            ("-Inf", 1),
            ("01", 1),
            ("1.", 2),
            ("1.e5", 2),
            ("1e", 2),
            ("1e+", 3),
            (".5", 0),
            ("+1", 0),
            ("1 2", 2),
            ("[1,]", 3),
            ("[,", 1),
            ("{", 1),
            ("{1:2}", 1),
            ("{\"a\"}", 4),
            ("{\"a\":}", 5),
            ("{\"a\":1 \"b\"", 7),
            ("\"", 1),
            ("\"\\", 2),
            ("\"\\x\"", 2),
            ("\"\\u12g4\"", 5),
            ("\"\\u12", 5),
            ("'a'", 0),
            ("]", 0),
        ] {
            assert_eq!(from_slice(document.as_bytes()).unwrap_err().offset(), offset, "{document}");
        }
    }
}
