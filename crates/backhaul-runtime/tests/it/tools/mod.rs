//! Tools: how they are made, told of, called and kept.

mod arguments;
mod cache;
mod errors;
mod functions;
mod misuse;
mod options;
mod registry;
mod results;

use backhaul_runtime::tools::{IdempotencyKey, Tool, ToolError, ToolInvocation};
use serde_json::{Map, Value};

/// The fields of an object.
fn fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields,
        other => panic!("no object: {other}"),
    }
}

/// A first call with these arguments.
fn invocation(arguments: Value) -> ToolInvocation {
    let arguments = fields(arguments);
    let key = IdempotencyKey::of("tool", &arguments, "run_1/step/0");
    ToolInvocation { arguments, key, attempts: 0 }
}

/// What a tool makes of arguments.
async fn call(tool: impl Tool, arguments: Value) -> Result<Value, ToolError> {
    tool.call(&invocation(arguments)).await
}

/// Why a tool refuses arguments, which it says before it is called and when it is.
async fn refusal(tool: impl Tool, arguments: Value) -> String {
    let invocation = invocation(arguments);
    let error = tool.check_arguments(&invocation.arguments).expect_err("refused");
    assert_eq!(tool.call(&invocation).await, Err(error.clone()));
    error.to_string()
}
