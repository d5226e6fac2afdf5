//! The patterns of a schema's strings.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

/// What is no schema, whatever it looks like.
const DATA: [&str; 4] = ["const", "default", "enum", "examples"];
const ANYWHERE: &str = "trn\\\"[]-";
const OUTSIDE_OF_CLASSES: &str = "^$.()|{}*+?";

/// Takes those patterns out of a schema that llama.cpp makes no grammar of, and gives them.
/// Left in they would be ignored as well, with a line on stderr.
pub(super) fn take_unknown(schema: &mut Value) -> Vec<String> {
    let mut taken = Vec::new();
    take_from(schema, &mut taken);
    taken
}

fn take_from(schema: &mut Value, taken: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(pattern)) = fields.get("pattern")
                && !is_known(pattern)
            {
                taken.push(pattern.clone());
                fields.shift_remove("pattern");
            }
            let schemas = fields.iter_mut().filter(|(name, _)| !DATA.contains(&name.as_str()));
            schemas.for_each(|(_, schema)| take_from(schema, taken));
        }
        Value::Array(schemas) => schemas.iter_mut().for_each(|schema| take_from(schema, taken)),
        _ => {}
    }
}

/// Whether llama.cpp makes a grammar of a pattern: the whole text in classes, groups, choices
/// and repetitions; no look-around, no `\d`, no anchors inside.
fn is_known(pattern: &str) -> bool {
    let inner = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$'));
    let Some(inner) = inner else { return false };
    let mut chars = inner.chars().peekable();
    while let Some(char) = chars.next() {
        let is_known = match char {
            '\\' => chars
                .next()
                .is_some_and(|it| (ANYWHERE.to_owned() + OUTSIDE_OF_CLASSES).contains(it)),
            '[' => is_class(&mut chars),
            '{' => is_count(&mut chars),
            '(' if chars.next_if_eq(&'?').is_some() => chars.next() == Some(':'),
            '^' | '$' | ']' | '}' => false,
            _ => true,
        };
        if !is_known {
            return false;
        }
    }
    true
}

/// Whether this is the rest of a class of characters.
fn is_class(chars: &mut Peekable<Chars<'_>>) -> bool {
    while let Some(char) = chars.next() {
        match char {
            ']' => return true,
            '\\' if !chars.next().is_some_and(|it| ANYWHERE.contains(it)) => return false,
            _ => {}
        }
    }
    false
}

/// Whether this is the rest of `{2}`, `{2,}` or `{2,3}`.
fn is_count(chars: &mut Peekable<Chars<'_>>) -> bool {
    let count: String = chars.by_ref().take_while(|char| *char != '}').collect();
    let is_number = |text: &str| text.parse::<u16>().is_ok();
    match count.split_once(',') {
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
        None => is_number(&count),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{is_known, take_unknown};

    #[test]
    fn patterns_of_which_no_grammar_is_made_are_known() {
        for known in ["^a*$", "^[a-c]{2,3}$", r"^(?:a|b\.)+[^\]]?$", "^$", "^a{2,}b{3}$"] {
            assert!(is_known(known), "{known}");
        }
        let unknown = [
            "a", "^a", "a$", r"^\d$", r"^[\d]$", "^(?=a)$", "^a^$", "^[a$", "^a]$", "^a{,2}$", "^",
        ];
        for unknown in unknown {
            assert!(!is_known(unknown), "{unknown}");
        }
    }

    #[test]
    fn they_are_taken_out_of_schemas_and_not_out_of_data() {
        let mut schema = json!({
            "properties": {"pattern": {"type": "string", "pattern": "x"}, "b": {"pattern": "^x$"}},
            "anyOf": [{"items": {"pattern": "y", "type": "string"}}],
            "const": {"pattern": "z"},
        });
        assert_eq!(take_unknown(&mut schema), ["x", "y"]);
        let left = json!({
            "properties": {"pattern": {"type": "string"}, "b": {"pattern": "^x$"}},
            "anyOf": [{"items": {"type": "string"}}],
            "const": {"pattern": "z"},
        });
        assert_eq!(schema, left);
    }
}
