//! Descriptions of tools, without which a model can still call them.

use serde_json::{Map, Value};

const DESCRIPTION: &str = "description";
/// Fields of a schema whose own fields are names of the caller's.
const NAMED: [&str; 5] =
    ["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"];
/// Fields of a schema that are values of the caller's.
const VALUES: [&str; 4] = ["const", "enum", "default", "examples"];

/// Leaves the descriptions of all tools out. Returns how many there were.
pub(super) fn leave_out(fields: &mut Map<String, Value>) -> usize {
    let tools = fields.get_mut("tools").and_then(Value::as_array_mut);
    let functions = tools.into_iter().flatten().filter_map(|tool| tool.get_mut("function"));
    let of_function = |function: &mut Value| {
        let own = function.as_object_mut().and_then(|it| it.remove(DESCRIPTION));
        usize::from(own.is_some()) + function.get_mut("parameters").map_or(0, of_schema)
    };
    functions.map(of_function).sum()
}

fn of_schema(schema: &mut Value) -> usize {
    match schema {
        Value::Object(fields) => {
            let own = usize::from(fields.remove(DESCRIPTION).is_some());
            own + fields.iter_mut().map(|(name, value)| of_field(name, value)).sum::<usize>()
        }
        Value::Array(schemas) => schemas.iter_mut().map(of_schema).sum(),
        _ => 0,
    }
}

fn of_field(name: &str, value: &mut Value) -> usize {
    match value {
        _ if VALUES.contains(&name) => 0,
        Value::Object(named) if NAMED.contains(&name) => named.values_mut().map(of_schema).sum(),
        value => of_schema(value),
    }
}
