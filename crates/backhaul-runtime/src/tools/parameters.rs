//! The JSON Schema of what a tool takes.

use backhaul_llm::ToolDefinition;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The schema of a tool's arguments, as `#[tool]` makes it. Types stand where they are used:
/// not every server of models follows references.
#[derive(Debug)]
pub struct Parameters {
    generator: SchemaGenerator,
    properties: Map<String, Value>,
    required: Vec<&'static str>,
}

impl Parameters {
    /// That of a tool without arguments.
    pub fn new() -> Self {
        let mut settings = SchemaSettings::draft2020_12();
        settings.inline_subschemas = true;
        settings.meta_schema = None;
        let generator = settings.into_generator();
        Self { generator, properties: Map::new(), required: Vec::new() }
    }

    /// With an argument that has to be there.
    #[must_use]
    pub fn required<T: JsonSchema>(
        mut self,
        name: &'static str,
        description: Option<&str>,
    ) -> Self {
        self.required.push(name);
        self.optional::<T>(name, description)
    }

    /// With an argument that may be missing.
    #[must_use]
    pub fn optional<T: JsonSchema>(
        mut self,
        name: &'static str,
        description: Option<&str>,
    ) -> Self {
        let mut schema = self.generator.subschema_for::<T>();
        if let Some(description) = description {
            schema.insert("description".to_owned(), description.into());
        }
        self.properties.insert(name.to_owned(), schema.into());
        self
    }

    /// With an argument that is this where it is missing.
    #[must_use]
    pub fn defaulted<T: JsonSchema + Serialize>(
        self,
        name: &'static str,
        description: Option<&str>,
        default: &T,
    ) -> Self {
        let mut parameters = self.optional::<T>(name, description);
        // A default that is no JSON cannot be told.
        if let Ok(default) = serde_json::to_value(default)
            && let Some(Value::Object(schema)) = parameters.properties.get_mut(name)
        {
            schema.insert("default".to_owned(), default);
        }
        parameters
    }

    /// What a model is told of the tool.
    pub fn definition(mut self, name: &str, description: &str) -> ToolDefinition {
        let mut schema = Schema::from(Map::from_iter([
            ("type".to_owned(), json!("object")),
            ("properties".to_owned(), Value::Object(self.properties)),
            ("required".to_owned(), json!(self.required)),
            ("additionalProperties".to_owned(), json!(false)),
        ]));
        // Those of types that hold themselves.
        let definitions = self.generator.take_definitions(true);
        if !definitions.is_empty() {
            schema.insert("$defs".to_owned(), Value::Object(definitions));
        }
        ToolDefinition::new(name, description).parameters(schema.into())
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self::new()
    }
}
