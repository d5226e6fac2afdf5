//! Nodes that ask a model.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_agent::{Context, InMemoryRunLogger};
use backhaul_llm::{
    ChatRequest, ChunkStream, CompletionResult, LlmClient, LlmError, LlmErrorKind, LlmFuture,
    Metadata, ModelCapabilities, OfflineLlmClient,
};
use backhaul_runtime::dag::Node;
use backhaul_runtime::executor::{DagExecutor, LlmNodeExecutor};
use serde_json::{Value, json};

use super::support::{built, of_nodes};

/// Says what it was told to say, one after the other, the last one again and again.
#[derive(Clone)]
struct Model {
    name: &'static str,
    says: Arc<Vec<Result<&'static str, LlmErrorKind>>>,
    asked: Arc<Mutex<Vec<ChatRequest>>>,
}

impl Model {
    fn new(name: &'static str, says: &[Result<&'static str, LlmErrorKind>]) -> Self {
        Self { name, says: Arc::new(says.to_vec()), asked: Arc::default() }
    }

    fn asked(&self) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|request| Value::Object(request.to_json())).collect()
    }
}

impl LlmClient for Model {
    fn name(&self) -> &str {
        self.name
    }

    fn complete<'a>(&'a self, request: &'a ChatRequest) -> LlmFuture<'a, CompletionResult> {
        let count = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(request.clone());
            asked.len() - 1
        };
        Box::pin(async move {
            match self.says[count.min(self.says.len() - 1)] {
                Err(LlmErrorKind::Timeout) => std::future::pending().await,
                Err(kind) => Err(LlmError::new(kind, "as the test has it")),
                Ok(text) => {
                    let message = json!({"role": "assistant", "content": text});
                    let usage = json!({"prompt_tokens": 7, "completion_tokens": 3});
                    let choices = json!([{"message": message}]);
                    let body = json!({"model": self.name, "choices": choices, "usage": usage});
                    CompletionResult::from_json(body, Metadata::of_model(self.name))
                }
            }
        })
    }

    fn stream<'a>(&'a self, _: &'a ChatRequest) -> LlmFuture<'a, ChunkStream> {
        Box::pin(async { Err(LlmError::new(LlmErrorKind::Unsupported, "no streams")) })
    }

    fn capabilities(&self) -> LlmFuture<'_, ModelCapabilities> {
        Box::pin(async { Ok(ModelCapabilities::TEXT) })
    }
}

struct Asked {
    result: backhaul_runtime::executor::ExecutionResult,
    calls: Vec<backhaul_agent::LlmCall>,
}

async fn ask(client: impl LlmClient + 'static, node: Node) -> Asked {
    let logger = InMemoryRunLogger::new();
    let executor = DagExecutor::new(LlmNodeExecutor::new(client)).run_logger(logger.clone());
    let context = Context::new().set("reading.celsius", 31.5).set("site", "roof");
    let result = executor.run(&built(of_nodes([node.output_key("said")])), context).await;
    let calls = logger.get_history()[0].llm_calls.clone();
    Asked { result, calls }
}

fn node() -> Node {
    Node::llm("decide")
        .prompt("Is {reading.celsius} on the {place} too hot?")
        .input("place", "site")
}

#[tokio::test]
async fn a_prompt_is_filled_and_the_config_goes_with_it() {
    let model = Model::new("m", &[Ok("Yes.")]);
    let node = node()
        .system("Answer {{\"hot\": bool}} about {place.roof}{place}")
        .config("temperature", 0.1)
        .config("max_tokens", 50);
    let failed = ask(model.clone(), node.clone()).await;
    assert!(failed.result.error.unwrap().contains("`place.roof`"));
    assert!(failed.calls.is_empty() && model.asked().is_empty());
    let node = node.system("Answer {{\"hot\": bool}} about {place}");
    let Asked { result, calls } = ask(model.clone(), node).await;
    assert_eq!(result.final_context.to_value()["said"], "Yes.");
    assert_eq!(
        model.asked(),
        [json!({
            "temperature": 0.1, "max_tokens": 50,
            "messages": [
                {"role": "system", "content": "Answer {\"hot\": bool} about roof"},
                {"role": "user", "content": "Is 31.5 on the roof too hot?"},
            ],
        })]
    );
    assert_eq!(model.asked.lock().unwrap()[0].patience, Some(Duration::from_secs(300)));
    let [call] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!((&*call.model, &*call.output, call.total_tokens()), ("m", "Yes.", 10));
    assert_eq!(call.node_id.as_deref(), Some("decide"));
    assert_eq!(call.correlation_id, result.run_id);
    assert_eq!(call.input_messages.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn json_is_parsed_and_what_is_none_is_asked_for_again() {
    let model = Model::new("m", &[Ok("Hot!"), Ok("```json\n{\"alarm\": true}\n```")]);
    let Asked { result, calls } = ask(model, node().config("json", true)).await;
    assert_eq!(result.final_context.to_value()["said"], json!({"alarm": true}));
    assert_eq!(calls.len(), 2);
    let never = ask(Model::new("m", &[Ok("Hot!")]), node().config("json", true)).await;
    assert!(never.result.error.unwrap().contains("is no JSON"));
    assert_eq!(never.calls.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn failures_are_recorded_and_those_that_will_not_pass_are_not_tried_again() {
    let busy = ask(Model::new("m", &[Err(LlmErrorKind::Busy), Ok("Yes.")]), node()).await;
    assert!(busy.result.success());
    assert_eq!(busy.calls[0].error.as_deref(), Some("as the test has it"));
    assert_eq!(busy.calls[1].error, None);
    let invalid = ask(Model::new("m", &[Err(LlmErrorKind::Invalid)]), node()).await;
    assert_eq!((invalid.result.node("decide").unwrap().attempts, invalid.calls.len()), (1, 1));
    let silent = Model::new("m", &[Err(LlmErrorKind::Timeout)]);
    let silent = ask(silent, node().timeout(Duration::from_secs(5)).max_attempts(2)).await;
    assert_eq!(silent.calls.len(), 2);
    assert!(silent.calls[0].error.as_deref().unwrap().contains("given up"));
    assert!((5_000.0..5_010.0).contains(&silent.calls[0].duration_ms));
}

#[tokio::test]
async fn who_answered_is_kept() {
    let cloud = Model::new("cloud", &[Err(LlmErrorKind::Unreachable)]);
    let client = OfflineLlmClient::new(cloud, Model::new("local", &[Ok("Yes.")]));
    let Asked { result, calls } = ask(client, node()).await;
    let metadata = &result.node("decide").unwrap().metadata;
    assert_eq!((&metadata["source"], &metadata["model"]), (&json!("fallback"), &json!("local")));
    assert_eq!(calls[0].extra["source"], "fallback");
    assert_eq!(calls[0].model, "local");
}

#[tokio::test]
async fn a_prompt_that_asks_nothing_or_has_an_open_brace_is_refused_before_the_run() {
    let executor = DagExecutor::new(LlmNodeExecutor::new(Model::new("m", &[Ok("")])));
    for (node, why) in [
        (Node::llm("l"), "it asks nothing"),
        (Node::llm("l").prompt("a {b"), "in its prompt, the brace at `{b` is not closed"),
        (Node::llm("l").prompt("a").system("{"), "in its system, "),
        (Node::tool("l", "t"), "it asks no model"),
    ] {
        let result = executor.run(&built(of_nodes([node])), Context::new()).await;
        let error = result.error.unwrap();
        assert!(error.contains(why), "{error}");
    }
}
