//! Fields of values, in dotted form.

use serde_json::Value;

/// The parts of `a.b\.c.0`: `a`, `b.c`, `0`.
pub(super) fn parts(path: &str) -> Vec<String> {
    let (mut parts, mut part, mut last) = (Vec::new(), String::new(), ' ');
    for character in path.chars() {
        match character {
            '.' if last == '\\' => {
                part.pop();
                part.push('.');
            }
            '.' => parts.push(std::mem::take(&mut part)),
            other => part.push(other),
        }
        last = character;
    }
    parts.push(part);
    parts
}

/// What stands at a path. Numbers lead into lists alone, as they do in Weave's server.
pub(super) fn get<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    parts(path).iter().try_fold(value, |value, part| match part.parse::<i64>() {
        Ok(index) => value.get(usize::try_from(index).ok()?),
        Err(_) => value.as_object()?.get(part),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_leads_through_objects_and_lists() {
        let value = json!({"a": [{"b.c": 1}], "0": 2});
        assert_eq!(get(&value, r"a.0.b\.c"), Some(&json!(1)));
        assert_eq!(get(&value, "0"), None);
        assert_eq!(get(&value, "a.1"), None);
    }
}
