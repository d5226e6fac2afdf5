//! The same model file in this process and in llama.cpp's own HTTP server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use backhaul_llm::{ChatRequest, LlmClient as _, Message};
use backhaul_testkit::{LlamaOptions, LlamaServer, TinyModel};
use serde_json::{Value, json};

use super::{open, question};

/// What the server answers.
fn served(server: &LlamaServer, request: &ChatRequest) -> Value {
    let body = Value::Object(request.to_json()).to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{answer}");
    serde_json::from_str(body).unwrap()
}

async fn says_the_same(model: TinyModel, requests: Vec<ChatRequest>) {
    let server = LlamaServer::start(&model, LlamaOptions::default()).unwrap();
    let client = open(&model);
    for request in requests {
        // How many tokens are computed at once changes the last digits, and of gibberish what
        // is likeliest: with a warm prompt the server says something else than with a cold one.
        let server_says = [served(&server, &request), served(&server, &request)];
        let answer = client.complete(&request).await.unwrap();
        let said = |it: &&Value| it["choices"][0]["message"]["content"] == answer.content();
        let server_says = server_says.iter().find(said).unwrap_or(&server_says[1]);
        let choice = &server_says["choices"][0];
        assert_eq!(answer.content(), choice["message"]["content"], "{request:?}");
        let reason = answer.finish_reason().unwrap();
        assert_eq!(reason.name(), choice["finish_reason"], "{request:?}");
        for count in ["prompt_tokens", "completion_tokens", "total_tokens"] {
            let usage = (&answer.body()["usage"][count], &server_says["usage"][count]);
            assert_eq!(usage.0, usage.1, "{count} of {request:?}");
        }
    }
}

fn conversation() -> ChatRequest {
    let messages = vec![
        Message::system("You are a helpful assistant."),
        Message::user("Grüße, 世界! Is the network up? 😀"),
        Message::assistant("It is down."),
        Message::user("And now?"),
    ];
    ChatRequest::new(messages).field("temperature", json!(0))
}

#[tokio::test]
async fn the_chain_model_says_what_it_says_in_llama_cpps_own_server() {
    let requests = vec![
        question("Is it warm?"),
        conversation(),
        conversation().field("temperature", json!(1)),
        conversation().max_tokens(4),
        conversation().field("stop", json!("etwork")),
        conversation().field("stop", json!(["here", "network is"])),
    ];
    says_the_same(TinyModel::chain(), requests).await;
}

#[tokio::test]
async fn gibberish_is_the_same_in_llama_cpps_own_server() {
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["ok", "levels"],
        "properties": {
            "ok": {"type": "boolean"},
            "levels": {"type": "array", "items": {"enum": ["low", "high"]}, "maxItems": 3},
        },
    });
    let requests = vec![
        question("Is it warm?").max_tokens(30),
        conversation().max_tokens(30),
        conversation().json_schema("answer", schema),
    ];
    says_the_same(TinyModel::random(), requests).await;
}
