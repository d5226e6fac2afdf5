//! A model's server that goes wrong by number.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use backhaul_testkit::{CLOUD_TEXT, FaultServer, LlmScenario, LlmScript};
use serde_json::{Value, json};

use crate::ask::{Reply, ask, hear, question};
use crate::client::{Client, wait_for};

const CHAT: &str = "/v1/chat/completions";
const DELTA: &str = "/choices/0/delta/content";

/// The forms that are streamed, and where their text is, whole and streamed.
const FORMS: [(&str, &str, &str); 4] = [
    (CHAT, "/choices/0/message/content", DELTA),
    ("/v1/completions", "/choices/0/text", "/choices/0/text"),
    ("/v1/responses", "/output/0/content/0/text", "/delta"),
    ("/v1/messages", "/content/0/text", "/delta/text"),
];

fn server() -> (LlmScript, FaultServer) {
    let script = LlmScript::new();
    let server = FaultServer::llm(&script).unwrap();
    (script, server)
}

fn body(model: &str, streams: bool) -> String {
    json!({"model": model, "messages": [], "stream": streams}).to_string()
}

fn chat(address: SocketAddr, scenario: LlmScenario) -> Reply {
    ask(address, CHAT, &body(&scenario.model(), false))
}

fn stream(address: SocketAddr, scenario: LlmScenario) -> Reply {
    ask(address, CHAT, &body(&scenario.model(), true))
}

fn finish(reply: &Reply) -> String {
    reply.text("/choices/0/finish_reason")
}

#[test]
fn it_answers_in_every_form_whole_and_streamed() {
    let (_, server) = server();
    for (path, whole, streamed) in FORMS {
        let reply = ask(server.address(), path, &body("m", false));
        assert_eq!((reply.status(), reply.is_whole), (200, true), "{path}");
        assert_eq!(reply.json().pointer(whole), Some(&json!(CLOUD_TEXT)), "{path}");
        assert_eq!(reply.json()["model"], "m", "{path}");
        let reply = ask(server.address(), path, &body("m", true));
        assert!(reply.head.contains("Content-Type: text/event-stream"), "{path}");
        assert!(reply.is_whole && reply.error.is_none(), "{path}");
        assert_eq!(reply.text(streamed), CLOUD_TEXT, "{path}");
    }
    let reply = ask(server.address(), CHAT, &body("m", true));
    assert_eq!(
        (finish(&reply).as_str(), reply.data().last().unwrap().as_str()),
        ("stop", "[DONE]")
    );
}

#[test]
fn models_are_listed_and_found() {
    let (script, server) = server();
    let list = ask(server.address(), "/v1/models", "").json();
    assert_eq!(list["data"][0]["id"], "cloud-model");
    assert_eq!(ask(server.address(), "/v1/models/m", "").json()["id"], "m");
    assert_eq!(ask(server.address(), "/v1/elsewhere", "").status(), 404);
    script.play(LlmScenario::NoSuchModel);
    assert_eq!(ask(server.address(), "/v1/models/m", "").status(), 404);
}

#[test]
fn embeddings_are_numbers_or_base64() {
    let (_, server) = server();
    let embed = |body: Value| ask(server.address(), "/v1/embeddings", &body.to_string()).json();
    let floats = embed(json!({"input": ["a", "b"]}));
    assert_eq!(floats["data"].as_array().unwrap().len(), 2);
    assert_eq!(floats["data"][1]["embedding"], json!([0.25, -0.5, 0.75, 1.5]));
    let base64 = embed(json!({"input": [1, 2, 3], "encoding_format": "base64"}));
    assert_eq!(base64["data"].as_array().unwrap().len(), 1);
    assert_eq!(base64["data"][0]["embedding"], "AACAPgAAAL8AAEA/AADAPw==");
}

