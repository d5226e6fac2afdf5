//! Who calls tools, and what he does where there is no network.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backhaul_agent::ToolCall;
use backhaul_sync::ConnectivityMonitor;
use backhaul_weave as weave;
use serde_json::Value;

use super::tool::{Probed, Tool, ToolInvocation};
use super::tool_cache::ToolCache;
use super::tool_error::{ToolError, ToolErrorKind};
use super::tool_options::{OfflinePolicy, OnUnknown};
use super::tool_registry::ToolRegistry;
use super::tool_request::ToolRequest;
use super::tool_result::ToolResult;
use crate::tool_queue::{ToolQueue, ToolQueueErrorKind, Tried};
use crate::traced::Traced;

/// Calls tools, each as its policy says: while the monitor says that there is no network, and
/// when a call fails for want of one.
///
/// | policy | without a network |
/// |---|---|
/// | `queue` | the call is stored, and done later ([`ToolQueue`]) |
/// | `skip` | it is left out |
/// | `local_fallback` | what is in the [`ToolCache`] and fresh, else what the tool does on the device, else what is stale, if it may be |
/// | `fail` | it fails |
///
/// A tool that is not safe to repeat ([`OnUnknown`]) is called through the queue's ledger
/// whatever its policy, where there is a queue.
///
/// ```
/// use backhaul_runtime::tools::{ToolRegistry, ToolRequest, ToolResult, ToolRunner, tool};
/// use serde_json::json;
///
/// /// Adds two numbers.
/// #[tool]
/// fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runner = ToolRunner::new(ToolRegistry::new().with(add::tool())?);
/// let arguments = json!({"a": 40, "b": 2}).as_object().unwrap().clone();
/// let result = runner.call(&ToolRequest::new("add", arguments, "run_001/sum")).await;
/// assert_eq!(result, ToolResult::Done(json!(42)));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ToolRunner {
    tools: ToolRegistry,
    connectivity: Option<ConnectivityMonitor>,
    queue: Option<ToolQueue>,
    cache: Option<ToolCache>,
}

impl ToolRunner {
    /// Calls these tools.
    pub fn new(tools: ToolRegistry) -> Self {
        Self { tools, connectivity: None, queue: None, cache: None }
    }

    /// Who knows whether there is a network. Without one, only calls tell.
    #[must_use]
    pub fn connectivity(self, monitor: ConnectivityMonitor) -> Self {
        Self { connectivity: Some(monitor), ..self }
    }

    /// Where calls wait. Without one, tools that queue fail while there is no network.
    #[must_use]
    pub fn queue(self, queue: ToolQueue) -> Self {
        Self { queue: Some(queue), ..self }
    }

    /// Where results are kept for outages. Without one, none are.
    #[must_use]
    pub fn cache(self, cache: ToolCache) -> Self {
        Self { cache: Some(cache), ..self }
    }

    /// The tools.
    pub fn tools(&self) -> &ToolRegistry {
        &self.tools
    }

    /// Calls a tool as its policy says. Failures are results: this never panics, and a panic of
    /// the tool is its failure. It is a call of Weave's too, where the program logs to it.
    pub async fn call(&self, request: &ToolRequest) -> ToolResult {
        self.call_again(request, 0).await
    }

    /// [`call`](Self::call), after so many attempts that may have done it: those of a run that
    /// was killed meanwhile. The tool's [`OnUnknown`] decides.
    pub async fn call_again(&self, request: &ToolRequest, attempts: u32) -> ToolResult {
        let traced = begin_trace(request);
        let result = traced.run(self.call_untraced(request, attempts)).await;
        match &result {
            ToolResult::Failed(error) => traced.fail("ToolError", &error.to_string()),
            result => traced.finish(|| result.to_value()),
        }
        result
    }

    /// [`call_again`](Self::call_again), and the call as a run record has it.
    pub async fn call_recorded(
        &self,
        request: &ToolRequest,
        attempts: u32,
    ) -> (ToolResult, ToolCall) {
        let began = Instant::now();
        let result = self.call_again(request, attempts).await;
        let call = tool_call(request, &result, began.elapsed());
        (result, call)
    }

