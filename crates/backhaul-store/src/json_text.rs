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

#[cfg(test)]
mod tests {
    use super::check_object;

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