#[test]
fn usage_is_told_when_asked_for_or_in_its_scenario() {
    let (_, server) = server();
    let asked = json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}});
    let told = ask(server.address(), CHAT, &asked.to_string());
    let unasked = stream(server.address(), LlmScenario::UsageLast);
    for reply in [told, unasked] {
        let last = reply.events().pop().unwrap();
        assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&json!([]), &json!(16)));
    }
    let silent = stream(server.address(), LlmScenario::Healthy);
    assert!(silent.events().iter().all(|event| event.get("usage").is_none()));
}

#[test]
fn errors_are_those_of_the_provider() {
    let (script, server) = server();
    let cases = [
        (LlmScenario::ServerError, 500, "", "api_error"),
        (LlmScenario::Overloaded, 503, "Retry-After: 1\r", "overloaded_error"),
        (LlmScenario::RateLimit, 429, "", "rate_limit_error"),
        (LlmScenario::RateLimitSeconds, 429, "Retry-After: 1\r", "rate_limit_error"),
        (LlmScenario::RateLimitMillis, 429, "Retry-After-Ms: 100\r", "rate_limit_error"),
        (LlmScenario::BadKey, 401, "invalid_api_key", "authentication_error"),
        (LlmScenario::Forbidden, 403, "", "permission_error"),
        (LlmScenario::BadRequest, 400, "", "invalid_request_error"),
        (LlmScenario::ContextLength, 400, "context_length_exceeded", "invalid_request_error"),
        (LlmScenario::NoSuchModel, 404, "model_not_found", "not_found_error"),
        (LlmScenario::TooLarge, 413, "", "request_too_large"),
    ];
    for (scenario, status, says, anthropic) in cases {
        for streams in [false, true] {
            let reply = ask(server.address(), CHAT, &body(&scenario.model(), streams));
            assert_eq!(reply.status(), status, "{scenario}");
            let all = format!("{}\r\n{}", reply.head, reply.json());
            assert!(all.contains(says), "{scenario}: {all}");
            assert!(reply.json()["error"]["message"].is_string(), "{scenario}");
        }
        script.play(scenario);
        let reply = ask(server.address(), "/v1/messages", &body("m", true));
        assert_eq!(reply.json()["error"]["type"], anthropic, "{scenario}");
    }
}

#[test]
fn what_is_no_answer_of_a_model_is_told_apart() {
    let (_, server) = server();
    let address = server.address();
    let page = chat(address, LlmScenario::BadGateway);
    assert!(page.status() == 502 && page.body.starts_with(b"<html>"));
    let portal = chat(address, LlmScenario::Portal);
    assert!(portal.status() == 200 && portal.head.contains("Content-Type: text/html"));
    let empty = stream(address, LlmScenario::EmptyBody);
    assert_eq!((empty.status(), empty.body.len(), empty.is_whole), (200, 0, true));
    let reset = chat(address, LlmScenario::ResetAtOnce);
    assert_eq!((reset.status(), reset.error), (0, Some(ErrorKind::ConnectionReset)));
    let closed = chat(address, LlmScenario::HangUpAtOnce);
    assert_eq!((closed.status(), closed.error), (0, None));
}

#[test]
fn streams_break_after_four_tokens() {
    let (_, server) = server();
    // What ends the stream, whether the body then has its end, and what was said.
    let reset = Some(ErrorKind::ConnectionReset);
    let cases = [
        (LlmScenario::CutAt4, reset, false, "Cloud model"),
        (LlmScenario::HangUpAt4, None, false, "Cloud model"),
        (LlmScenario::ErrorAt4, None, true, "Cloud model"),
        (LlmScenario::EndsAt4, None, true, "Cloud model"),
        (LlmScenario::ErrorAfterRole, None, true, ""),
    ];
    for (scenario, error, is_whole, text) in cases {
        let reply = stream(server.address(), scenario);
        assert_eq!((reply.error, reply.is_whole), (error, is_whole), "{scenario}");
        assert_eq!(reply.text(DELTA), text, "{scenario}");
        assert_eq!(finish(&reply), "", "{scenario}");
        assert!(!reply.data().contains(&"[DONE]".to_owned()), "{scenario}");
        let last = reply.events().pop().unwrap();
        let is_error = matches!(scenario, LlmScenario::ErrorAt4 | LlmScenario::ErrorAfterRole);
        assert_eq!(last.get("error").is_some(), is_error, "{scenario}");
    }
}

