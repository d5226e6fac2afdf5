//! Tools that a model may call, and its calls.

use serde_json::{Map, Value, json};

/// A tool that a model may call.
///
/// ```
/// use backhaul_llm::ToolDefinition;
/// use serde_json::json;
/// let tool = ToolDefinition::new("read_sensor", "Reads a sensor.").parameters(json!({
///     "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"],
/// }));
/// assert_eq!(tool.to_openai()["function"]["name"], "read_sensor");
/// assert_eq!(tool.to_anthropic()["input_schema"]["required"], json!(["name"]));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ToolDefinition {
    /// The name that the model calls it by.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// The JSON schema of its arguments. Default: an object without properties.
    pub parameters: Value,
}

impl ToolDefinition {
    /// A tool without arguments.
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        let parameters = json!({ "type": "object", "properties": {} });
        Self { name: name.into(), description: description.into(), parameters }
    }

    /// With the schema of its arguments.
    #[must_use]
    pub fn parameters(self, schema: Value) -> Self {
        Self { parameters: schema, ..self }
    }

    /// As chat completions have it.
    pub fn to_openai(&self) -> Value {
        json!({ "type": "function", "function": {
            "name": self.name, "description": self.description, "parameters": self.parameters,
        }})
    }

    /// As Anthropic's messages have it.
    pub fn to_anthropic(&self) -> Value {
        json!({
            "name": self.name, "description": self.description, "input_schema": self.parameters,
        })
    }
}

/// A call of a tool by a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// What its result refers to.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments. What the model wrote that is no JSON is `{"_raw": TEXT}`, JSON that is
    /// no object `{"_value": …}`.
    pub arguments: Map<String, Value>,
}

impl ToolCall {
    /// A call.
    pub fn new(
        id: impl Into<String>,
        name: impl Into<String>,
        arguments: Map<String, Value>,
    ) -> Self {
        Self { id: id.into(), name: name.into(), arguments }
    }

    /// Reads a call with its arguments as a text, as OpenAI's protocol has them, or as an
    /// object. `None`: there is no function with a name.
    pub fn from_json(call: &Value) -> Option<Self> {
        let function = call.get("function")?;
        let name = function.get("name")?.as_str()?.to_owned();
        let id = call.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let arguments = match function.get("arguments") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::String(text)) if text.trim().is_empty() => Map::new(),
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(value) => object_of(value),
                Err(_) => wrapped("_raw", text.clone().into()),
            },
            Some(value) => object_of(value.clone()),
        };
        Some(Self { id, name, arguments })
    }

    /// As chat completions have it: the arguments are a text.
    pub fn to_json(&self) -> Value {
        let arguments = Value::Object(self.arguments.clone()).to_string();
        json!({ "id": self.id, "type": "function", "function": {
            "name": self.name, "arguments": arguments,
        }})
    }
}

fn object_of(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        value => wrapped("_value", value),
    }
}

fn wrapped(name: &str, value: Value) -> Map<String, Value> {
    [(name.to_owned(), value)].into_iter().collect()
}
