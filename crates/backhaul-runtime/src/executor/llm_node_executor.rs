//! Nodes that ask a model.

use std::fmt;
use std::sync::Arc;

use backhaul_agent::LlmCall;
use backhaul_llm::{ChatRequest, CompletionResult, LlmClient, LlmError, LlmErrorKind, Message};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::node_call::NodeCall;
use super::node_error::NodeError;
use super::node_executor::{NodeExecutor, NodeFuture};
use super::node_output::NodeOutput;
use super::template;
use crate::dag::{Node, NodeKind};
use crate::traced::Traced;

/// Says in a node's config that the answer is JSON.
const JSON: &str = "json";

/// Asks a model, for nodes of the kind [`NodeKind::Llm`].
///
/// - In `prompt` and `system`, `{a.path}` stands for an argument of the node, or for what the
///   context has there; two braces are one brace of the text.
/// - The node's `config` goes into the request: `model`, `temperature`, `max_tokens` and so on.
///   Only `json` does not: with `true` the answer is read as JSON, fenced or not, and an answer
///   that is none is a failed attempt.
/// - The output is the text of the answer, or its JSON. Who gave it, and why, stands in the
///   node's metadata (`source`, `model`, `reason`) and with the call in the run's record.
/// - The node's timeout is what the model is told of the caller's patience, so that there is
///   time left for another one.
///
/// ```
/// # use backhaul_llm::{ChatRequest, ChunkStream, CompletionResult, LlmClient, LlmError};
/// # use backhaul_llm::{LlmErrorKind, LlmFuture, Metadata, ModelCapabilities};
/// # struct Model;
/// # impl LlmClient for Model {
/// #     fn name(&self) -> &str { "model" }
/// #     fn complete<'a>(&'a self, asked: &'a ChatRequest) -> LlmFuture<'a, CompletionResult> {
/// #         Box::pin(async {
/// #             assert_eq!(asked.messages[0].text(), "Is 31.5 too hot?");
/// #             let message = serde_json::json!({"role": "assistant", "content": "{\"alarm\": true}"});
/// #             let body = serde_json::json!({"model": "m", "choices": [{"message": message}]});
/// #             CompletionResult::from_json(body, Metadata::of_model("m"))
/// #         })
/// #     }
/// #     fn stream<'a>(&'a self, _: &'a ChatRequest) -> LlmFuture<'a, ChunkStream> {
/// #         Box::pin(async { Err(LlmError::new(LlmErrorKind::Unsupported, "no streams")) })
/// #     }
/// #     fn capabilities(&self) -> LlmFuture<'_, ModelCapabilities> {
/// #         Box::pin(async { Ok(ModelCapabilities::TEXT) })
/// #     }
/// # }
/// # let client = Model;
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use std::sync::Arc;
/// use backhaul_agent::Context;
/// use backhaul_runtime::dag::{Dag, Node};
/// use backhaul_runtime::executor::{DagExecutor, LlmNodeExecutor};
/// let decide = Node::llm("decide").prompt("Is {reading} too hot?").config("json", true);
/// let dag = Arc::new(Dag::new("d").node(decide.output_key("decision")).build()?);
/// let executor = DagExecutor::new(LlmNodeExecutor::new(client));
/// let result = executor.run(&dag, Context::new().set("reading", 31.5)).await;
/// assert_eq!(result.final_context.to_value()["decision"]["alarm"], true);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct LlmNodeExecutor {
    client: Arc<dyn LlmClient>,
}

impl LlmNodeExecutor {
    /// Asks this client.
    pub fn new(client: impl LlmClient + 'static) -> Self {
        Self { client: Arc::new(client) }
    }

    async fn ask(&self, call: &NodeCall) -> Result<NodeOutput, NodeError> {
        let request = request(call)?;
        let record = Record::begin(call, &request, self.client.name());
        let traced = begin_trace(&request, self.client.name());
        match traced.run(self.client.complete(&request)).await {
            Ok(answer) => {
                record.answered(&answer);
                trace_answer(traced, &answer);
                output(call, &answer)
            }
            Err(error) => {
                record.failed(error.to_string());
                traced.fail("LlmError", &error.to_string());
                Err(NodeError { is_final: is_final(&error), ..NodeError::new(error.to_string()) })
            }
        }
    }
}

impl NodeExecutor for LlmNodeExecutor {
    fn execute_node<'a>(&'a self, call: &'a NodeCall) -> NodeFuture<'a> {
        Box::pin(self.ask(call))
    }

    fn check(&self, node: &Node) -> Result<(), String> {
        let (prompt, system) = templates(node)?;
        if prompt.is_empty() && system.is_none() {
            return Err("it asks nothing: give it a `prompt`".to_owned());
        }
        template::check(prompt).map_err(|why| format!("in its prompt, {why}"))?;
        template::check(system.unwrap_or_default()).map_err(|why| format!("in its system, {why}"))
    }
}

fn templates(node: &Node) -> Result<(&str, Option<&str>), String> {
    match &node.kind {
        NodeKind::Llm { prompt, system } => Ok((prompt, system.as_deref())),
        other => Err(format!("it asks no model, and only models can be asked: {other:?}")),
    }
}

