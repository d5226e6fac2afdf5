//! Texts with places for values: `Is {reading.celsius} too hot?`.

use serde_json::Value;

/// A piece of a template.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    /// What stands between braces.
    Place(&'a str),
}

/// Fills a template: text as it is, everything else as JSON. Two braces are one of the text.
///
/// # Errors
/// Where a brace is not closed, and where `value_of` has nothing for a place.
pub(super) fn fill(
    template: &str,
    value_of: impl Fn(&str) -> Option<Value>,
) -> Result<String, String> {
    let mut filled = String::with_capacity(template.len());
    for piece in pieces(template) {
        match piece? {
            Piece::Text(text) => filled.push_str(text),
            Piece::Place(path) => match value_of(path) {
                Some(Value::String(text)) => filled.push_str(&text),
                Some(value) => filled.push_str(&value.to_string()),
                None => {
                    return Err(format!(
                        "nothing is known as `{path}`: it is no argument of the node, and the context \
                     does not have it; for a brace of the text write two"
                    ));
                }
            },
        }
    }
    Ok(filled)
}

/// Whether a template can be filled, given the values.
pub(super) fn check(template: &str) -> Result<(), String> {
    pieces(template).try_for_each(|piece| piece.map(drop))
}

fn pieces(template: &str) -> impl Iterator<Item = Result<Piece<'_>, String>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        let next = match rest.find(['{', '}']) {
            None if rest.is_empty() => return None,
            None => (Ok(Piece::Text(rest)), ""),
            Some(0) => at_brace(rest),
            Some(at) => {
                let (text, after) = rest.split_at(at);
                (Ok(Piece::Text(text)), after)
            }
        };
        rest = next.1;
        Some(next.0)
    })
}

/// The piece that begins with a brace, and what comes after it.
fn at_brace(rest: &str) -> (Result<Piece<'_>, String>, &str) {
    for (two, one) in [("{{", "{"), ("}}", "}")] {
        if let Some(after) = rest.strip_prefix(two) {
            return (Ok(Piece::Text(one)), after);
        }
    }
    match rest.strip_prefix('{') {
        // A brace that closes nothing is text.
        None => (Ok(Piece::Text("}")), &rest[1..]),
        Some(inner) => match inner.split_once(['{', '}']) {
            Some((path, after)) if inner[path.len()..].starts_with('}') => {
                (Ok(Piece::Place(path.trim())), after)
            }
            _ => {
                let begin: String = rest.chars().take(20).collect();
                let why = format!(
                    "the brace at `{begin}` is not closed; for a brace of the text write two"
                );
                (Err(why), "")
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filled(template: &str) -> Result<String, String> {
        fill(template, |path| match path {
            "a.b" => Some(json!(31.5)),
            "text" => Some(json!("{not} again")),
            "list" => Some(json!([1, "x"])),
            _ => None,
        })
    }

    #[test]
    fn places_are_filled_and_text_stays() {
        assert_eq!(
            filled("Is { a.b } hot? {text}{list}").unwrap(),
            "Is 31.5 hot? {not} again[1,\"x\"]"
        );
        assert_eq!(filled("").unwrap(), "");
        assert_eq!(filled("grüße }").unwrap(), "grüße }");
    }

    #[test]
    fn two_braces_are_one() {
        assert_eq!(filled(r#"{{"alarm": {a.b}}}"#).unwrap(), r#"{"alarm": 31.5}"#);
        assert_eq!(filled("{{{{}}}}").unwrap(), "{{}}");
    }

    #[test]
    fn what_cannot_be_filled_is_named() {
        assert!(filled("{nothing}").unwrap_err().contains("`nothing`"));
        for open in ["{", "a {b", "a {b {text}"] {
            assert!(check(open).unwrap_err().contains("is not closed"), "{open}");
        }
        assert_eq!(check("{nothing} {{"), Ok(()));
    }
}