    async fn call_untraced(&self, request: &ToolRequest, attempts: u32) -> ToolResult {
        let Some(tool) = self.tools.get(&request.tool) else {
            return ToolResult::Failed(self.no_such_tool(&request.tool));
        };
        if let Err(error) = tool.check_arguments(&request.arguments) {
            return ToolResult::Failed(error);
        }
        let policy = tool.options().offline_policy;
        let is_once = tool.options().on_unknown != OnUnknown::Repeat;
        match &self.queue {
            Some(queue) if policy == OfflinePolicy::Queue => queued(queue, request).await.result,
            _ if self.is_offline() => self.without_network(&tool, request, None).await,
            Some(queue) if is_once => self.in_ledger(queue, &tool, request).await,
            _ => self.direct(tool, request, attempts).await,
        }
    }

    /// Calls a tool that is not to be repeated through the ledger, where it does not stay if it
    /// was not done: its policy is not to wait.
    async fn in_ledger(
        &self,
        queue: &ToolQueue,
        tool: &Arc<dyn Tool>,
        request: &ToolRequest,
    ) -> ToolResult {
        let Tried { result, error } = queued(queue, request).await;
        let ToolResult::Queued { id, .. } = &result else { return result };
        match (queue.withdraw(id), error) {
            (Ok(true), Some(error)) if !error.is_of_the_network() => ToolResult::Failed(error),
            (Ok(true), _) => self.without_network(tool, request, None).await,
            // It was begun, and may have been done: it waits for what the tool says of that.
            _ => result,
        }
    }

    async fn direct(
        &self,
        tool: Arc<dyn Tool>,
        request: &ToolRequest,
        attempts: u32,
    ) -> ToolResult {
        let (arguments, key) = (request.arguments.clone(), request.key.clone());
        let invocation = ToolInvocation { arguments, key, attempts };
        if attempts > 0
            && let Some(result) = resolve(&tool, &invocation).await
        {
            return result;
        }
        match invoke(Arc::clone(&tool), invocation).await {
            Ok(value) => {
                self.keep(&*tool, request, &value);
                ToolResult::Done(value)
            }
            Err(error) if error.is_of_the_network() => {
                self.without_network(&tool, request, Some(error)).await
            }
            Err(error) => ToolResult::Failed(error),
        }
    }

    fn keep(&self, tool: &dyn Tool, request: &ToolRequest, value: &Value) {
        let is_kept = tool.options().local_cache_ttl.is_some();
        if let Some(cache) = self.cache.as_ref().filter(|_| is_kept) {
            cache.put(&request.tool, &request.arguments, value);
        }
    }

    /// What is done in place of a call that no network is there for.
    async fn without_network(
        &self,
        tool: &Arc<dyn Tool>,
        request: &ToolRequest,
        error: Option<ToolError>,
    ) -> ToolResult {
        match tool.options().offline_policy {
            OfflinePolicy::Skip => ToolResult::Skipped,
            OfflinePolicy::LocalFallback => self.fall_back(tool, request, error).await,
            OfflinePolicy::Queue => {
                let message = "there is no network, and no queue in which the call could wait";
                ToolResult::Failed(ToolError::new(ToolErrorKind::NotQueued, message))
            }
            OfflinePolicy::Fail => ToolResult::Failed(error.unwrap_or_else(|| offline(request))),
        }
    }

    async fn fall_back(
        &self,
        tool: &Arc<dyn Tool>,
        request: &ToolRequest,
        error: Option<ToolError>,
    ) -> ToolResult {
        let kept =
            self.cache.as_ref().and_then(|cache| cache.get(&request.tool, &request.arguments));
        let kept = kept.and_then(|kept| kept.for_outage(tool.options()));
        if matches!(kept, Some(ToolResult::Cached { is_stale: false, .. })) {
            return kept.unwrap_or(ToolResult::Skipped);
        }
        let (arguments, key) = (request.arguments.clone(), request.key.clone());
        let invocation = ToolInvocation { arguments, key, attempts: 0 };
        let failed = match on_device(Arc::clone(tool), invocation).await {
            Ok(Some(value)) => return ToolResult::Local(value),
            Ok(None) => error.unwrap_or_else(|| offline(request)),
            Err(failed) => failed,
        };
        kept.unwrap_or(ToolResult::Failed(failed))
    }

    fn is_offline(&self) -> bool {
        self.connectivity.as_ref().is_some_and(|monitor| !monitor.is_online())
    }

    fn no_such_tool(&self, name: &str) -> ToolError {
        let known = self.tools.list_tools().join(", ");
        let known =
            if known.is_empty() { "none is".to_owned() } else { format!("these are: {known}") };
        let message = format!("no tool `{name}` is registered: {known}");
        ToolError::new(ToolErrorKind::UnknownTool, message)
    }
}

