//! What a call comes to: how many calls ended well, what models used, and what else was added
//! up over the calls below it.

use serde_json::{Map, Number, Value, json};

use super::json_object::put_over;

/// Where the statuses of a call and those below it are counted.
const STATUS_COUNTS: &str = "status_counts";
/// Where what models used is.
const USAGE: &str = "usage";

/// The summary of a call, while it is added to.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Summary {
    success: u64,
    error: u64,
    /// All but the counts.
    rest: Map<String, Value>,
    has_children: bool,
}

impl Summary {
    /// Takes in the summary of a call below this one that has ended.
    pub(crate) fn add_child(&mut self, child: &Summary) {
        self.success += child.success;
        self.error += child.error;
        self.has_children = true;
        add_leaves(&mut self.rest, &child.rest);
    }

    /// What the call itself comes to: its own status, what its output says that a model used,
    /// and what was set by hand.
    pub(crate) fn finish(mut self, is_error: bool, output: &str, set: Map<String, Value>) -> Self {
        if !self.has_children
            && let Some(usage) = usage_in(output)
        {
            self.rest.insert(USAGE.to_owned(), usage);
        }
        match is_error {
            true => self.error += 1,
            false => self.success += 1,
        }
        let computed = std::mem::replace(&mut self.rest, set);
        put_over(&mut self.rest, computed);
        self
    }

    pub(crate) fn to_json(&self) -> String {
        let (success, error) = (self.success, self.error);
        let counts = format!(r#""{STATUS_COUNTS}": {{"success": {success}, "error": {error}}}"#);
        if self.rest.is_empty() {
            return format!("{{{counts}}}");
        }
        let mut all = Map::new();
        all.insert(STATUS_COUNTS.to_owned(), json!({"success": success, "error": error}));
        put_over(&mut all, self.rest.clone());
        Value::Object(all).to_string()
    }
}

/// What an answer of a model says that it used, by model: it has a `model` and a `usage`.
fn usage_in(output: &str) -> Option<Value> {
    // Most outputs are none, and are not read for it.
    if !output.starts_with('{') || !output.contains(r#""usage""#) || !output.contains(r#""model""#)
    {
        return None;
    }
    let output: Map<String, Value> = serde_json::from_str(output).ok()?;
    let (model, used) = (output.get("model")?.as_str()?, output.get("usage")?.as_object()?);
    let mut usage = Map::new();
    usage.insert("requests".to_owned(), 1.into());
    usage.extend(used.clone());
    Some(json!({model: usage}))
}

/// Adds up what stands in two objects, name by name, as Weave's client for Python does:
/// numbers are added, lists and texts are strung together, nulls left out.
fn add_leaves(sums: &mut Map<String, Value>, added: &Map<String, Value>) {
    for (key, value) in added {
        match value {
            Value::Null => {}
            Value::Object(added) => {
                let sum = sums.entry(key).or_insert_with(|| Value::Object(Map::new()));
                // What is an object in one place is one everywhere.
                if !sum.is_object() {
                    *sum = Value::Object(Map::new());
                }
                if let Value::Object(sums) = sum {
                    add_leaves(sums, added);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| add_leaf(sums, key, item)),
            leaf => add_leaf(sums, key, leaf),
        }
    }
}

fn add_leaf(sums: &mut Map<String, Value>, key: &str, leaf: &Value) {
    let leaf = match leaf {
        // Python's truth is a number.
        Value::Bool(truth) => Value::from(u8::from(*truth)),
        leaf => leaf.clone(),
    };
    let sum = sums.get_mut(key);
    match (sum, leaf) {
        (Some(Value::Object(_)), _) => {}
        (Some(Value::Number(sum)), Value::Number(leaf)) => *sum = added(sum, &leaf),
        (Some(Value::Array(items)), leaf) => items.push(leaf),
        (Some(sum), leaf) => *sum = Value::Array(vec![sum.take(), leaf]),
        (None, Value::Number(leaf)) => drop(sums.insert(key.to_owned(), leaf.into())),
        (None, leaf) => drop(sums.insert(key.to_owned(), Value::Array(vec![leaf]))),
    }
}

fn added(left: &Number, right: &Number) -> Number {
    let whole = left.as_i64().zip(right.as_i64());
    if let Some(sum) = whole.and_then(|(left, right)| left.checked_add(right)) {
        return sum.into();
    }
    let sum = left.as_f64().zip(right.as_f64()).map(|(left, right)| left + right);
    sum.and_then(Number::from_f64).unwrap_or_else(|| left.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn leaf(output: &str, set: Value) -> Summary {
        Summary::default().finish(false, output, object(set))
    }

    fn said(summary: &Summary) -> Value {
        serde_json::from_str(&summary.to_json()).unwrap()
    }

    #[test]
    fn what_models_used_is_added_up_over_the_calls_below() {
        let answer = r#"{"model": "m", "usage": {"prompt_tokens": 3, "total_tokens": 5}}"#;
        let mut parent = Summary::default();
        parent.add_child(&leaf(answer, json!({})));
        parent.add_child(&leaf(answer, json!({})));
        parent.add_child(&Summary::default().finish(true, "null", Map::new()));
        let parent = parent.finish(false, answer, Map::new());
        assert_eq!(
            said(&parent),
            json!({
                "usage": {"m": {"requests": 2, "prompt_tokens": 6, "total_tokens": 10}},
                "status_counts": {"success": 3, "error": 1},
            })
        );
    }

    #[test]
    fn what_was_set_by_hand_is_added_up_as_python_does() {
        let mut parent = Summary::default();
        parent.add_child(&leaf("1", json!({"n": 1, "x": 0.5, "why": "a", "on": true, "no": null})));
        parent
            .add_child(&leaf("1", json!({"n": 2, "x": 1, "why": ["b"], "on": true, "l": [1, 2]})));
        let parent = parent.finish(false, "1", object(json!({"n": 100, "own": {"x": 1}})));
        assert_eq!(
            said(&parent),
            json!({
                "status_counts": {"success": 3, "error": 0},
                "n": 3, "x": 1.5, "why": ["a", "b"], "on": 2, "l": 3, "own": {"x": 1},
            })
        );
    }

    #[test]
    fn an_output_that_is_no_models_answer_says_nothing_of_usage() {
        for output in ["null", r#"{"usage": 1, "model": 2}"#, r#"["usage", "model"]"#, "{"] {
            let counts = json!({"status_counts": {"success": 1, "error": 0}});
            assert_eq!(said(&leaf(output, json!({}))), counts);
        }
    }
}
