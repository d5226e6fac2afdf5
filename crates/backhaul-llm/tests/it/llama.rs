//! llama.cpp's own server, in both of the protocols that it speaks.

use backhaul_llm::{
    AnthropicClient, ChatRequest, Endpoint, FinishReason, LlmClient, LlmErrorKind, LocalLlmClient,
    Message, OpenAiClient,
};
use backhaul_testkit::{LOCAL_TEXT, LlamaOptions, LlamaServer, TinyModel};
use serde_json::{Value, json};

use crate::support::read;

/// Room for what the tests ask, twice over, and no more.
const CONTEXT: u32 = 256;

fn start(model: &TinyModel) -> LlamaServer {
    let options = LlamaOptions { context: CONTEXT, slots: 2, ..LlamaOptions::default() };
    LlamaServer::start(model, options).unwrap()
}

fn openai(server: &LlamaServer) -> OpenAiClient {
    LocalLlmClient::new(&format!("{}/v1", server.url())).unwrap().into()
}

fn anthropic(server: &LlamaServer) -> AnthropicClient {
    AnthropicClient::at(Endpoint::new(&server.url()).unwrap(), "any")
}

fn question() -> ChatRequest {
    let messages = vec![Message::system("Be brief."), Message::user("hello")];
    ChatRequest::new(messages).max_tokens(64).field("temperature", json!(0))
}

async fn answers(client: &dyn LlmClient) {
    let answer = client.complete(&question()).await.unwrap();
    assert_eq!(answer.content(), LOCAL_TEXT);
    assert_eq!(answer.finish_reason(), Some(FinishReason::Stop));
    assert!(answer.usage().prompt_tokens > 5 && answer.usage().completion_tokens > 5);
    let (text, end) = read(client.stream(&question()).await.unwrap()).await;
    end.unwrap();
    assert_eq!(text, LOCAL_TEXT);
    let short = client.complete(&question().max_tokens(3)).await.unwrap();
    assert_eq!(short.finish_reason(), Some(FinishReason::Length));
    let count = client.count_tokens(&question()).await.unwrap();
    assert!(count.is_exact);
    assert_eq!(count.tokens, answer.usage().prompt_tokens);
    let long = ChatRequest::new(vec![Message::user("hello ".repeat(300))]);
    for error in
        [client.complete(&long).await.unwrap_err(), client.stream(&long).await.unwrap_err()]
    {
        assert_eq!((error.kind(), error.status()), (LlmErrorKind::ContextLength, Some(400)));
    }
    client.probe().await.unwrap();
}

#[tokio::test]
async fn it_answers_in_openais_protocol_and_tells_what_it_can_do() {
    let server = start(&TinyModel::chain().with_context(CONTEXT).knowing_tools());
    let client = openai(&server);
    answers(&client).await;
    let told = client.capabilities().await.unwrap();
    assert_eq!(told.context_tokens, Some(u64::from(CONTEXT)));
    assert!(told.tools && told.json_schema && !told.vision && !told.forced_tools, "{told:?}");
}

#[tokio::test]
async fn it_answers_in_anthropics_messages() {
    let server = start(&TinyModel::chain().with_context(CONTEXT));
    answers(&anthropic(&server)).await;
}

#[tokio::test]
async fn an_answer_keeps_to_a_schema() {
    let server = start(&TinyModel::random());
    let schema = json!({ "type": "object", "properties": { "ok": { "type": "boolean" } },
        "required": ["ok"], "additionalProperties": false });
    let request = question().json_schema("answer", schema).max_tokens(200);
    let answer = openai(&server).complete(&request).await.unwrap();
    let said: Value = serde_json::from_str(&answer.content()).unwrap();
    assert!(said["ok"].is_boolean(), "{said}");
    let (text, end) = read(openai(&server).stream(&request).await.unwrap()).await;
    end.unwrap();
    assert!(serde_json::from_str::<Value>(&text).unwrap()["ok"].is_boolean(), "{text}");
}
