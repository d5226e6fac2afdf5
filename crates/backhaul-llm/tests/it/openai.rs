//! Servers of OpenAI's protocol.

use std::time::Duration;

use backhaul_llm::{
    ApiKey, Clocks, Endpoint, FinishReason, Forwarded, LlmClient, LlmErrorKind, ModelCapabilities,
    OpenAiClient, RawRequest, TokenCount,
};
use backhaul_testkit::{Answer, BlackHole, FaultServer};
use serde_json::{Value, json};

use crate::support::{endpoint, events, json, nobody, question, read, server};

fn client(server: &FaultServer) -> OpenAiClient {
    OpenAiClient::new(endpoint(server, "/v1").with_api_key(ApiKey::new("sk-own"))).with_model("m")
}

fn piece(content: &str, finish_reason: Option<&str>) -> Value {
    json!({ "id": "c1", "object": "chat.completion.chunk", "model": "m-1", "choices": [
        { "index": 0, "delta": { "content": content }, "finish_reason": finish_reason },
    ]})
}

fn completion(content: &str) -> Answer {
    let message = json!({ "role": "assistant", "content": content });
    let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
    let usage = json!({ "prompt_tokens": 5, "completion_tokens": 2 });
    Answer::ok(json!({ "model": "m-1", "choices": [choice], "usage": usage }).to_string())
}

fn with_done(answer: &[Value]) -> Answer {
    let mut body: String = answer.iter().map(|piece| format!("data: {piece}\n\n")).collect();
    body += ": bye\n\ndata: [DONE]\n\n";
    Answer::ok(body).header("Content-Type", "text/event-stream").chunked()
}

