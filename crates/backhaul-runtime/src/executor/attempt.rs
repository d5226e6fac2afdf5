//! One attempt at a node.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use backhaul_agent::ContextPatch;
use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::node_call::NodeCall;
use super::node_error::NodeError;
use super::node_executor::NodeExecutor;
use super::node_output::NodeOutput;
use crate::traced::Traced;

/// How an attempt ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) result: Result<NodeOutput, NodeError>,
    pub(super) took: Duration,
}

/// Makes one attempt. A panic is a failure.
pub(super) async fn attempt(executor: Arc<dyn NodeExecutor>, call: NodeCall) -> Ended {
    let begun = Instant::now();
    let traced = begin_trace(&call);
    let running = traced.run(within_limit(&*executor, &call));
    let ended = AssertUnwindSafe(running).catch_unwind().await;
    let result = match ended {
        Ok(Some(result)) => result,
        Ok(None) => Err(NodeError::unclear(timed_out(&call))),
        Err(panic) => Err(NodeError::unclear(format!("panicked: {}", text_of(&*panic)))),
    };
    match &result {
        Ok(output) => traced.finish(|| traced_output(output)),
        Err(error) => traced.fail("NodeError", &error.message),
    }
    Ended { result, took: begun.elapsed() }
}

fn begin_trace(call: &NodeCall) -> Traced {
    Traced::begin(&call.node().id, |traced| {
        let inputs = call.inputs.iter();
        let traced = inputs.fold(traced, |traced, (name, value)| traced.input(name, value));
        traced.attribute("run_id", &*call.run_id).attribute("attempt", call.attempt)
    })
}

/// The value; and the changes of the context, where there are any beside it.
fn traced_output(output: &NodeOutput) -> Value {
    if output.patches.is_empty() {
        return output.value.clone();
    }
    let patches: Vec<Value> = output.patches.iter().map(ContextPatch::to_value).collect();
    json!({"value": output.value, "patches": patches})
}

async fn within_limit(
    executor: &dyn NodeExecutor,
    call: &NodeCall,
) -> Option<Result<NodeOutput, NodeError>> {
    let running = executor.execute_node(call);
    match call.node().timeout {
        Some(limit) => timeout(limit, running).await.ok(),
        None => Some(running.await),
    }
}

fn timed_out(call: &NodeCall) -> String {
    let limit = call.node().timeout.unwrap_or_default();
    format!("timed out after {} s", limit.as_secs_f64())
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
