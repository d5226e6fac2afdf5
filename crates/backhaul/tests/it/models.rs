//! Real clients of models ask through a gateway, whatever the primary does.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use backhaul_testkit::{
    BlackHole, CLOUD_REQUEST_ID, CLOUD_TEXT, FaultServer, LOCAL_TEXT, LlamaOptions, LlamaServer,
    LlmScenario, LlmScript, TinyModel, anthropic_probe, openai_node_probe, openai_probe,
};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Hub, backhaul, command, header, stored};

/// A key that is to be seen at the primary, and nowhere else.
const KEY: &str = "sk-of-the-client-0123456789";

pub(crate) fn llama() -> LlamaServer {
    LlamaServer::start(&TinyModel::chain(), LlamaOptions::default()).unwrap()
}

/// A gateway before two servers.
fn gateway(dir: &Path, primary: &str, fallback: &str) -> Hub {
    patient_gateway(dir, primary, fallback, 3)
}

/// One that waits so many seconds for the primary.
pub(crate) fn patient_gateway(dir: &Path, primary: &str, fallback: &str, seconds: u64) -> Hub {
    let mut serve = command(&["serve", "--llm-primary", &format!("{primary}/v1")]);
    serve.args(["--llm-fallback", &format!("{fallback}/v1")]);
    serve.env("BACKHAUL_LLM_ANTHROPIC_URL", primary);
    serve.env("BACKHAUL_LLM_TIMEOUT_SECONDS", seconds.to_string());
    serve.env("BACKHAUL_LLM_ANSWER_TIMEOUT_SECONDS", seconds.to_string());
    serve.env("BACKHAUL_LLM_IDLE_TIMEOUT_SECONDS", seconds.to_string());
    Hub::try_start(&mut serve, dir)
}

