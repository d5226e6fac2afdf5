//! Fields that an older server does not know.
//!
//! Newer clients say more than older servers understand, and some of those refuse the whole
//! request for it, by 422 and a list of the fields. Without these the rest is taken.

use serde_json::Value;

/// The `type` of such a complaint, as pydantic has it.
const EXTRA: &str = "extra_forbidden";

/// Takes fields out of a request that the server names as unknown in its answer, and gives
/// their names. None where it complains about anything else too: the request is bad then.
pub(super) fn leave_out(request: &mut Value, answer: &[u8]) -> Vec<String> {
    let Ok(answer) = backhaul_json::from_slice(answer) else { return Vec::new() };
    let Some(complaints) = answer["detail"].as_array() else { return Vec::new() };
    if !complaints.iter().all(|complaint| complaint["type"] == EXTRA) {
        return Vec::new();
    }
    let places = complaints.iter().filter_map(|complaint| complaint["loc"].as_array());
    let mut left_out: Vec<String> = places.filter_map(|place| remove(request, place)).collect();
    left_out.sort_unstable();
    left_out.dedup();
    left_out
}

/// Removes what stands at a place such as `["body", "batch", 0, "span_id"]`. Parts that are not
/// in the request are names of types.
fn remove(request: &mut Value, place: &[Value]) -> Option<String> {
    let (field, path) = place.split_last()?;
    let field = field.as_str()?;
    let mut inner = request;
    for part in path {
        let is_there = match (part.as_str(), part.as_u64()) {
            (Some(key), _) => inner.get(key).is_some(),
            (_, Some(index)) => inner.get(usize::try_from(index).ok()?).is_some(),
            _ => false,
        };
        if is_there {
            inner = match part.as_str() {
                Some(key) => inner.get_mut(key)?,
                None => inner.get_mut(usize::try_from(part.as_u64()?).ok()?)?,
            };
        }
    }
    inner.as_object_mut()?.shift_remove(field).map(|_| field.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn complaint(kind: &str, place: &Value) -> Value {
        json!({"type": kind, "loc": place, "msg": "", "input": 1})
    }

    #[test]
    fn only_what_the_server_names_is_left_out() {
        let mut request = json!({"batch": [{"id": 1, "span": 2}, {"id": 3, "x": {"y": 4}}]});
        let answer = json!({"detail": [
            complaint(EXTRA, &json!(["body", "batch", 0, "span"])),
            complaint(EXTRA, &json!(["body", "batch", 1, "SomeType", "x", "y"])),
            complaint(EXTRA, &json!(["body", "batch", 1, "not_there"])),
        ]});
        assert_eq!(leave_out(&mut request, answer.to_string().as_bytes()), ["span", "y"]);
        assert_eq!(request, json!({"batch": [{"id": 1}, {"id": 3, "x": {}}]}));
    }

    #[test]
    fn a_request_that_is_bad_otherwise_stays_as_it_is() {
        let mut request = json!({"a": 1, "b": 2});
        for answer in [
            json!({"detail": [complaint(EXTRA, &json!(["body", "a"])),
                complaint("missing", &json!(["body", "c"]))]}),
            json!({"detail": "Not Found"}),
            json!([]),
        ] {
            assert!(leave_out(&mut request, answer.to_string().as_bytes()).is_empty());
        }
        assert_eq!(request, json!({"a": 1, "b": 2}));
    }
}
