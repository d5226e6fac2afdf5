//! `#[tool]` in a package that calls the library by another name than its own.

use another_name::tools::{IdempotencyKey, Tool, ToolInvocation};
use serde_json::json;

/// Adds.
#[another_name::tools::tool]
fn add(a: u8, b: u8) -> u8 {
    a + b
}

/// Where a crate hides the library behind a module of its own.
mod hidden {
    pub(crate) mod deep {
        pub(crate) use another_name::tools::*;
    }
}

/// Adds more.
#[hidden::deep::tool(crate = crate::hidden::deep)]
fn add_more(a: u8, b: u8) -> u8 {
    a + b
}

#[tokio::test]
async fn a_tool_is_called_whatever_the_library_is_called() {
    let arguments = json!({"a": 1, "b": 2}).as_object().unwrap().clone();
    let key = IdempotencyKey::of("add", &arguments, "run_1/0");
    let invocation = ToolInvocation { arguments, key, attempts: 0 };
    assert_eq!(add::tool().call(&invocation).await, Ok(json!(3)));
    assert_eq!(add_more::tool().call(&invocation).await, Ok(json!(3)));
    assert_eq!(add(1, add_more(1, 1)), 3);
}