fn request(call: &NodeCall) -> Result<ChatRequest, NodeError> {
    let node = call.node();
    let (prompt, system) = templates(node).map_err(NodeError::fatal)?;
    let fill = |template: &str| template::fill(template, |path| value_of(call, path));
    let system = system.map(fill).transpose().map_err(NodeError::fatal)?;
    let prompt = fill(prompt).map_err(NodeError::fatal)?;
    let messages = system.map(Message::system).into_iter().chain([Message::user(prompt)]);
    let mut request = ChatRequest::new(messages.collect());
    let fields = node.config.iter().filter(|(name, _)| *name != JSON);
    request.fields.extend(fields.map(|(name, value)| (name.clone(), value.clone())));
    request.patience = node.timeout;
    Ok(request)
}

/// An argument or a part of one, or else what the context has.
fn value_of(call: &NodeCall, path: &str) -> Option<Value> {
    let mut parts = path.split('.');
    let argument = parts.next().and_then(|name| call.inputs.get(name));
    let argument = argument.and_then(|value| parts.try_fold(value, |value, part| value.get(part)));
    argument.cloned().or_else(|| call.context.get(path))
}

fn output(call: &NodeCall, answer: &CompletionResult) -> Result<NodeOutput, NodeError> {
    let text = answer.content();
    let is_json = call.node().config.get(JSON).is_some_and(|json| *json == Value::Bool(true));
    let value = if is_json { parse(&text)? } else { Value::from(text) };
    Ok(NodeOutput { metadata: answer.metadata.to_json(), ..NodeOutput::from(value) })
}

/// Models like to put JSON between fences.
fn parse(text: &str) -> Result<Value, NodeError> {
    let bare = text.trim();
    let fenced = bare.strip_prefix("```").and_then(|inner| inner.strip_suffix("```"));
    let bare = fenced.map_or(bare, |inner| inner.strip_prefix("json").unwrap_or(inner));
    serde_json::from_str(bare.trim()).map_err(|error| {
        let begin: String = text.chars().take(80).collect();
        NodeError::new(format!("the answer is no JSON ({error}): {begin:?}"))
    })
}

/// A call of Weave's of the client's name, with what is asked.
fn begin_trace(request: &ChatRequest, client: &str) -> Traced {
    Traced::begin(client, |call| {
        let messages: Vec<_> = request.messages.iter().map(Message::as_json).collect();
        call.input("model", request.model_name().unwrap_or_default()).input("messages", messages)
    })
}

/// The answer, who gave it, and what it cost in tokens.
fn trace_answer(traced: Traced, answer: &CompletionResult) {
    let usage = answer.usage();
    let counted = json!({
        "requests": 1,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
    });
    traced.usage(answer.model(), counted);
    let metadata = answer.metadata.to_json();
    traced.finish(|| json!({"content": answer.content(), "metadata": metadata}));
}

/// Whether the same request would fail again.
fn is_final(error: &LlmError) -> bool {
    use LlmErrorKind::{Credentials, Unsupported};
    !error.kind().falls_back() || matches!(error.kind(), Credentials | Unsupported)
}

/// What the run's record is told of a call, whatever becomes of it.
struct Record<'a> {
    call: &'a NodeCall,
    begun: Instant,
    told: Option<LlmCall>,
}

impl<'a> Record<'a> {
    fn begin(call: &'a NodeCall, request: &ChatRequest, client: &str) -> Self {
        let told = call.recorder().is_recording().then(|| {
            let messages = request.messages.iter().map(|it| Value::Object(it.as_json().clone()));
            let model = request.model_name().unwrap_or(client);
            LlmCall::new(model, messages.collect(), "")
                .node_id(call.node().id.as_str())
                .correlation_id(&*call.run_id)
        });
        Self { call, begun: Instant::now(), told }
    }

    fn answered(mut self, answer: &CompletionResult) {
        let usage = answer.usage();
        self.tell(|mut told| {
            told.output = answer.content();
            let metadata = answer.metadata.to_json();
            let model = [answer.metadata.model.as_str(), answer.model()];
            if let Some(model) = model.into_iter().find(|model| !model.is_empty()) {
                told.model = model.to_owned();
            }
            told.extra.extend(metadata.into_iter().filter(|(name, _)| name != "model"));
            told.tokens(usage.prompt_tokens, usage.completion_tokens)
        });
    }

    fn failed(mut self, error: String) {
        self.tell(|told| told.error(error));
    }

    fn tell(&mut self, what: impl FnOnce(LlmCall) -> LlmCall) {
        if let Some(told) = self.told.take() {
            let took = self.begun.elapsed().as_secs_f64() * 1_000.0;
            self.call.recorder().record_llm_call(what(told.duration_ms(took)));
        }
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        self.tell(|told| told.error("no answer was waited for: the attempt was given up"));
    }
}

impl fmt::Debug for LlmNodeExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlmNodeExecutor").field("client", &self.client.name()).finish()
    }
}
