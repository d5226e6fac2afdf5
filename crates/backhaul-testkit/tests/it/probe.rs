//! Real clients, one call each.

use std::process::Command;

use backhaul_testkit::{
    CLOUD_TEXT, FaultServer, LlmScenario, LlmScript, anthropic_probe, openai_node_probe,
    openai_probe,
};
use serde_json::{Value, json};

/// What came of one form after the other.
fn said(mut probe: Command, base: &str, forms: &str, more: &[&str]) -> Vec<Value> {
    let output = probe.args(["--base-url", base, "--form", forms]).args(more).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{forms}: {error}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let said: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<&str> = said.iter().map(|it| it["form"].as_str().unwrap()).collect();
    assert_eq!(told.join(","), forms);
    said
}

fn server() -> (LlmScript, FaultServer) {
    let script = LlmScript::new();
    let server = FaultServer::llm(&script).unwrap();
    (script, server)
}

/// What both clients of OpenAI say to a healthy cloud and to a broken one.
fn openai(probe: impl Fn() -> Command, broken: &str) {
    let (script, server) = server();
    let base = server.url() + "/v1";
    let texts = "chat,stream,schema,vision,responses,responses-stream,completions";
    for said in said(probe(), &base, texts, &[]) {
        assert_eq!((&said["ok"], &said["text"]), (&json!(true), &json!(CLOUD_TEXT)), "{said}");
        assert_eq!((&said["model"], &said["attempts"]), (&json!("cloud-model"), &json!(1)));
    }
    let rest = said(probe(), &base, "models,model,embeddings", &["--model", "m"]);
    assert_eq!((&rest[0]["model"], &rest[1]["model"]), (&json!(["cloud-model"]), &json!("m")));
    assert_eq!(rest[2]["embedding"], json!([0.25, -0.5, 0.75, 1.5]));

    script.play(LlmScenario::ToolCall);
    for said in said(probe(), &base, "tools,tools-stream", &[]) {
        let call = json!({"name": "look_up", "arguments": "{\"city\": \"Bern\"}"});
        assert_eq!(said["tool_calls"], json!([call]), "{said}");
    }

    let stream = |scenario: LlmScenario| {
        let model = scenario.model();
        said(probe(), &base, "stream", &["--model", &model, "--max-retries", "0"]).remove(0)
    };
    assert_eq!(stream(LlmScenario::Odd)["text"], CLOUD_TEXT);
    assert_eq!(stream(LlmScenario::Crumbs)["text"], CLOUD_TEXT);
    // A stream that ends without a finish is no error to the client.
    let ended = stream(LlmScenario::EndsAt4);
    assert_eq!((&ended["ok"], &ended["finish_reason"]), (&json!(true), &Value::Null));
    let cut = stream(LlmScenario::CutAt4);
    assert_eq!((&cut["text"], &cut["error"]["class"]), (&json!("Cloud model"), &json!(broken)));
    let error = stream(LlmScenario::BadKey)["error"].clone();
    assert_eq!(
        (&error["status"], &error["body"]["code"]),
        (&json!(401), &json!("invalid_api_key"))
    );

    server.take_requests();
    script.play(LlmScenario::RateLimitMillis);
    let refused = &said(probe(), &base, "chat", &["--api-key", "k"])[0];
    assert_eq!((&refused["ok"], &refused["attempts"]), (&json!(false), &json!(3)));
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|it| it.header("authorization") == Some("Bearer k")));

    let left = ["--model", &LlmScenario::Trickle.model(), "--max-chunks", "2"];
    assert_eq!(said(probe(), &base, "stream", &left)[0]["text"], "Clo");
    crate::client::wait_for(|| server.abandoned_requests().len() == 1);
}

#[test]
fn openai_for_python_is_asked_in_every_form() {
    openai(|| openai_probe().unwrap(), "APIConnectionError");
}

#[test]
fn openai_for_node_is_asked_in_every_form() {
    openai(|| openai_node_probe().unwrap(), "TypeError");
}

#[test]
fn anthropic_for_python_is_asked_in_every_form() {
    let (script, server) = server();
    let said = |forms, more: &[&str]| said(anthropic_probe().unwrap(), &server.url(), forms, more);
    let more = ["--header", "x-backhaul-source=p", "--api-key", "k"];
    for said in said("messages,messages-stream,tools,vision", &more) {
        assert_eq!((&said["ok"], &said["text"]), (&json!(true), &json!(CLOUD_TEXT)), "{said}");
        assert_eq!(said["finish_reason"], "end_turn", "{said}");
    }
    let request = &server.requests()[0];
    assert_eq!(request.header("authorization"), Some("Bearer k"));
    assert_eq!(request.header("x-backhaul-source"), Some("p"));
    script.play(LlmScenario::ErrorAt4);
    let error = &said("messages-stream", &[])[0];
    assert_eq!((&error["ok"], &error["text"]), (&json!(false), &json!("Cloud model")));
}
