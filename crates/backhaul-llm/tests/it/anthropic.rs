//! Servers of Anthropic's messages.

use backhaul_llm::{AnthropicClient, ApiKey, FinishReason, LlmClient, LlmErrorKind, TokenCount};
use backhaul_testkit::{Answer, FaultServer};
use serde_json::{Value, json};

use crate::support::{endpoint, json, question, read, server};

fn client(server: &FaultServer) -> AnthropicClient {
    AnthropicClient::at(endpoint(server, "").with_api_key(ApiKey::new("sk-own")), "claude-x")
}

fn events(events: &[Value]) -> Answer {
    let lines = events.iter().map(|event| {
        let name = event["type"].as_str().unwrap();
        format!("event: {name}\ndata: {event}\n\n")
    });
    Answer::ok(lines.collect::<String>()).header("Content-Type", "text/event-stream").chunked()
}

fn whole() -> Vec<Value> {
    let usage = json!({ "input_tokens": 5, "output_tokens": 1 });
    vec![
        json!({ "type": "message_start", "message": { "id": "msg_1", "model": "claude-x-1", "usage": usage } }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "ping" }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "It is." } }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 3 } }),
        json!({ "type": "message_stop" }),
    ]
}

#[tokio::test]
async fn a_question_is_answered_as_a_whole() {
    let answer = json!({
        "id": "msg_1", "model": "claude-x-1", "stop_reason": "max_tokens",
        "content": [{ "type": "text", "text": "It is." }],
        "usage": { "input_tokens": 5, "output_tokens": 3 },
    });
    let server = server(Answer::ok(answer.to_string()));
    let answer = client(&server).complete(&question()).await.unwrap();
    assert_eq!(
        (answer.content().as_str(), answer.metadata.model.as_str()),
        ("It is.", "claude-x-1")
    );
    assert_eq!(answer.finish_reason(), Some(FinishReason::Length));
    assert_eq!(answer.usage().total_tokens(), 8);
    let asked = &server.requests()[0];
    assert_eq!(asked.line(), "POST /v1/messages HTTP/1.1");
    assert_eq!((asked.header("x-api-key"), asked.header("authorization")), (Some("sk-own"), None));
    assert_eq!(asked.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(json(asked)["max_tokens"], json!(4_096));
}

#[tokio::test]
async fn an_answer_comes_in_pieces() {
    let server = server(events(&whole()));
    let mut stream = client(&server).stream(&question()).await.unwrap();
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.next().await {
        chunks.push(chunk.unwrap());
    }
    let text: String = chunks.iter().map(|chunk| chunk.content()).collect();
    let last = chunks.last().unwrap();
    assert_eq!((text.as_str(), last.finish_reason()), ("It is.", Some(FinishReason::Stop)));
    assert_eq!(last.usage().unwrap().total_tokens(), 8);
    assert!(chunks[..chunks.len() - 1].iter().all(|chunk| chunk.finish_reason().is_none()));
    assert_eq!(json(&server.requests()[0])["stream"], json!(true));
}

#[tokio::test]
async fn a_stream_without_its_last_event_is_broken_off() {
    let whole = whole();
    for kept in [4, 5, 6] {
        let server = server(events(&whole[..kept]));
        let (text, end) = read(client(&server).stream(&question()).await.unwrap()).await;
        assert_eq!((text.as_str(), end.unwrap_err().kind()), ("It is.", LlmErrorKind::BrokenOff));
    }
}

#[tokio::test]
async fn an_error_within_a_stream_has_its_own_kind() {
    let mut all = whole();
    all.truncate(4);
    all.push(json!({ "type": "error", "error": { "type": "overloaded_error", "message": "x" } }));
    let server = server(events(&all));
    let (text, end) = read(client(&server).stream(&question()).await.unwrap()).await;
    assert_eq!((text.as_str(), end.unwrap_err().kind()), ("It is.", LlmErrorKind::Busy));
}

#[tokio::test]
async fn tokens_are_counted_by_the_server() {
    let server = server(Answer::ok(r#"{"input_tokens":18}"#));
    let request = question().max_tokens(7).field("temperature", json!(0.5));
    let count = client(&server).count_tokens(&request).await.unwrap();
    assert_eq!(count, TokenCount { tokens: 18, is_exact: true });
    let asked = &server.requests()[0];
    assert_eq!(asked.path(), "/v1/messages/count_tokens");
    let said = json(asked);
    let fields: Vec<_> = said.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["model", "messages"]);
}

#[tokio::test]
async fn what_is_no_message_is_told_of() {
    let said = |class: &str| json!({ "type": "error", "error": { "type": class, "message": "x" } });
    for (answer, kind) in [
        (Answer::new(529).body(said("overloaded_error").to_string()), LlmErrorKind::Busy),
        (
            Answer::new(401).body(said("authentication_error").to_string()),
            LlmErrorKind::Credentials,
        ),
        (Answer::ok("{}"), LlmErrorKind::Garbled),
        (Answer::portal(), LlmErrorKind::Garbled),
    ] {
        let server = server(answer);
        let error = client(&server).complete(&question()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}