/// What a client gets of some forms, one after the other.
pub(crate) fn calls(probe: &mut Command, base: &str, forms: &str, model: &str) -> Vec<Value> {
    let probe = probe.args(["--base-url", base, "--form", forms, "--model", model]);
    let output = probe.args(["--api-key", KEY]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let calls: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        calls.len(),
        forms.split(',').count(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    calls
}

pub(crate) fn text(call: &Value) -> &str {
    call["text"].as_str().unwrap()
}

pub(crate) fn source(call: &Value) -> &str {
    call["headers"]["x-backhaul-source"].as_str().unwrap_or("")
}

const FORMS: &str = "chat,stream,responses,responses-stream,completions";
const MESSAGES: &str = "messages,messages-stream";

/// Every client, every form that says something.
fn each_client(hub: &Hub, model: &str, check: impl Fn(&Value)) {
    let (openai, anthropic) =
        (format!("http://{}/v1", hub.address), format!("http://{}", hub.address));
    let of = |mut probe: Command, base: &str, forms| calls(&mut probe, base, forms, model);
    of(openai_probe().unwrap(), &openai, FORMS).iter().for_each(&check);
    of(openai_node_probe().unwrap(), &openai, FORMS).iter().for_each(&check);
    of(anthropic_probe().unwrap(), &anthropic, MESSAGES).iter().for_each(&check);
}

#[test]
fn every_client_is_answered_by_the_cloud_and_during_an_outage_by_the_local_model() {
    let dir = tempdir().unwrap();
    let (llama, script) = (llama(), LlmScript::new());
    let cloud = FaultServer::llm(&script).unwrap();
    let hub = gateway(dir.path(), &cloud.url(), &llama.url());
    each_client(&hub, "cloud-model", |call| {
        assert_eq!((text(call), source(call)), (CLOUD_TEXT, "primary"), "{call}");
        assert_eq!((&call["ok"], &call["attempts"]), (&json!(true), &json!(1)), "{call}");
    });
    for request in cloud.take_requests() {
        let key = request.header("authorization").or(request.header("x-api-key")).unwrap_or("");
        assert!(key.ends_with(KEY), "{key}");
    }
    script.play(LlmScenario::ResetAtOnce);
    each_client(&hub, "cloud-model", |call| {
        assert_eq!((text(call), source(call)), (LOCAL_TEXT, "fallback"), "{call}");
        assert_eq!((&call["ok"], &call["attempts"]), (&json!(true), &json!(1)), "{call}");
        // Who answered is in the body as well, and the model is the one that did.
        assert_ne!(call["model"], "cloud-model", "{call}");
    });
}

#[test]
fn what_goes_wrong_is_told_once_and_never_made_up() {
    let dir = tempdir().unwrap();
    let llama = llama();
    let cloud = FaultServer::llm(&LlmScript::new()).unwrap();
    let ask = |scenario: LlmScenario, forms: &str| {
        // A new one for each: what one scenario opens would stand in the way of the next.
        let hub = gateway(dir.path(), &cloud.url(), &llama.url());
        let base = format!("http://{}/v1", hub.address);
        calls(&mut openai_probe().unwrap(), &base, forms, &scenario.model())
    };
    for call in ask(LlmScenario::BadRequest, "chat,stream") {
        assert_eq!(
            (&call["error"]["status"], &call["attempts"]),
            (&json!(400), &json!(1)),
            "{call}"
        );
    }
    for call in ask(LlmScenario::ContextLength, "chat") {
        assert_eq!(call["error"]["body"]["code"], "context_length_exceeded", "{call}");
    }
    for scenario in [LlmScenario::EndsAt4, LlmScenario::CutAt4, LlmScenario::ErrorAt4] {
        for call in ask(scenario, "stream,responses-stream,chat") {
            if source(&call) == "fallback" {
                assert_eq!(text(&call), LOCAL_TEXT, "{scenario}: {call}");
                continue;
            }
            assert_eq!(
                (&call["ok"], text(&call)),
                (&json!(false), "Cloud model"),
                "{scenario}: {call}"
            );
            // What a client for responses calls one that did not end.
            let is_none = matches!(call["finish_reason"].as_str(), None | Some("in_progress"));
            assert!(is_none, "{scenario}: {call}");
        }
    }
    for call in ask(LlmScenario::Refusal, "chat,stream") {
        assert_eq!(
            (source(&call), &call["finish_reason"]),
            ("primary", &json!("content_filter")),
            "{call}"
        );
    }
}

#[test]
fn an_unreachable_cloud_costs_the_first_call_alone() {
    let dir = tempdir().unwrap();
    let (llama, hole) = (llama(), BlackHole::new().unwrap());
    let hub = gateway(dir.path(), &hole.url(), &llama.url());
    let base = format!("http://{}/v1", hub.address);
    let forms = ["stream"; 6].join(",");
    let answered = calls(&mut openai_probe().unwrap(), &base, &forms, "cloud-model");
    let attempts: Vec<&Value> =
        answered.iter().map(|call| &call["backhaul"]["attempts"][0]["outcome"]).collect();
    assert_eq!(attempts[0], "failed", "{}", answered[0]);
    assert!(attempts[1..].iter().all(|outcome| **outcome == "skipped"), "{attempts:?}");
    assert!(answered.iter().all(|call| text(call) == LOCAL_TEXT));
}

#[test]
fn embeddings_come_in_the_form_that_was_asked_for_and_from_the_primary_alone() {
    let dir = tempdir().unwrap();
    let (llama, script) = (llama(), LlmScript::new());
    let cloud = FaultServer::llm(&script).unwrap();
    let hub = gateway(dir.path(), &cloud.url(), &llama.url());
    let base = format!("http://{}/v1", hub.address);
    for probe in [openai_probe, openai_node_probe] {
        let asked = calls(&mut probe().unwrap(), &base, "embeddings,models,model", "cloud-model");
        assert!(asked[0]["embedding"].as_array().is_some_and(|it| !it.is_empty()), "{}", asked[0]);
        assert!(asked.iter().all(|call| call["ok"] == true), "{asked:?}");
    }
    script.play(LlmScenario::ServerError);
    let asked = calls(&mut openai_probe().unwrap(), &base, "embeddings,models", "cloud-model");
    assert_eq!(
        (&asked[0]["ok"], &asked[0]["attempts"]),
        (&json!(false), &json!(1)),
        "{}",
        asked[0]
    );
    let said = asked[0]["error"]["message"].as_str().unwrap();
    assert!(said.contains("vectors of two models"), "{said}");
    assert_eq!((source(&asked[1]), &asked[1]["ok"]), ("fallback", &json!(true)), "{}", asked[1]);
}

#[test]
fn calls_are_kept_as_run_records_and_shown_by_status() {
    let dir = tempdir().unwrap();
    let llama = llama();
    let cloud = FaultServer::llm(&LlmScript::new()).unwrap();
    let hub = gateway(dir.path(), &cloud.url(), &llama.url());
    let base = format!("http://{}/v1", hub.address);
    calls(&mut openai_probe().unwrap(), &base, FORMS, "cloud-model");
    calls(&mut openai_probe().unwrap(), &base, "stream", &LlmScenario::ServerError.model());
    let (code, stdout, _) = backhaul(&["status", "--json"], dir.path());
    let status: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, 0);
    assert_eq!(status["models"][0]["answered"], 5, "{status}");
    assert_eq!(status["models"][1]["answered"], 1, "{status}");
    let (_, shown, _) = backhaul(&["status"], dir.path());
    assert!(shown.contains("(primary): calls answered 5"), "{shown}");
    drop(hub);
    let (_, listed, _) = backhaul(&["queue", "list", "--json"], dir.path());
    let records: Vec<Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 6, "{listed}");
    let mut said = Vec::new();
    for record in &records {
        let id = record["id"].as_str().unwrap();
        let (_, shown, _) =
            backhaul(&["queue", "show", id, "--spool", "runs", "--json"], dir.path());
        assert!(!shown.contains(KEY), "{shown}");
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let call = &shown["body"]["llm_calls"][0];
        assert!(call["input_messages"][0]["content"].to_string().contains("network"), "{shown}");
        said.push(call["output"].as_str().unwrap().to_owned());
    }
    said.sort();
    let cloud = [CLOUD_TEXT; 5].map(ToOwned::to_owned);
    assert_eq!(said, [cloud.as_slice(), &[LOCAL_TEXT.to_owned()]].concat());
}

