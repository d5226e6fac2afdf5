//! One attempt at a node.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use super::node_call::NodeCall;
use super::node_error::NodeError;
use super::node_executor::NodeExecutor;
use super::node_output::NodeOutput;

/// How an attempt ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) result: Result<NodeOutput, NodeError>,
    pub(super) took: Duration,
}

/// Makes one attempt. A panic is a failure.
pub(super) async fn attempt(executor: Arc<dyn NodeExecutor>, call: NodeCall) -> Ended {
    let begun = Instant::now();
    let ended = AssertUnwindSafe(within_limit(&*executor, &call)).catch_unwind().await;
    let result = match ended {
        Ok(Some(result)) => result,
        Ok(None) => Err(NodeError::unclear(timed_out(&call))),
        Err(panic) => Err(NodeError::unclear(format!("panicked: {}", text_of(&*panic)))),
    };
    Ended { result, took: begun.elapsed() }
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
