//! The tools that an agent has.

use std::sync::Arc;
use std::time::Duration;

use backhaul_llm::ToolDefinition;
use backhaul_runtime::tools::{
    RegistrationError, RegistrationErrorKind, Tool, ToolFuture, ToolInvocation, ToolOptions,
    ToolRegistry, tool,
};
use serde_json::{Value, json};

use super::call;

/// Opens it.
#[tool]
fn open_valve() -> &'static str {
    "open"
}

/// Closes it.
#[tool]
fn close_valve() {}

struct Named(ToolDefinition, ToolOptions);

fn named(name: &str) -> Named {
    Named(ToolDefinition::new(name, "Has a name."), ToolOptions::new())
}

impl Tool for Named {
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

fn refused(registered: Result<ToolRegistry, RegistrationError>) -> (RegistrationErrorKind, String) {
    let error = registered.expect_err("refused");
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn tools_are_found_by_name_and_told_in_order() -> Result<(), RegistrationError> {
    let tools = ToolRegistry::new().with(open_valve::tool())?.with(close_valve::tool())?;
    assert_eq!(tools.list_tools(), ["open_valve", "close_valve"]);
    assert_eq!(call(tools.get("open_valve").unwrap(), json!({})).await, Ok(json!("open")));
    assert!(tools.get("open").is_none());
    assert_eq!(tools.definitions()[1].description, "Closes it.");
    let parameters = json!({
        "type": "object", "properties": {}, "required": [], "additionalProperties": false,
    });
    assert_eq!(
        tools.to_openai()[0],
        json!({"type": "function", "function": {
            "name": "open_valve", "description": "Opens it.", "parameters": parameters,
        }})
    );
    assert_eq!(
        tools.to_anthropic()[0],
        json!({"name": "open_valve", "description": "Opens it.", "input_schema": parameters})
    );
    close_valve();
    Ok(())
}

#[test]
fn a_clone_goes_its_own_way() -> Result<(), RegistrationError> {
    let tools = ToolRegistry::new().with(open_valve::tool())?;
    let more = tools.clone().with(close_valve::tool())?;
    assert_eq!((tools.list_tools().len(), more.list_tools().len()), (1, 2));
    Ok(())
}

#[tokio::test]
async fn a_namespace_is_part_of_the_name_and_of_the_definition() -> Result<(), RegistrationError> {
    let mut tools = ToolRegistry::new().with(open_valve::tool())?.namespace("pump-3");
    tools.register(open_valve::tool())?;
    tools.register(Arc::new(close_valve::tool()) as Arc<dyn Tool>)?;
    let expected = ["open_valve", "pump-3-open_valve", "pump-3-close_valve"];
    assert_eq!(tools.list_tools(), expected);
    let tool = tools.get("pump-3-open_valve").unwrap();
    assert_eq!(tool.definition().name, "pump-3-open_valve");
    assert_eq!(call(tool, json!({})).await, Ok(json!("open")));
    Ok(())
}

#[test]
fn a_name_is_there_once() {
    let twice = ToolRegistry::new().with(open_valve::tool()).unwrap().with(open_valve::tool());
    let (kind, message) = refused(twice);
    assert_eq!(kind, RegistrationErrorKind::DuplicateName);
    assert!(message.starts_with("a tool `open_valve` is registered already"), "{message}");
}

#[test]
fn names_are_what_models_can_call() {
    assert!(ToolRegistry::new().with(named(&"a".repeat(64))).is_ok());
    for name in ["", "a b", "a.b", "größe", &"a".repeat(65)] {
        let (kind, message) = refused(ToolRegistry::new().with(named(name)));
        assert_eq!(kind, RegistrationErrorKind::InvalidName, "{name}");
        assert!(message.starts_with(&format!("a tool cannot be called `{name}`")), "{message}");
    }
    let (kind, _) = refused(ToolRegistry::new().namespace("a.b").with(named("c")));
    assert_eq!(kind, RegistrationErrorKind::InvalidName);
}

#[test]
fn a_tool_whose_options_contradict_themselves_is_refused() {
    let Named(definition, options) = named("slow");
    let tool = Named(definition, options.timeout(Duration::ZERO));
    let (kind, message) = refused(ToolRegistry::new().with(tool));
    assert_eq!(kind, RegistrationErrorKind::InvalidOptions);
    assert!(message.starts_with("the tool `slow`: `timeout` is zero"), "{message}");
}

#[test]
fn queued_calls_collapse_by_arguments_that_there_are() {
    let Named(definition, options) = named("tell");
    let options = options
        .offline_policy(backhaul_runtime::tools::OfflinePolicy::Queue)
        .collapse_by(["sensor"]);
    let (kind, message) = refused(ToolRegistry::new().with(Named(definition, options)));
    assert_eq!(kind, RegistrationErrorKind::InvalidOptions);
    assert_eq!(
        message,
        "the tool `tell`: `collapse_by` names `sensor`, which is no argument of it"
    );
}