#[test]
fn a_conversation_that_is_too_long_for_the_local_model_is_answered_and_what_was_left_out_is_said() {
    let dir = tempdir().unwrap();
    let options = LlamaOptions { context: 256, ..LlamaOptions::default() };
    let llama = LlamaServer::start(&TinyModel::chain().with_context(256), options).unwrap();
    let hub = gateway(dir.path(), "http://127.0.0.1:9", &llama.url());
    let ask = |messages: Vec<Value>| {
        let request = json!({ "model": "cloud-model", "messages": messages, "temperature": 0 });
        let headers = [header("Content-Type", "application/json")];
        hub.request("POST", "/v1/chat/completions", &headers, request.to_string().as_bytes())
    };
    let said = |role: &str, text: &str| json!({ "role": role, "content": text });
    let turn = [said("user", "Is it warm?"), said("assistant", "It is.")];
    let answer = ask([vec![turn; 50].concat(), vec![said("user", "And outside?")]].concat());
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body = answer.json();
    assert_eq!(body["choices"][0]["message"]["content"], LOCAL_TEXT);
    let change = body["backhaul"]["changes"][0].as_str().unwrap();
    assert!(change.ends_with(" oldest turns left out"), "{body}");
    let trimmed = &body["backhaul"]["trimmed_tokens"];
    assert!(trimmed.as_u64().unwrap() > 500, "{body}");
    let told = format!("x-backhaul-trimmed-tokens: {trimmed}\r\n");
    assert!(answer.head.contains(&told), "{}", answer.head);
    assert!(body["usage"]["prompt_tokens"].as_u64().unwrap() <= 192, "{body}");
    let too_long = ask(vec![said("user", &"hello ".repeat(200))]);
    assert_eq!(too_long.json()["error"]["code"], "context_length_exceeded", "{}", too_long.body);
    assert_eq!(too_long.status, 400);
}

#[test]
fn run_gives_a_program_its_gateway_and_takes_over_the_server_that_it_was_told_of() {
    let dir = tempdir().unwrap();
    let (llama, script) = (llama(), LlmScript::new());
    let cloud = FaultServer::llm(&script).unwrap();
    let probe = openai_probe().unwrap();
    let mut run = command(&["run", "--data-dir"]);
    run.arg(dir.path()).args(["--llm-fallback", &format!("{}/v1", llama.url()), "--"]);
    run.arg(probe.get_program()).args(probe.get_args()).args(["--form", "chat", "--api-key", KEY]);
    run.env("OPENAI_BASE_URL", format!("{}/v1", cloud.url()));
    run.env("OPENAI_API_KEY", KEY).env("HOME", dir.path());
    let mut ask = || {
        let output = run.output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    };
    assert_eq!(text(&ask()), CLOUD_TEXT);
    script.play(LlmScenario::Overloaded);
    let answered = ask();
    assert_eq!((text(&answered), source(&answered)), (LOCAL_TEXT, "fallback"), "{answered}");
}