fn begin_trace(request: &ToolRequest) -> Traced {
    Traced::begin(&request.tool, |call| {
        let arguments = request.arguments.iter();
        let call = arguments.fold(call, |call, (name, value)| call.input(name, value));
        call.attribute("idempotency_key", request.key.as_str())
    })
}

/// The call as a run record has it.
fn tool_call(request: &ToolRequest, result: &ToolResult, took: Duration) -> ToolCall {
    let input = Value::Object(request.arguments.clone());
    let mut call = match result {
        ToolResult::Failed(error) => ToolCall::failed(&request.tool, input, error.to_string()),
        result => ToolCall::new(&request.tool, input, result.to_value()),
    };
    call.node_id.clone_from(&request.node_id);
    let call = call.duration_ms(took.as_secs_f64() * 1_000.0);
    match &request.run_id {
        Some(run_id) => call.correlation_id(run_id),
        None => call,
    }
}

async fn queued(queue: &ToolQueue, request: &ToolRequest) -> Tried {
    match queue.try_call(request.clone()).await {
        Ok(tried) => tried,
        Err(error) => {
            let kind = match error.kind() {
                ToolQueueErrorKind::InvalidOption => ToolErrorKind::Permanent,
                _ => ToolErrorKind::NotQueued,
            };
            let error = ToolError::new(kind, error.to_string()).with_source(error);
            Tried { result: ToolResult::Failed(error), error: None }
        }
    }
}

/// What becomes of a call that may have been done, where there is no ledger. `None`: it is done
/// (again).
async fn resolve(tool: &Arc<dyn Tool>, invocation: &ToolInvocation) -> Option<ToolResult> {
    let unknown = |why: &str| {
        let message = format!("it may have been done before a crash: {why}");
        Some(ToolResult::Failed(ToolError::new(ToolErrorKind::Unclear, message)))
    };
    match tool.options().on_unknown {
        OnUnknown::Repeat => None,
        OnUnknown::AskPerson => unknown("a person has to decide whether to do it again"),
        OnUnknown::Abandon => unknown("it may be done once at most"),
        OnUnknown::CheckFirst => match look(Arc::clone(tool), invocation.clone()).await {
            Ok(Some(Probed::Done(value))) => Some(ToolResult::Done(value)),
            Ok(Some(Probed::NotDone)) => None,
            Ok(Some(Probed::Unclear)) => unknown("a look at it could not tell"),
            Ok(None) => unknown("it is to be looked at first, and the tool has no probe"),
            Err(error) => Some(ToolResult::Failed(error)),
        },
    }
}

/// Calls a tool within its limit, in a task of its own.
pub(crate) async fn invoke(
    tool: Arc<dyn Tool>,
    invocation: ToolInvocation,
) -> Result<Value, ToolError> {
    apart(async move {
        let limit = tool.options().timeout;
        within(limit, tool.call(&invocation)).await
    })
    .await
}

/// Looks whether a call was done, within the limit of its tool, in a task of its own.
/// `Ok(None)`: the tool cannot look.
pub(crate) async fn look(
    tool: Arc<dyn Tool>,
    invocation: ToolInvocation,
) -> Result<Option<Probed>, ToolError> {
    apart(async move {
        let Some(probe) = tool.probe(&invocation) else { return Ok(None) };
        within(tool.options().timeout, probe).await.map(Some)
    })
    .await
}

/// Does what a tool does on the device itself. `Ok(None)`: there is nothing of the kind.
async fn on_device(
    tool: Arc<dyn Tool>,
    invocation: ToolInvocation,
) -> Result<Option<Value>, ToolError> {
    apart(async move {
        let Some(local) = tool.local(&invocation) else { return Ok(None) };
        local.await.map(Some)
    })
    .await
}

/// Does something of a tool in a task of its own, in which it may panic.
async fn apart<T: Send + 'static>(
    work: impl Future<Output = Result<T, ToolError>> + Send + 'static,
) -> Result<T, ToolError> {
    tokio::spawn(weave::Context::current().run_async(work)).await?
}

/// Does something within a limit; what takes longer is unknown.
async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, ToolError>>,
) -> Result<T, ToolError> {
    let Some(limit) = limit else { return work.await };
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let message = format!("it took longer than {} s", limit.as_secs_f64());
        Err(ToolError::new(ToolErrorKind::Unclear, message))
    })
}

fn offline(request: &ToolRequest) -> ToolError {
    let message = format!("there is no network, and `{}` needs one", request.tool);
    ToolError::new(ToolErrorKind::Offline, message)
}

impl fmt::Debug for ToolRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolRunner").field("tools", &self.tools).finish_non_exhaustive()
    }
}
