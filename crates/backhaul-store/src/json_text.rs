//! Whether bytes are one JSON object, as strict JSON or as Python writes it.

/// Python's `json` module writes these three bare words, which strict JSON lacks.
const PYTHON_WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// Says why `bytes` are not one whole JSON object. `NaN` and `Infinity` pass.
pub(crate) fn check_object(bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))?;
    match parse_object(text) {
        Err(_) if PYTHON_WORDS.iter().any(|word| text.contains(word)) => {
            parse_object(&without_python_words(text))
        }
        result => result,
    }
    .map_err(|error| error.to_string())
}

fn parse_object(text: &str) -> Result<(), serde_json::Error> {
    use serde::de::Error as _;
    serde_json::from_str::<&serde_json::value::RawValue>(text)?;
    if text.trim_start().starts_with('{') {
        Ok(())
    } else {
        Err(serde_json::Error::custom("expected a JSON object"))
    }
}

/// The text with the bare words outside of strings replaced by a number.
fn without_python_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let Some(next) = rest.chars().next() {
        let word = PYTHON_WORDS.iter().find(|word| !in_string && rest.starts_with(**word));
        let taken = match word {
            Some(word) => {
                out.push('0');
                word.len()
            }
            None if in_string && next == '\\' => {
                let taken = rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at);
                out.push_str(rest.get(..taken).unwrap_or_default());
                taken
            }
            None => {
                in_string ^= next == '"';
                out.push(next);
                next.len_utf8()
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    out
}

/// Nesting that every common reader takes: jq's parser stops at 256 and Python's at
/// its recursion limit, and nobody means to write this much.
const MOST_NESTED: usize = 64;
/// Digits in a row that every common reader takes: Python stops at 4,300.
const MOST_DIGITS: usize = 300;

/// Whether other programs can be expected to read this JSON, however valid it is.
pub(crate) fn suits_all_readers(text: &str) -> bool {
    !has_long_digits(text.as_bytes()) && !is_deep(text.as_bytes())
}

fn is_deep(bytes: &[u8]) -> bool {
    let opening = bytes.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    if opening <= MOST_NESTED {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MOST_NESTED {
            return true;
        }
    }
    false
}

/// A run of that many digits covers a place that is a multiple of that number.
fn has_long_digits(bytes: &[u8]) -> bool {
    (MOST_DIGITS - 1..bytes.len()).step_by(MOST_DIGITS).any(|at| {
        let digits = |bytes: &mut dyn Iterator<Item = &u8>| {
            bytes.take(MOST_DIGITS).take_while(|byte| byte.is_ascii_digit()).count()
        };
        let before = digits(&mut bytes.get(..at).unwrap_or_default().iter().rev());
        let after = digits(&mut bytes.get(at..).unwrap_or_default().iter());
        after > 0 && before + after > MOST_DIGITS
    })
}

#[cfg(test)]
mod tests {
    use super::{check_object, suits_all_readers};

    #[test]
    fn deep_nesting_and_endless_numbers_do_not_suit_all_readers() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let number = |digits: usize| {
            format!("{{\"pad\":\"{}\",\"n\":{}}}", "x".repeat(137), "7".repeat(digits))
        };
        assert!(suits_all_readers(&nested(64)) && !suits_all_readers(&nested(65)));
        assert!(suits_all_readers(&number(300)) && !suits_all_readers(&number(301)));
        assert!(!suits_all_readers(&number(5000)));
        assert!(suits_all_readers(&format!("{{\"s\":\"{}\\\"\"}}", "[".repeat(500))));
        assert!(suits_all_readers(&format!("[{}1]", "[],".repeat(500))));
    }

    #[test]
    fn objects_pass_in_both_spellings() {
        for text in [
            "{}",
            " {\"a\": [1, NaN, -Infinity]}\n",
            "{\"s\": \"\\\"NaN\\\\\"}",
            "{\"s\":\"\\ud800\"}",
        ] {
            assert_eq!(check_object(text.as_bytes()), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_cut_or_no_object_is_refused_with_a_reason() {
        for text in ["", "{", "{\"a\": NaN", "[1]", "NaN", "{} {}", "{\"a\": nan}"] {
            assert!(check_object(text.as_bytes()).is_err(), "{text}");
        }
        assert!(check_object(&[0xff]).unwrap_err().contains("UTF-8"));
    }
}