/// How many of these calls waited for the primary, and in vain.
fn slow(calls: &[Value]) -> usize {
    let tried = |call: &&Value| call["backhaul"]["attempts"][0]["outcome"] == "failed";
    calls.iter().filter(tried).count()
}

#[test]
fn an_outage_costs_one_slow_call_and_the_cloud_is_asked_again_after_it() {
    let dir = tempdir().unwrap();
    let (llama, script) = (llama(), LlmScript::new());
    let cloud = FaultServer::llm(&script).unwrap();
    let hub = gateway(dir.path(), &cloud.url(), &llama.url());
    let base = format!("http://{}/v1", hub.address);
    script.play(LlmScenario::Silent);
    let forms = ["stream"; 15].join(",");
    let answered = calls(&mut openai_probe().unwrap(), &base, &forms, "cloud-model");
    assert_eq!(slow(&answered), 1, "{answered:?}");
    script.play(LlmScenario::Healthy);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let call = &calls(&mut openai_probe().unwrap(), &base, "chat", "cloud-model")[0];
        if text(call) == CLOUD_TEXT {
            break;
        }
        assert!(Instant::now() < deadline, "{call}");
    }
}

#[test]
fn a_kept_answer_is_given_again_with_its_age_where_no_model_answers() {
    let dir = tempdir().unwrap();
    let script = LlmScript::new();
    let cloud = FaultServer::llm(&script).unwrap();
    let mut serve = command(&["serve", "--llm-primary", &format!("{}/v1", cloud.url())]);
    let hub = Hub::try_start(serve.env("BACKHAUL_LLM_CACHE", "1MB"), dir.path());
    let base = format!("http://{}/v1", hub.address);
    let ask = |forms: &str| calls(&mut openai_probe().unwrap(), &base, forms, "cloud-model");
    assert_eq!(source(&ask("chat")[0]), "primary");
    for file in std::fs::read_dir(dir.path().join("llm-cache")).unwrap() {
        let kept = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(kept.contains(CLOUD_TEXT) && !kept.contains(KEY), "{kept}");
    }
    script.play(LlmScenario::ResetAtOnce);
    for call in ask("chat,stream") {
        assert_eq!((text(&call), source(&call)), (CLOUD_TEXT, "cache"), "{call}");
        assert_eq!(call["finish_reason"], "stop", "{call}");
        let age = call["headers"]["x-backhaul-age"].as_str().unwrap();
        assert!(age.parse::<u64>().unwrap() < 60, "{call}");
    }
    // Nothing is kept of these.
    assert_eq!(ask("embeddings")[0]["ok"], false);

    script.play(LlmScenario::Healthy);
    let ask_as = |key: &str| {
        let messages = json!([{ "role": "user", "content": "Whose is it?" }]);
        let body = json!({ "model": "cloud-model", "messages": messages }).to_string();
        let key = [header("Authorization", format!("Bearer {key}"))];
        hub.request("POST", "/v1/chat/completions", &key, body.as_bytes())
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while ask_as("sk-mine").status != 200 {
        assert!(Instant::now() < deadline, "the cloud is not asked again");
        std::thread::sleep(Duration::from_millis(50));
    }
    script.play(LlmScenario::ResetAtOnce);
    assert_eq!(ask_as("sk-yours").status, 503, "another key's answer is not for this one");
    let again = ask_as("sk-mine").json();
    let said = &again["backhaul"];
    assert_eq!((&said["source"], &said["reason"]), (&json!("cache"), &json!("unreachable")));
    assert!(said["age_seconds"].as_u64().unwrap() < 60, "{again}");
}

/// The negative control: gateways that know nothing of each other's calls.
#[test]
fn where_nothing_is_remembered_each_call_of_an_outage_is_slow() {
    let dir = tempdir().unwrap();
    let (llama, script) = (llama(), LlmScript::new());
    let cloud = FaultServer::llm(&script).unwrap();
    script.play(LlmScenario::Silent);
    let answered: Vec<Value> = (0..3)
        .flat_map(|_| {
            let hub = patient_gateway(dir.path(), &cloud.url(), &llama.url(), 1);
            let base = format!("http://{}/v1", hub.address);
            calls(&mut openai_probe().unwrap(), &base, "stream", "cloud-model")
        })
        .collect();
    assert_eq!(slow(&answered), 3, "{answered:?}");
}

/// Everything that a gateway has written in its folder, and all that it shows, as text.
fn everything(dir: &Path, hub: Hub) -> String {
    let mut all = hub.get("/metrics").body + &hub.get("/v1/models").body;
    for show in [&["status"][..], &["status", "--json"], &["config", "show"], &["doctor"]] {
        let (_, stdout, stderr) = backhaul(show, dir);
        all += &(stdout + &stderr);
    }
    all += &hub.said();
    drop(hub);
    all += &files_in(dir);
    // What lies in the files is compressed.
    let (_, listed, _) = backhaul(&["queue", "list", "--json"], dir);
    for record in listed.lines() {
        let record: Value = serde_json::from_str(record).unwrap();
        let id = record["id"].as_str().unwrap();
        all += &backhaul(&["queue", "show", id, "--spool", "runs", "--json"], dir).1;
    }
    all + &listed
}

fn files_in(dir: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        all += &path.to_string_lossy();
        if path.is_dir() {
            all += &files_in(&path);
        } else if let Ok(bytes) = std::fs::read(&path) {
            all += &String::from_utf8_lossy(&bytes);
        }
    }
    all
}

