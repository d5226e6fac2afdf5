//! Cuts a request's body into its records, byte for byte.

use std::ops::Range;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a body is neither an object nor an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CutError {
    /// The record at or before which the body ends to make sense.
    pub(crate) index: usize,
    pub(crate) offset: usize,
    pub(crate) expected: &'static str,
}

/// The bytes of each top-level element of an array; all of it where the body is no
/// array. What is inside an element is not looked at any further than to find its
/// end, so that each still has to be read as JSON.
pub(crate) fn elements(body: &[u8]) -> Result<Vec<Range<usize>>, CutError> {
    let start = if body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let whole = trimmed(body, start..body.len());
    if body.get(whole.start) != Some(&b'[') {
        return Ok(vec![whole]);
    }
    let mut found = Vec::new();
    let mut element = whole.start + 1;
    let mut depth = 0_usize;
    let mut at = element;
    while let Some(&byte) = body.get(at) {
        match byte {
            b'"' => {
                at = end_of_string(body, at);
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth > 0 => depth -= 1,
            b',' if depth == 0 => {
                found.push(trimmed(body, element..at));
                element = at + 1;
            }
            b']' => {
                let last = trimmed(body, element..at);
                if !(found.is_empty() && last.is_empty()) {
                    found.push(last);
                }
                let rest = trimmed(body, at + 1..body.len());
                return match rest.is_empty() {
                    true => Ok(found),
                    false => Err(error(&found, rest.start, "the end of the body after the array")),
                };
            }
            b'}' => return Err(error(&found, at, "`,` or `]`")),
            _ => {}
        }
        at += 1;
    }
    Err(error(&found, body.len(), "`]` at the end of the array"))
}

fn error(found: &[Range<usize>], offset: usize, expected: &'static str) -> CutError {
    CutError { index: found.len(), offset, expected }
}

/// The place behind the closing quote, or the end of the body.
fn end_of_string(body: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while let Some(&byte) = body.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    body.len()
}

/// The range without white space at its ends.
fn trimmed(body: &[u8], range: Range<usize>) -> Range<usize> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    let bytes = body.get(range.clone()).unwrap_or_default();
    let first = bytes.iter().position(|byte| !is_space(byte));
    let last = bytes.iter().rposition(|byte| !is_space(byte));
    match (first, last) {
        (Some(first), Some(last)) => range.start + first..range.start + last + 1,
        _ => range.end..range.end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(body: &str) -> Result<Vec<&str>, CutError> {
        elements(body.as_bytes())
            .map(|ranges| ranges.into_iter().map(|range| &body[range]).collect())
    }

    #[test]
    fn each_element_keeps_its_bytes() {
        let body = " [ {\"a\": [1,\n {\"b\": \"],\\\"}\"}]} ,NaN,\t\"\\\\\",[ ] ]\n";
        let found = cut(body).unwrap();
        assert_eq!(found, ["{\"a\": [1,\n {\"b\": \"],\\\"}\"}]}", "NaN", "\"\\\\\"", "[ ]"]);
        assert_eq!(cut("[]").unwrap(), [""; 0]);
        assert_eq!(cut("[ \n ]").unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_array_is_one_element() {
        assert_eq!(cut("\u{feff} {\"run_id\": \"x\"}\n").unwrap(), ["{\"run_id\": \"x\"}"]);
        assert_eq!(cut("").unwrap(), [""]);
        assert_eq!(cut("nonsense]").unwrap(), ["nonsense]"]);
    }

    #[test]
    fn missing_elements_are_empty_and_left_for_the_reader_to_refuse() {
        assert_eq!(cut("[,]").unwrap(), ["", ""]);
        assert_eq!(cut("[1,]").unwrap(), ["1", ""]);
    }

    #[test]
    fn a_cut_off_array_says_where_it_ends() {
        for (body, index, offset) in
            [("[{},{}", 1, 6), ("[{}] x", 1, 5), ("[1}", 0, 2), ("[\"abc\\", 0, 6), ("[", 0, 1)]
        {
            let error = cut(body).unwrap_err();
            assert_eq!((error.index, error.offset), (index, offset), "{body}");
        }
    }
}
