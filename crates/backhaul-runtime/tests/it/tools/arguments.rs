//! What a tool takes, as models are told, and what it refuses.

use backhaul_llm::{ToolCall, ToolDefinition};
use backhaul_runtime::tools::{
    Tool, ToolErrorKind, ToolFuture, ToolInvocation, ToolOptions, schemars, tool,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{call, fields, refusal};

/// Where somebody is.
#[derive(Deserialize, Serialize, JsonSchema)]
struct Place {
    name: String,
    /// Metres above the sea.
    height: Option<f32>,
}

#[derive(Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Unit {
    Celsius,
    Kelvin,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Tree {
    children: Vec<Tree>,
}

/// Looks ahead.
#[tool]
fn forecast(
    /// Where to look.
    places: Vec<Place>,
    /// How far.
    ///
    /// In days.
    #[default = 3]
    days: u8,
    #[default = "kelvin"] unit: &str,
    #[default = Unit::Celsius] other: Unit,
    detail: Option<bool>,
) -> Value {
    let names: Vec<&str> = places.iter().map(|place| place.name.as_str()).collect();
    json!([names, days, unit, other, detail])
}

/// Counts.
#[tool]
fn count(tree: Tree) -> usize {
    1 + tree.children.into_iter().map(count).sum::<usize>()
}

/// Takes nothing.
#[tool]
fn nothing() {}

#[test]
fn the_schema_says_what_arguments_are_and_which_are_needed() {
    let tool = forecast::tool();
    let schema = &tool.definition().parameters;
    assert_eq!(
        *schema,
        json!({
            "type": "object",
            "properties": {
                "places": {
                    "type": "array",
                    "description": "Where to look.",
                    "items": {
                        "type": "object",
                        "description": "Where somebody is.",
                        "properties": {
                            "name": {"type": "string"},
                            "height": {
                                "type": ["number", "null"], "format": "float",
                                "description": "Metres above the sea.",
                            },
                        },
                        "required": ["name"],
                    },
                },
                "days": {
                    "type": "integer", "format": "uint8", "minimum": 0, "maximum": 255,
                    "description": "How far.\n\nIn days.", "default": 3,
                },
                "unit": {"type": "string", "default": "kelvin"},
                "other": {"type": "string", "enum": ["celsius", "kelvin"], "default": "celsius"},
                "detail": {"type": "boolean"},
            },
            "required": ["places"],
            "additionalProperties": false,
        })
    );
}

#[tokio::test]
async fn a_type_that_holds_itself_is_told_by_reference() {
    let tool = count::tool();
    let schema = &tool.definition().parameters;
    assert!(schema["$defs"]["Tree"].is_object(), "{schema:#}");
    let tree = json!({"children": [{"children": []}, {"children": []}]});
    assert_eq!(call(count::tool(), json!({"tree": tree})).await, Ok(json!(3)));
}

#[tokio::test]
async fn what_is_missing_has_its_default() {
    let places = json!([{"name": "mast", "height": 3}]);
    let least = call(forecast::tool(), json!({"places": places})).await;
    assert_eq!(least, Ok(json!([["mast"], 3, "kelvin", "celsius", null])));
    let null = json!({"places": [], "days": 1, "unit": null, "other": "kelvin", "detail": null});
    let read = call(forecast::tool(), null).await;
    assert_eq!(read, Ok(json!([[], 1, "kelvin", "kelvin", null])));
}

#[tokio::test]
async fn arguments_that_are_wrong_are_named() {
    let takes = "the tool takes `places`, `days`, `unit`, `other`, `detail`";
    for (arguments, expected) in [
        (json!({"places": [], "colour": 1}), format!("there is no argument `colour`; {takes}")),
        (json!({}), format!("the argument `places` is missing; {takes}")),
        (json!({"_raw": "{\"places\": ["}), {
            format!("the arguments are no JSON object but `{{\"places\": [`; {takes}")
        }),
        (json!({"places": "mast"}), {
            "the argument `places`: invalid type: string \"mast\", expected a sequence".to_owned()
        }),
        (json!({"places": [{"name": "a"}, {"name": 5}]}), {
            "the argument `places[1].name`: invalid type: integer `5`, expected a string".to_owned()
        }),
        (json!({"places": [], "days": 300}), {
            "the argument `days`: invalid value: integer `300`, expected u8".to_owned()
        }),
        (json!({"places": [], "other": "f"}), {
            "the argument `other`: unknown variant `f`, expected `celsius` or `kelvin`".to_owned()
        }),
    ] {
        assert_eq!(refusal(forecast::tool(), arguments).await, expected);
    }
    let refused = refusal(nothing::tool(), json!({"a": 1})).await;
    assert_eq!(refused, "there is no argument `a`; the tool takes none");
}

#[tokio::test]
async fn a_call_whose_arguments_no_model_finished_is_refused_with_its_words() {
    let words = "x".repeat(100);
    let call = json!({"id": "1", "function": {"name": "nothing", "arguments": words}});
    let arguments = ToolCall::from_json(&call).unwrap().arguments;
    let refused = refusal(nothing::tool(), Value::Object(arguments)).await;
    let expected =
        format!("the arguments are no JSON object but `{}…`; the tool takes none", "x".repeat(60));
    assert_eq!(refused, expected);
}

struct ByHand(ToolDefinition, ToolOptions);

impl Tool for ByHand {
    fn definition(&self) -> &ToolDefinition {
        &self.0
    }

    fn options(&self) -> &ToolOptions {
        &self.1
    }

    fn call<'a>(&'a self, _: &'a ToolInvocation) -> ToolFuture<'a, Value> {
        Box::pin(async { Ok(Value::Null) })
    }
}

#[test]
fn tools_made_by_hand_are_checked_by_their_schema() {
    let check = |schema: Value, arguments: Value| {
        let definition = ToolDefinition::new("by_hand", "Is made by hand.").parameters(schema);
        let tool = ByHand(definition, ToolOptions::new());
        match tool.check_arguments(&fields(arguments)) {
            Ok(()) => String::new(),
            Err(error) => {
                assert_eq!(error.kind(), ToolErrorKind::InvalidArguments);
                error.to_string()
            }
        }
    };
    let schema = json!({"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"]});
    assert_eq!(check(schema.clone(), json!({"a": 1})), "");
    let takes = "the tool takes `a`, `b`";
    assert_eq!(
        check(schema.clone(), json!({"b": 1})),
        format!("the argument `a` is missing; {takes}")
    );
    assert_eq!(
        check(schema.clone(), json!({"a": 1, "c": 1})),
        format!("there is no argument `c`; {takes}")
    );
    let mut open = schema;
    open["additionalProperties"] = json!(true);
    assert_eq!(check(open, json!({"a": 1, "c": 1})), "");
}