#[test]
fn the_clients_key_is_nowhere_but_at_the_primary() {
    let dir = tempdir().unwrap();
    let script = LlmScript::new();
    let [cloud, local] = [&script, &LlmScript::new()].map(|it| FaultServer::llm(it).unwrap());
    let hub = gateway(dir.path(), &cloud.url(), &local.url());
    // Also where it is refused, or where nobody answers: errors have much to say.
    for scenario in [LlmScenario::Healthy, LlmScenario::BadKey, LlmScenario::ResetAtOnce] {
        script.play(scenario);
        each_client(&hub, "cloud-model", |call| assert_eq!(call["ok"], true, "{call}"));
        let (base, forms) = (format!("http://{}/v1", hub.address), "embeddings,models,model");
        calls(&mut openai_probe().unwrap(), &base, forms, "cloud-model");
    }
    let has_key = |server: &FaultServer| {
        let requests = server.take_requests();
        assert!(!requests.is_empty());
        requests.iter().any(|request| {
            let heads = ["authorization", "x-api-key"].map(|name| request.header(name));
            let body = String::from_utf8_lossy(request.body());
            heads.into_iter().flatten().chain([request.path(), &body]).any(|it| it.contains(KEY))
        })
    };
    assert!(has_key(&cloud));
    assert!(!has_key(&local), "the fallback has the client's key");
    // The negative control: what is said to a model is kept, and so it is found.
    let prompt = "the word to be found";
    let mut probe = openai_probe().unwrap();
    probe.args(["--prompt", prompt]);
    calls(&mut probe, &format!("http://{}/v1", hub.address), "chat", "cloud-model");
    let all = everything(dir.path(), hub);
    assert!(all.contains(prompt));
    assert!(!all.contains(KEY), "the client's key was written or shown");
}