#[test]
fn streams_break_inside_lines_and_characters() {
    let (_, server) = server();
    let character = stream(server.address(), LlmScenario::CutInCharacter);
    let broken = std::str::from_utf8(&character.body).unwrap_err();
    assert!(broken.error_len().is_none() && character.is_whole);
    let line = stream(server.address(), LlmScenario::CutInLine);
    assert_eq!((line.error, line.is_whole), (Some(ErrorKind::ConnectionReset), false));
    assert!(!line.body.ends_with(b"\n"));
    assert_eq!(line.text(DELTA), "Cloud model");
    let malformed = stream(server.address(), LlmScenario::MalformedAt4);
    assert_eq!(malformed.data().len(), malformed.events().len() + 2, "it and [DONE]");
    assert_eq!(malformed.text(DELTA), CLOUD_TEXT);
}

#[test]
fn what_is_odd_is_healthy_all_the_same() {
    let (script, server) = server();
    for scenario in [LlmScenario::Odd, LlmScenario::Crumbs, LlmScenario::Trickle] {
        script.play(scenario);
        for (path, whole, streamed) in FORMS {
            let reply = ask(server.address(), path, &body("m", true));
            assert_eq!(reply.text(streamed), CLOUD_TEXT, "{scenario} {path}");
            assert!(reply.is_whole, "{scenario} {path}");
            let reply = ask(server.address(), path, &body("m", false));
            assert_eq!(reply.json().pointer(whole), Some(&json!(CLOUD_TEXT)), "{scenario} {path}");
        }
    }
    let odd = stream(server.address(), LlmScenario::Odd);
    let wire = String::from_utf8(odd.body.clone()).unwrap();
    for sign in [
        ": keep-alive\n",
        "\r\n\r\n",
        "event: message\n",
        "\nretry: 100\n",
        "\ndata: \"",
        "\"choices\":[]}",
    ] {
        assert!(wire.contains(sign), "{sign:?} in {wire}");
    }
    assert_eq!(finish(&odd), "stop");
    let unfinished = stream(server.address(), LlmScenario::NoDone);
    assert_eq!(
        (finish(&unfinished).as_str(), unfinished.text(DELTA).as_str()),
        ("stop", CLOUD_TEXT)
    );
    assert!(!unfinished.data().contains(&"[DONE]".to_owned()));
}

#[test]
fn bodies_that_are_not_streamed_break_in_the_middle() {
    let (_, server) = server();
    let reset = Some(ErrorKind::ConnectionReset);
    let cases = [
        (LlmScenario::CutAt4, reset, false),
        (LlmScenario::HangUpAt4, None, false),
        (LlmScenario::EndsAt4, None, true),
        (LlmScenario::MalformedAt4, None, true),
        (LlmScenario::CutInCharacter, None, true),
    ];
    for (scenario, error, is_whole) in cases {
        let reply = chat(server.address(), scenario);
        assert_eq!(
            (reply.status(), reply.error, reply.is_whole),
            (200, error, is_whole),
            "{scenario}"
        );
        assert!(serde_json::from_slice::<Value>(&reply.body).is_err(), "{scenario}");
        assert!(!reply.body.is_empty(), "{scenario}");
    }
    let error = chat(server.address(), LlmScenario::ErrorAt4);
    assert!(error.status() == 200 && error.json()["error"].is_object());
}

