//! TOML as JSON.

use serde_json::{Map, Number, Value};

use super::error::{DagError, DagProblem, DagProblemKind};

/// The document as JSON. A date becomes text; infinity and NaN are refused.
pub(super) fn parse(text: &str) -> Result<Value, DagError> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| line_at(text, span.start));
        let message = format!("it is not TOML: {} at line {line}", error.message());
        DagError::new("", vec![DagProblem::new(DagProblemKind::Syntax, "", message)])
    })?;
    let mut problems = Vec::new();
    let value = object(String::new(), table, &mut problems);
    if problems.is_empty() { Ok(value) } else { Err(DagError::new("", problems)) }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn object(at: String, table: toml::Table, problems: &mut Vec<DagProblem>) -> Value {
    let mut map = Map::new();
    for (key, value) in table {
        let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        map.insert(key, json(at, value, problems));
    }
    Value::Object(map)
}

fn json(at: String, value: toml::Value, problems: &mut Vec<DagProblem>) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(integer) => integer.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Table(table) => object(at, table, problems),
        toml::Value::Array(items) => {
            let items = items.into_iter().enumerate();
            items.map(|(i, item)| json(format!("{at}[{i}]"), item, problems)).collect()
        }
        toml::Value::Float(float) => match Number::from_f64(float) {
            Some(number) => Value::Number(number),
            None => {
                let message = format!("it is {float}; expected a finite number");
                problems.push(DagProblem::new(DagProblemKind::InvalidValue, at, message));
                Value::Null
            }
        },
    }
}