#[test]
fn what_is_secret_is_struck_out_of_what_is_kept_and_a_call_may_ask_to_be_left_out() {
    let dir = tempdir().unwrap();
    let llama = llama();
    let cloud = FaultServer::llm(&LlmScript::new()).unwrap();
    let mut serve = command(&["serve", "--llm-primary", &format!("{}/v1", cloud.url())]);
    serve.env("BACKHAUL_LLM_FALLBACK", format!("{}/v1", llama.url()));
    serve.env("BACKHAUL_LLM_REDACT", r#"["\\b[0-9]{16}\\b", "(?i)cloud"]"#);
    let hub = Hub::try_start(&mut serve, dir.path());
    let base = format!("http://{}/v1", hub.address);
    let ask = |prompt: &str, record: &str, forms: &str| {
        let mut probe = openai_probe().unwrap();
        let header = format!("x-backhaul-record={record}");
        probe.args(["--prompt", prompt, "--header", &header]);
        calls(&mut probe, &base, forms, "cloud-model")
    };
    for call in ask("of card 4111111111111111", "full", "chat,stream,responses,responses-stream") {
        // The caller has it whole.
        assert_eq!(text(&call), CLOUD_TEXT);
    }
    ask("between you and me", "metadata", "chat,stream");
    ask("nobody was here", "off", "chat,stream");
    let refused = &ask("?", "perhaps", "chat")[0]["error"];
    assert_eq!(
        (&refused["status"], &refused["body"]["type"]),
        (&json!(400), &json!("invalid_request_error"))
    );
    let all = everything(dir.path(), hub);
    let count = |text: &str| all.matches(text).count();
    // Six are kept, two of them without a word.
    assert!(count("of card [redacted]") > 0, "{all}");
    assert_eq!(count("of card [redacted]") * 6, count("asked_model") * 4, "{all}");
    assert_eq!(count("of card [redacted]"), count("[redacted] model"), "{all}");
    for secret in ["4111111111111111", CLOUD_TEXT, "between you", "nobody was here"] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
}

#[test]
fn what_the_primary_says_beside_an_answer_reaches_the_caller() {
    let dir = tempdir().unwrap();
    let (script, llama) = (LlmScript::new(), llama());
    let cloud = FaultServer::llm(&script).unwrap();
    let hub = gateway(dir.path(), &cloud.url(), &llama.url());
    let id = format!("x-request-id: {CLOUD_REQUEST_ID}\r\n");
    let ask = |path: &str, stream: bool| {
        let body = json!({
            "model": "cloud-model", "input": "?", "prompt": "?", "max_tokens": 8,
            "stream": stream, "messages": [{ "role": "user", "content": "?" }],
        });
        hub.request("POST", path, &[], body.to_string().as_bytes())
    };
    let paths = ["/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/messages"];
    for scenario in [LlmScenario::Healthy, LlmScenario::BadRequest] {
        script.play(scenario);
        for (path, stream) in paths.into_iter().flat_map(|path| [(path, false), (path, true)]) {
            let reply = ask(path, stream);
            assert!(reply.head.contains(&id), "{scenario} {path} {stream}: {}", reply.head);
        }
        assert!(ask("/v1/embeddings", false).head.contains(&id));
    }
    // Who answers instead has said nothing of the kind.
    script.play(LlmScenario::ServerError);
    assert!(!ask(paths[0], false).head.contains(&id));
}

#[test]
fn a_client_that_does_not_wait_long_is_answered_before_it_gives_up() {
    let (dir, script, llama) = (tempdir().unwrap(), LlmScript::new(), llama());
    let cloud = FaultServer::llm(&script).unwrap();
    script.play(LlmScenario::Silent);
    // The client for Node does not say how long it waits, and so it asks twice.
    for (probe, attempts) in [(openai_probe().unwrap(), 1), (openai_node_probe().unwrap(), 2)] {
        // The gateway would wait a minute for the whole answer of the primary.
        let hub = patient_gateway(dir.path(), &cloud.url(), &llama.url(), 60);
        let (mut probe, base) = (probe, format!("http://{}/v1", hub.address));
        probe.args(["--timeout", "6"]);
        let call = &calls(&mut probe, &base, "chat", "cloud-model")[0];
        assert_eq!((text(call), &call["attempts"]), (LOCAL_TEXT, &json!(attempts)), "{call}");
    }
}

#[test]
fn each_of_many_calls_at_once_is_kept() {
    const CALLERS: usize = 16;
    const CALLS: usize = 100;
    let (dir, local) = (tempdir().unwrap(), FaultServer::llm(&LlmScript::new()).unwrap());
    let hub = gateway(dir.path(), &local.url(), &local.url());
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "?" }] });
    let body = body.to_string();
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                for _ in 0..CALLS {
                    let path = "/v1/chat/completions";
                    assert_eq!(hub.request("POST", path, &[], body.as_bytes()).status, 200);
                }
            });
        }
    });
    let (_, clean) = hub.terminate();
    assert!(clean);
    assert_eq!(stored(dir.path()).len(), CALLERS * CALLS);
}

#[test]
fn a_primary_without_a_fallback_is_asked_as_often_as_its_client_asks() {
    let (dir, script) = (tempdir().unwrap(), LlmScript::new());
    let cloud = FaultServer::llm(&script).unwrap();
    let primary = format!("{}/v1", cloud.url());
    let mut serve = command(&["serve", "--llm-primary", &primary]);
    let hub = Hub::try_start(&mut serve, dir.path());
    let base = format!("http://{}/v1", hub.address);
    script.play(LlmScenario::ResetAtOnce);
    let failed = calls(&mut openai_probe().unwrap(), &base, "chat,chat", "cloud-model");
    assert!(failed.iter().all(|call| call["attempts"] == 3), "{failed:?}");
    assert!(cloud.take_requests().len() >= 6);
    script.play(LlmScenario::Healthy);
    let answered = &calls(&mut openai_probe().unwrap(), &base, "chat", "cloud-model")[0];
    assert_eq!((text(answered), source(answered)), (CLOUD_TEXT, "primary"), "{answered}");
}