#[test]
fn tools_are_called_and_thoughts_are_told() {
    let (script, server) = server();
    script.play(LlmScenario::ToolCall);
    let tool = json!({"type": "function", "function": {"name": "dig"}});
    let asked = |streams| json!({"model": "m", "stream": streams, "tools": [tool]}).to_string();
    let whole = ask(server.address(), CHAT, &asked(false)).json();
    let call = &whole["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(call, &json!({"name": "dig", "arguments": "{\"city\": \"Bern\"}"}));
    let streamed = ask(server.address(), CHAT, &asked(true));
    let function = "/choices/0/delta/tool_calls/0/function";
    assert_eq!(streamed.text(&format!("{function}/name")), "dig");
    assert_eq!(streamed.text(&format!("{function}/arguments")), "{\"city\": \"Bern\"}");
    assert_eq!(finish(&streamed), "tool_calls");

    let thought = stream(server.address(), LlmScenario::Reasoning);
    let reasoning = thought.text("/choices/0/delta/reasoning_content");
    assert_eq!(
        (reasoning.as_str(), thought.text(DELTA).as_str()),
        ("The network is up.", CLOUD_TEXT)
    );

    let refusal = stream(server.address(), LlmScenario::Refusal);
    assert_eq!((refusal.text(DELTA).as_str(), finish(&refusal).as_str()), ("", "content_filter"));
}

#[test]
fn a_model_s_name_has_its_way_and_requests_are_noted_with_their_headers() {
    let (script, server) = server();
    script.play(LlmScenario::ServerError);
    assert_eq!(chat(server.address(), LlmScenario::RateLimit).status(), 429);
    assert_eq!(chat(server.address(), LlmScenario::Healthy).status(), 200);
    assert_eq!(ask(server.address(), CHAT, &body("m", false)).status(), 500);
    let mut client = Client::to(server.address());
    let keyed = question(CHAT, &body("m", false)).replacen("Host: h", "Authorization: Bearer k", 1);
    client.send(&keyed);
    hear(&mut client);
    assert_eq!(server.requests()[3].header("authorization"), Some("Bearer k"));
}

#[test]
fn a_slow_answer_waits_and_a_trickle_does_between_tokens() {
    let (script, server) = server();
    script.set_delay(Duration::from_millis(120));
    script.set_gap(Duration::from_millis(10));
    let begun = Instant::now();
    assert_eq!(chat(server.address(), LlmScenario::Slow).status(), 200);
    assert!(begun.elapsed() >= Duration::from_millis(120));
    let begun = Instant::now();
    assert_eq!(stream(server.address(), LlmScenario::Trickle).text(DELTA), CLOUD_TEXT);
    assert!(begun.elapsed() >= Duration::from_millis(70));
}

#[test]
fn what_stalls_says_so_much_and_ends_when_the_client_goes() {
    let (_, server) = server();
    let cases = [
        (LlmScenario::Silent, true, ""),
        (LlmScenario::SilentAfterRole, true, "\"assistant\""),
        (LlmScenario::StallAt4, true, "\"del\""),
        (LlmScenario::SilentAfterRole, false, "Content-Length: "),
        (LlmScenario::StallAt4, false, "chatcmpl-cloud"),
    ];
    for (number, (scenario, streams, says)) in cases.into_iter().enumerate() {
        let mut client = Client::to(server.address());
        client.send(&question(CHAT, &body(&scenario.model(), streams)));
        let mut heard = String::new();
        while !heard.contains(says) {
            let mut buffer = [0; 4096];
            let count = std::io::Read::read(&mut client.0, &mut buffer).unwrap();
            assert!(count > 0, "{scenario}: {heard}");
            heard += std::str::from_utf8(&buffer[..count]).unwrap();
        }
        assert!(client.hears_nothing(), "{scenario}");
        assert_eq!(server.abandoned_requests().len(), number, "{scenario}");
        drop(client);
        wait_for(|| server.abandoned_requests().len() == number + 1);
        let model = format!("\"{}\"", scenario.model());
        assert!(server.abandoned_requests()[number].text().contains(&model), "{scenario}");
    }
    wait_for(|| server.open_connections() == 0);
}

#[test]
fn a_stream_in_full_flow_is_abandoned_too() {
    let (script, server) = server();
    script.set_gap(Duration::from_secs(3600));
    let mut client = Client::to(server.address());
    client.send(&question(CHAT, &body(&LlmScenario::Trickle.model(), true)));
    wait_for(|| server.requests().len() == 1);
    assert!(server.abandoned_requests().is_empty());
    drop(client);
    wait_for(|| server.abandoned_requests().len() == 1);
}