/// What to draw: told apart by a field.
#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "backhaul_runtime::tools::schemars")]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Shape {
    Circle { radius: f64 },
    Square { side: u32 },
}

/// One or several.
#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "backhaul_runtime::tools::schemars")]
#[serde(untagged)]
enum OneOrMany {
    One(f64),
    Many(Vec<f64>),
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "backhaul_runtime::tools::schemars")]
struct Placed {
    x: f64,
    #[serde(flatten)]
    size: Size,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "backhaul_runtime::tools::schemars")]
struct Size {
    width: u8,
    height: f32,
}

/// Draws.
#[tool]
fn draw(shape: Shape, at: OneOrMany, placed: Option<Placed>) -> f64 {
    let size = match shape {
        Shape::Circle { radius } => radius,
        Shape::Square { side } => f64::from(side),
    };
    let at = match at {
        OneOrMany::One(one) => one,
        OneOrMany::Many(many) => many.iter().sum(),
    };
    let placed =
        placed.map_or(0.0, |it| it.x + f64::from(it.size.width) + f64::from(it.size.height));
    size + at + placed
}

#[tokio::test]
async fn numbers_are_numbers_in_types_that_are_told_apart_by_their_content() {
    for (arguments, expected) in [
        (r#"{"shape": {"kind": "circle", "radius": 1.50}, "at": 2}"#, 3.5),
        (r#"{"shape": {"kind": "square", "side": 3}, "at": [0.5, 1e0]}"#, 4.5),
        (
            r#"{"shape": {"kind": "square", "side": 1}, "at": -1.0,
                "placed": {"x": 1, "width": 2, "height": 0.5}}"#,
            3.5,
        ),
    ] {
        let arguments = serde_json::from_str(arguments).unwrap();
        assert_eq!(call(draw::tool(), arguments).await, Ok(json!(expected)));
    }
    let huge: Value = serde_json::from_str("1e400").unwrap();
    for (shape, expected) in [
        (json!({"kind": "square", "side": -1}), "invalid value: integer `-1`, expected u32"),
        (json!({"kind": "circle", "radius": "1"}), "invalid type: string \"1\", expected f64"),
    ] {
        let error = refusal(draw::tool(), json!({"shape": shape, "at": 1})).await;
        assert_eq!(error, format!("the argument `shape`: {expected}"));
    }
    let error = refusal(forecast::tool(), json!({"places": [{"name": "a", "height": huge}]})).await;
    assert_eq!(error, "the argument `places[0].height`: number out of range");
    let error = refusal(draw::tool(), json!({"shape": {"kind": "cube"}, "at": 1})).await;
    assert_eq!(
        error,
        "the argument `shape.kind`: unknown variant `cube`, expected `circle` or `square`"
    );
}