#[tokio::test]
async fn a_question_is_answered_as_a_whole() {
    let server = server(completion("It is."));
    let request = question().field("own", json!([1]));
    let answer = client(&server).complete(&request).await.unwrap();
    assert_eq!((answer.content().as_str(), answer.metadata.model.as_str()), ("It is.", "m-1"));
    assert_eq!(answer.finish_reason(), Some(FinishReason::Stop));
    assert_eq!(answer.usage().total_tokens(), 7);
    let asked = &server.requests()[0];
    assert_eq!(asked.line(), "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(asked.header("authorization"), Some("Bearer sk-own"));
    let messages = json!([{ "role": "user", "content": "Is it warm?" }]);
    assert_eq!(json(asked), json!({ "model": "m", "messages": messages, "own": [1] }));
}

#[tokio::test]
async fn what_a_caller_forwards_goes_out_and_his_model_unless_the_client_insists() {
    let server = server(completion("It is."));
    let mut forwarded = Forwarded { api_key: ApiKey::new("sk-callers"), ..Forwarded::default() };
    forwarded.headers.insert("openai-project", "p".parse().unwrap());
    let request = question().model("theirs").forwarding(forwarded);
    client(&server).complete(&request).await.unwrap();
    client(&server).with_own_model_always().complete(&request).await.unwrap();
    let asked = server.requests();
    assert_eq!(asked[0].header("authorization"), Some("Bearer sk-callers"));
    assert_eq!(asked[0].header("openai-project"), Some("p"));
    assert_eq!(
        (&json(&asked[0])["model"], &json(&asked[1])["model"]),
        (&json!("theirs"), &json!("m"))
    );
}

#[tokio::test]
async fn an_answer_comes_in_pieces_with_and_without_a_mark_at_its_end() {
    let pieces = [piece("", None), piece("It ", None), piece("is.", None), piece("", Some("stop"))];
    for answer in [with_done(&pieces), events(&pieces)] {
        let server = server(answer);
        let client = client(&server);
        let (text, end) = read(client.stream(&question()).await.unwrap()).await;
        end.unwrap();
        assert_eq!(text, "It is.");
        assert_eq!(json(&server.requests()[0])["stream"], json!(true));
    }
}

#[tokio::test]
async fn a_stream_without_the_models_reason_to_stop_is_broken_off() {
    let pieces = [piece("It ", None), piece("is", None)];
    let cut = |answer: Answer| {
        pieces.iter().fold(answer, |answer, it| answer.piece(format!("data: {it}\n\n")))
    };
    let two_choices = json!({ "choices": [
        { "index": 0, "delta": { "content": "It is" }, "finish_reason": "stop" },
        { "index": 1, "delta": {}, "finish_reason": null },
    ]});
    for (answer, expected) in [
        (events(&pieces), "It is"),
        (events(&pieces).until_close(), "It is"),
        (with_done(&pieces), "It is"),
        (cut(Answer::events()).piece("data: {").then_reset(), "It is"),
        (events(&[two_choices]), "It is"),
    ] {
        let server = server(answer);
        let (text, end) = read(client(&server).stream(&question()).await.unwrap()).await;
        let error = end.unwrap_err();
        assert_eq!((text.as_str(), error.kind()), (expected, LlmErrorKind::BrokenOff), "{error}");
    }
}

#[tokio::test]
async fn what_comes_after_the_reason_to_stop_spoils_nothing() {
    let last = format!("data: {}\n\n", piece("", None));
    let whole = Answer::events().piece(format!("data: {}\n\n", piece("It is.", Some("stop"))));
    let server = server(whole.piece(last).piece("data: {").then_reset());
    let (text, end) = read(client(&server).stream(&question()).await.unwrap()).await;
    end.unwrap();
    assert_eq!(text, "It is.");
}

#[tokio::test]
async fn errors_within_a_stream_have_their_own_kind() {
    let start = piece("It", None);
    let said = |error: Value| events(&[start.clone(), json!({ "error": error })]);
    for (answer, kind) in [
        (said(json!({ "message": "x", "type": "server_error" })), LlmErrorKind::Busy),
        (said(json!({ "message": "x", "code": 429 })), LlmErrorKind::RateLimited),
        (events(&[start.clone(), json!("x")]), LlmErrorKind::Garbled),
        (Answer::ok(format!("data: {start}\n\ndata: {{\"cho\n\n")), LlmErrorKind::Garbled),
        (
            Answer::ok(format!("data: {start}\n\nevent: error\ndata: {{\"message\": \"x\"}}\n\n")),
            LlmErrorKind::Busy,
        ),
    ] {
        let server = server(answer);
        let (text, end) = read(client(&server).stream(&question()).await.unwrap()).await;
        let error = end.unwrap_err();
        assert_eq!((text.as_str(), error.kind()), ("It", kind), "{error}");
    }
}

#[tokio::test]
async fn a_stream_of_nothing_is_no_answer() {
    for answer in [Answer::ok(""), Answer::ok(": ping\n\n"), Answer::ok("{\"choices\":[]}")] {
        let server = server(answer);
        let (_, end) = read(client(&server).stream(&question()).await.unwrap()).await;
        assert_eq!(end.unwrap_err().kind(), LlmErrorKind::Garbled);
    }
}

#[tokio::test]
async fn what_is_no_success_is_told_of_by_its_kind_in_both_forms() {
    let said =
        |status: u16, error: Value| Answer::new(status).body(json!({ "error": error }).to_string());
    for (answer, kind) in [
        (said(401, json!({ "message": "no key sk-own" })), LlmErrorKind::Credentials),
        (said(400, json!({ "message": "x" })), LlmErrorKind::Invalid),
        (
            said(400, json!({ "message": "x", "code": "context_length_exceeded" })),
            LlmErrorKind::ContextLength,
        ),
        (
            said(429, json!({ "message": "x" })).header("retry-after-ms", "250"),
            LlmErrorKind::RateLimited,
        ),
        (Answer::new(503), LlmErrorKind::Busy),
        (Answer::portal(), LlmErrorKind::Garbled),
        (Answer::redirect(302, "http://portal.example/"), LlmErrorKind::Garbled),
        (Answer::hang_up(), LlmErrorKind::Unreachable),
    ] {
        let server = server(answer);
        let whole = client(&server).complete(&question()).await.unwrap_err();
        let pieces = client(&server).stream(&question()).await.unwrap_err();
        assert_eq!((whole.kind(), pieces.kind()), (kind, kind), "{whole}");
        assert!(!format!("{whole:?}").contains("sk-own"), "{whole:?}");
    }
}

#[tokio::test]
async fn a_whole_answer_that_is_none_is_told_of() {
    for (answer, kind) in [
        (Answer::ok(""), LlmErrorKind::Garbled),
        (Answer::ok("{\"choices\""), LlmErrorKind::Garbled),
        (Answer::ok("{\"choices\":[]}"), LlmErrorKind::Garbled),
        (completion("It is.").truncated_to(20), LlmErrorKind::BrokenOff),
        (Answer::ok(r#"{"error":{"message":"x","code":502}}"#), LlmErrorKind::Busy),
    ] {
        let server = server(answer);
        let error = client(&server).complete(&question()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[tokio::test]
async fn nobody_is_unreachable() {
    let client = OpenAiClient::new(Endpoint::new(&nobody()).unwrap());
    let error = client.complete(&question()).await.unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::Unreachable);
    assert!(error.message().contains("refused"), "{error}");
    assert_eq!(client.probe().await.unwrap_err().kind(), LlmErrorKind::Unreachable);
    assert_eq!(client.capabilities().await.unwrap_err().kind(), LlmErrorKind::Unreachable);
}

#[tokio::test]
async fn an_address_that_swallows_everything_is_unreachable_when_the_connect_clock_says_so() {
    let hole = BlackHole::new().unwrap();
    let endpoint = Endpoint::new(&format!("http://{}/v1", hole.address())).unwrap();
    let clocks = Clocks { connect: Duration::from_millis(50), ..Clocks::LOCAL };
    let client = OpenAiClient::new(endpoint.with_clocks(clocks));
    let error = client.stream(&question()).await.unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::Unreachable);
    assert!(error.message().contains("connect: no connection within 50ms"), "{error}");
}

#[tokio::test]
async fn any_answer_of_such_a_server_says_that_it_is_there() {
    let models = Answer::ok(r#"{"object":"list","data":[]}"#);
    for there in [models, Answer::new(401).body(r#"{"error":{}}"#), Answer::new(404)] {
        let server = server(there);
        client(&server).probe().await.unwrap();
        assert_eq!(server.requests()[0].line(), "GET /v1/models HTTP/1.1");
        assert_eq!(server.requests()[0].header("authorization"), Some("Bearer sk-own"));
    }
    for not_there in [Answer::portal(), Answer::new(503), Answer::ok("hello")] {
        client(&server(not_there)).probe().await.unwrap_err();
    }
}

#[tokio::test]
async fn tokens_are_counted_by_the_server_and_it_is_asked_once_whether_it_can() {
    let counts = server(Answer::ok(r#"{"input_tokens":18}"#));
    let count = client(&counts).count_tokens(&question()).await.unwrap();
    assert_eq!(count, TokenCount { tokens: 18, is_exact: true });
    assert_eq!(counts.requests()[0].path(), "/v1/chat/completions/input_tokens");
    let other = server(Answer::new(404));
    let client = client(&other);
    for _ in 0..2 {
        let count = client.count_tokens(&question()).await.unwrap();
        assert_eq!(count, TokenCount::estimate(&question()));
    }
    assert_eq!(other.requests().len(), 1);
}

#[tokio::test]
async fn a_request_that_a_server_does_not_count_is_estimated_and_the_next_one_is_counted() {
    let server = server(Answer::ok(r#"{"input_tokens":18}"#));
    let client = client(&server);
    server.next(Answer::new(400));
    for is_exact in [false, true] {
        assert_eq!(client.count_tokens(&question()).await.unwrap().is_exact, is_exact);
    }
}

#[tokio::test]
async fn a_local_server_tells_what_its_model_can_do_until_it_is_gone() {
    let props = json!({ "default_generation_settings": { "n_ctx": 512 }, "modalities": {} });
    let server = server(Answer::ok(props.to_string()));
    let local = client(&server);
    for _ in 0..2 {
        assert_eq!(local.capabilities().await.unwrap().context_tokens, Some(512));
    }
    assert_eq!(server.take_requests().len(), 1);
    server.next(Answer::hang_up());
    server.next(Answer::hang_up());
    assert_eq!(local.complete(&question()).await.unwrap_err().kind(), LlmErrorKind::Unreachable);
    server.take_requests();
    local.capabilities().await.unwrap();
    assert_eq!(server.requests()[0].path(), "/props");
}

#[tokio::test]
async fn a_server_that_tells_nothing_is_taken_for_little_and_a_cloud_for_all() {
    let server = server(Answer::new(404).body("404 page not found"));
    let told = client(&server).capabilities().await.unwrap();
    assert_eq!(told, ModelCapabilities::TEXT.with_context_tokens(4_096));
    let paths: Vec<_> = server.requests().iter().map(|it| it.path().to_owned()).collect();
    assert_eq!(paths, ["/props", "/api/show"]);
    let cloud = client(&server).with_local(false);
    assert_eq!(cloud.capabilities().await.unwrap(), ModelCapabilities::ALL);
    let stated = client(&server).with_capabilities(ModelCapabilities::TEXT);
    assert_eq!(stated.capabilities().await.unwrap(), ModelCapabilities::TEXT);
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn other_forms_pass_through() {
    let server = server(Answer::ok("raw \u{1}").header("content-type", "x/y").chunked());
    let request = RawRequest::post("/embeddings?x=1", r#"{"input":"a"}"#);
    let mut reply = client(&server).endpoint().forward(request).await.unwrap();
    assert_eq!((reply.status, reply.headers["content-type"].as_bytes()), (200, &b"x/y"[..]));
    let mut body = Vec::new();
    while let Some(piece) = reply.piece().await.unwrap() {
        body.extend_from_slice(&piece);
    }
    assert_eq!(body, b"raw \x01");
    let asked = &server.requests()[0];
    assert_eq!((asked.path(), asked.text().as_str()), ("/v1/embeddings?x=1", r#"{"input":"a"}"#));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    let endpoint = Endpoint::new(&address).unwrap();
    let short = Duration::from_millis(50);
    for (clocks, expected) in [
        (Clocks { headers: short, ..Clocks::LOCAL }, "headers: no head of an answer within 50ms"),
        (Clocks { first_token: short, ..Clocks::LOCAL }, "first_token: no word within 50ms"),
        (Clocks { total: short, ..Clocks::LOCAL }, "total: no end of the answer within 50ms"),
    ] {
        let client = OpenAiClient::new(endpoint.clone().with_clocks(clocks));
        let error = client.stream(&question()).await.unwrap_err();
        assert_eq!(error.kind(), LlmErrorKind::Timeout);
        assert!(error.message().ends_with(expected), "{error}");
    }
}
