//! Whether arguments are those that a tool takes.

use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use super::tool_error::ToolError;

/// Under these a call of a model holds what was no JSON, or no object.
const NO_OBJECT: [&str; 2] = ["_raw", "_value"];
/// What serde_json says of a map where there is to be none, and of a number that it took for one.
const TAKEN_FOR_MAP: &str = "invalid type: map";
/// The most characters of a model's own words in an error.
const MOST_QUOTED: usize = 60;

/// The arguments of a call, as a tool made by `#[tool]` reads them.
#[derive(Debug)]
pub struct Arguments<'a> {
    given: &'a Map<String, Value>,
    names: &'a [&'a str],
}

impl<'a> Arguments<'a> {
    /// Those that are given to a tool which takes those of these names.
    ///
    /// # Errors
    /// When there is one that the tool does not take: models invent them, and what they meant
    /// by it would not be done.
    pub fn new(given: &'a Map<String, Value>, names: &'a [&'a str]) -> Result<Self, ToolError> {
        let arguments = Self { given, names };
        match given.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            None => Ok(arguments),
            Some((name, value)) => Err(arguments.unknown(name, value)),
        }
    }

    /// One that has to be there.
    ///
    /// # Errors
    /// When it is missing, or not of this type.
    pub fn required<T: DeserializeOwned>(&self, name: &str) -> Result<T, ToolError> {
        let value = self.given.get(name).ok_or_else(|| self.missing(name))?;
        read(name, value)
    }

    /// One that may be missing, or null.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn optional<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ToolError> {
        match self.given.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(name, value).map(Some),
        }
    }

    fn unknown(&self, name: &str, value: &Value) -> ToolError {
        let takes = self.takes();
        if NO_OBJECT.contains(&name) && self.given.len() == 1 {
            let found = quoted(value);
            return ToolError::invalid_arguments(format!(
                "the arguments are no JSON object but {found}; {takes}"
            ));
        }
        ToolError::invalid_arguments(format!("there is no argument `{name}`; {takes}"))
    }

    fn missing(&self, name: &str) -> ToolError {
        let takes = self.takes();
        ToolError::invalid_arguments(format!("the argument `{name}` is missing; {takes}"))
    }

    fn takes(&self) -> String {
        let names: Vec<String> = self.names.iter().map(|name| format!("`{name}`")).collect();
        match names.as_slice() {
            [] => "the tool takes none".to_owned(),
            names => format!("the tool takes {}", names.join(", ")),
        }
    }
}

/// Checks arguments by a tool's schema, as far as names go: those that are there are known, and
/// those that are required are there.
pub(super) fn check_names(given: &Map<String, Value>, schema: &Value) -> Result<(), ToolError> {
    let known = schema.get("properties").and_then(Value::as_object);
    let names: Vec<&str> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
    let is_open = schema.get("additionalProperties").is_some_and(|other| *other != false);
    let arguments = match is_open {
        true => Arguments { given, names: &names },
        false => Arguments::new(given, &names)?,
    };
    let required = schema.get("required").and_then(Value::as_array);
    let mut required = required.into_iter().flatten().filter_map(Value::as_str);
    match required.find(|name| !given.contains_key(*name)) {
        None => Ok(()),
        Some(name) => Err(arguments.missing(name)),
    }
}

/// From text, of which errors say what was found: of numbers in a [`Value`] they only say that
/// they are wrong. But in types that are told apart by their content (enums with a tag or
/// without, flattened fields) serde_json takes numbers in a text for maps, since it keeps them
/// as they were written.
fn read<T: DeserializeOwned>(name: &str, value: &Value) -> Result<T, ToolError> {
    let text = value.to_string();
    let mut reader = serde_json::Deserializer::from_str(&text);
    let error = match serde_path_to_error::deserialize(&mut reader) {
        Ok(read) => return Ok(read),
        Err(error) => error,
    };
    let error = match plain(value).map(serde_path_to_error::deserialize) {
        Some(Ok(read)) => return Ok(read),
        Some(Err(other)) if error.inner().to_string().starts_with(TAKEN_FOR_MAP) => other,
        _ => error,
    };
    let place = match error.path().to_string() {
        path if path == "." => name.to_owned(),
        path if path.starts_with('[') => format!("{name}{path}"),
        path => format!("{name}.{path}"),
    };
    let why = without_place(error.inner());
    Err(ToolError::invalid_arguments(format!("the argument `{place}`: {why}")))
}

/// The same, with each number as a machine has it, not as it was written. `None`: one is too
/// large for that.
fn plain(value: &Value) -> Option<Value> {
    Some(match value {
        Value::Number(number) if !number.is_u64() && !number.is_i64() => {
            Number::from_f64(number.as_f64()?)?.into()
        }
        Value::Array(list) => Value::Array(list.iter().map(plain).collect::<Option<_>>()?),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| Some((name.clone(), plain(value)?)));
            Value::Object(fields.collect::<Option<_>>()?)
        }
        other => other.clone(),
    })
}

/// What an error says, but for the place in a text that nobody sees.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

fn quoted(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match text.char_indices().nth(MOST_QUOTED) {
        None => format!("`{text}`"),
        Some((end, _)) => format!("`{}…`", text.get(..end).unwrap_or_default()),
    }
}
