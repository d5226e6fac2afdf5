//! What can be done now, as a gateway tells programs that do with less during an outage.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use backhaul_testkit::{FaultServer, LlamaOptions, LlamaServer, LlmScenario, LlmScript, TinyModel};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Hub, backhaul, command, head, header};

const PATH: &str = "/v1/capabilities";
/// Listeners that a gateway takes.
const MOST_LISTENERS: usize = 64;

fn gateway(dir: &std::path::Path, primary: &FaultServer, fallback: Option<&LlamaServer>) -> Hub {
    let mut serve = command(&["serve", "--llm-primary", &format!("{}/v1", primary.url())]);
    if let Some(fallback) = fallback {
        serve.args(["--llm-fallback", &format!("{}/v1", fallback.url())]);
    }
    Hub::try_start(&mut serve, dir)
}

/// A call that is answered by somebody.
fn ask(hub: &Hub) {
    let body = json!({ "model": "cloud-model", "messages": [{ "role": "user", "content": "Hi" }] });
    let reply = hub.request("POST", "/v1/chat/completions", &[], body.to_string().as_bytes());
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// One who listens to a gateway's events.
struct Listener(BufReader<TcpStream>);

impl Listener {
    fn new(hub: &Hub) -> Self {
        let mut stream = hub.connect();
        let accept = [header("Accept", "text/event-stream")];
        stream.write_all(&head("GET", PATH, &accept, 0)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Whether it was taken.
    fn is_taken(&mut self) -> bool {
        let status = self.line().unwrap();
        assert!(
            ["HTTP/1.1 200 OK", "HTTP/1.1 503 Service Unavailable"].contains(&&*status),
            "{status}"
        );
        status.contains("200")
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let bytes = self.0.read_line(&mut line).unwrap();
        (bytes > 0).then(|| line.trim_end().to_owned())
    }

    fn next(&mut self) -> Value {
        loop {
            let line = self.line().unwrap();
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }

    /// The first event in which something is so.
    fn until(&mut self, is_so: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.next();
            if is_so(&event) {
                return event;
            }
        }
    }
}

fn is_online(event: &Value) -> bool {
    event["online"].as_bool().unwrap()
}

#[test]
fn the_primary_that_is_lost_and_comes_back_is_told_of_at_once() {
    let dir = tempdir().unwrap();
    let llama = LlamaServer::start(&TinyModel::chain(), LlamaOptions::default()).unwrap();
    let script = LlmScript::new();
    let cloud = FaultServer::llm(&script).unwrap();
    let hub = gateway(dir.path(), &cloud, Some(&llama));
    let mut listener = Listener::new(&hub);
    let of_cloud = json!({ "online": true, "capabilities": {
        "model": cloud.address().to_string(), "vision": true, "function_calling": true,
        "json_schema": true, "max_tokens": null,
    } });
    assert_eq!(listener.next(), of_cloud);
    assert_eq!(hub.get(PATH).json(), of_cloud);

    script.play(LlmScenario::ResetAtOnce);
    ask(&hub);
    // What the local server tells of itself may come after that.
    let told = listener.until(|event| event["capabilities"]["max_tokens"] == 4096);
    assert!(!is_online(&told), "{told}");
    assert_eq!(hub.get(PATH).json(), told);
    let told = &told["capabilities"];
    assert_eq!((&told["vision"], &told["json_schema"]), (&json!(false), &json!(true)), "{told}");
    assert_eq!(told["model"], llama.url().trim_start_matches("http://"));

    // Nobody asks anything, and still it is told.
    script.play(LlmScenario::Healthy);
    assert_eq!(listener.until(is_online), of_cloud);
    assert_eq!(hub.get(PATH).json(), of_cloud);
}

#[test]
fn a_primary_that_is_not_there_at_the_start_is_told_of_before_anybody_calls_it() {
    let dir = tempdir().unwrap();
    let script = LlmScript::new();
    script.play(LlmScenario::ResetAtOnce);
    let cloud = FaultServer::llm(&script).unwrap();
    let hub = gateway(dir.path(), &cloud, None);
    assert!(!is_online(&hub.get(PATH).json()));
    let mut listener = Listener::new(&hub);
    assert!(!is_online(&listener.next()));
    script.play(LlmScenario::Healthy);
    assert!(is_online(&listener.next()));
    assert!(is_online(&hub.get(PATH).json()));
}

#[test]
fn only_so_many_listen_and_who_goes_makes_room() {
    let dir = tempdir().unwrap();
    let cloud = FaultServer::llm(&LlmScript::new()).unwrap();
    let hub = gateway(dir.path(), &cloud, None);
    let mut listeners: Vec<_> = (0..MOST_LISTENERS).map(|_| Listener::new(&hub)).collect();
    assert!(listeners.iter_mut().all(Listener::is_taken));
    assert!(!Listener::new(&hub).is_taken());
    assert!(is_online(&hub.get(PATH).json()), "who only asks is answered");
    drop(listeners.pop());
    let deadline = Instant::now() + Duration::from_secs(60);
    while !Listener::new(&hub).is_taken() {
        assert!(Instant::now() < deadline, "nobody has made room");
    }
}

#[test]
fn without_a_fallback_nothing_can_be_done_in_an_outage_that_was_planned() {
    let dir = tempdir().unwrap();
    let cloud = FaultServer::llm(&LlmScript::new()).unwrap();
    let hub = gateway(dir.path(), &cloud, None);
    let mut listener = Listener::new(&hub);
    assert!(is_online(&listener.next()));
    let (code, _, said) = backhaul(&["outage", "on"], dir.path());
    assert_eq!(code, 0, "{said}");
    let nothing = json!({
        "model": null, "vision": false, "function_calling": false, "json_schema": false,
        "max_tokens": 0,
    });
    assert_eq!(listener.next(), json!({ "online": false, "capabilities": nothing }));
    let (code, _, said) = backhaul(&["outage", "off"], dir.path());
    assert_eq!(code, 0, "{said}");
    assert!(is_online(&listener.next()));
}

#[test]
fn who_listens_does_not_keep_a_gateway_from_ending() {
    let dir = tempdir().unwrap();
    let cloud = FaultServer::llm(&LlmScript::new()).unwrap();
    let hub = gateway(dir.path(), &cloud, None);
    let mut listener = Listener::new(&hub);
    listener.next();
    let (_, has_ended_well) = hub.terminate();
    assert!(has_ended_well);
    // The answer is whole, and was not broken off.
    let rest: Vec<String> = std::iter::from_fn(|| listener.line()).collect();
    assert!(rest.iter().any(|line| line == "0"), "{rest:?}");
}

#[test]
fn only_who_shows_the_token_is_told() {
    let dir = tempdir().unwrap();
    let cloud = FaultServer::llm(&LlmScript::new()).unwrap();
    let mut serve = command(&["serve", "--llm-primary", &format!("{}/v1", cloud.url())]);
    let hub = Hub::try_start(serve.env("BACKHAUL_TOKEN", "a-token-of-the-test"), dir.path());
    for accept in ["application/json", "text/event-stream"] {
        let refused = hub.request("GET", PATH, &[header("Accept", accept)], b"");
        assert_eq!(refused.status, 401, "{accept}");
    }
    let token = [header("Authorization", "Bearer a-token-of-the-test")];
    assert_eq!(hub.request("GET", PATH, &token, b"").status, 200);
}
