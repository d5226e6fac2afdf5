//! Every form of call of every real client, before a primary that fails in every way.
//!
//! Each call has a gateway of its own, for which the failure is new. The ordinary run plays
//! what the others are kinds of; with `BACKHAUL_MODEL_FAULTS=all` each scenario is played:
//!
//! ```text
//! BACKHAUL_MODEL_FAULTS=all ./test -p backhaul models_faults
//! ```

use std::io;
use std::path::Path;
use std::process::Command;

use backhaul_testkit::{
    BlackHole, CLOUD_TEXT, FaultServer, LOCAL_TEXT, LlmScenario, LlmScript, anthropic_probe,
    openai_node_probe, openai_probe,
};
use serde_json::Value;
use tempfile::tempdir;

use crate::models::{calls, llama, patient_gateway, source, text};
use crate::support::Hub;

/// A real client, with the forms of its calls.
struct Client {
    name: &'static str,
    probe: fn() -> io::Result<Command>,
    /// What its base URL ends in.
    base: &'static str,
    forms: &'static str,
}

const OPENAI_FORMS: &str = "chat,stream,tools,tools-stream,schema,vision,responses,\
    responses-stream,completions,completions-stream,embeddings,models,model";

const CLIENTS: [Client; 3] = [
    Client { name: "openai (Python)", probe: openai_probe, base: "/v1", forms: OPENAI_FORMS },
    Client { name: "openai (Node)", probe: openai_node_probe, base: "/v1", forms: OPENAI_FORMS },
    Client {
        name: "anthropic (Python)",
        probe: anthropic_probe,
        base: "",
        forms: "messages,messages-stream,tools,vision",
    },
];

/// What a caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Cloud,
    Local,
    /// The cloud's model began, and then the client raised an error.
    Cut,
    /// The status of an error.
    Error(u64),
}

/// What is told of an answer as a whole, and of one in pieces.
fn expected(scenario: LlmScenario) -> [Told; 2] {
    match scenario {
        LlmScenario::Healthy
        | LlmScenario::Slow
        | LlmScenario::Odd
        | LlmScenario::Crumbs
        | LlmScenario::UsageLast
        | LlmScenario::Trickle => [Told::Cloud; 2],
        LlmScenario::BadRequest | LlmScenario::ContextLength => [Told::Error(400); 2],
        LlmScenario::NoSuchModel => [Told::Error(404); 2],
        LlmScenario::TooLarge => [Told::Error(413); 2],
        LlmScenario::CutAt4
        | LlmScenario::HangUpAt4
        | LlmScenario::StallAt4
        | LlmScenario::MalformedAt4
        | LlmScenario::ErrorAt4
        | LlmScenario::EndsAt4
        | LlmScenario::CutInCharacter
        | LlmScenario::CutInLine => [Told::Local, Told::Cut],
        _ => [Told::Local; 2],
    }
}

/// Those of which a form has a meaning of its own, in tests of their own.
const OF_ONE_FORM: [LlmScenario; 4] =
    [LlmScenario::Refusal, LlmScenario::ToolCall, LlmScenario::Reasoning, LlmScenario::NoDone];

/// An error where the client takes half an answer for one that ended.
fn told(call: &Value) -> Result<Told, &'static str> {
    if call["ok"] == true {
        return Ok(if source(call) == "fallback" { Told::Local } else { Told::Cloud });
    }
    // What a client for responses calls one that did not end.
    let is_open = matches!(call["finish_reason"].as_str(), None | Some("in_progress"));
    match text(call) {
        "" => Ok(Told::Error(call["error"]["status"].as_u64().unwrap_or(0))),
        begun if is_open && CLOUD_TEXT.starts_with(begun) => Ok(Told::Cut),
        _ => Err("a stream that did not end has a reason for its end, or another text"),
    }
}

/// What is wrong with a call.
fn fault(call: &Value, whole: Told, streamed: Told) -> Option<String> {
    let form = call["form"].as_str().unwrap();
    let expected = match form {
        _ if form.ends_with("stream") => streamed,
        // Vectors of two models cannot be compared.
        "embeddings" if whole == Told::Local => Told::Error(503),
        _ => whole,
    };
    let text_of = match (expected, form) {
        // A schema makes the local model say something else, and lists have no text.
        (_, "schema" | "embeddings" | "models" | "model") => None,
        (Told::Cloud, _) => Some(CLOUD_TEXT),
        (Told::Local, _) => Some(LOCAL_TEXT),
        (Told::Cut | Told::Error(_), _) => None,
    };
    let found = told(call);
    let is_right = found == Ok(expected)
        && text_of.is_none_or(|expected| text(call) == expected)
        // A client that is told what there is to be told does not ask again.
        && call["attempts"] == 1;
    (!is_right).then(|| format!("expected {expected:?}, found {found:?}: {call}"))
}

/// Each form of a client, each before a gateway of its own.
fn each_form(
    dir: &Path,
    client: &Client,
    servers: (&str, &str),
    model: &str,
    seconds: u64,
) -> Vec<Value> {
    let hub = |(number, _): (usize, &str)| {
        patient_gateway(&dir.join(number.to_string()), servers.0, servers.1, seconds)
    };
    let hubs: Vec<Hub> = client.forms.split(',').enumerate().map(hub).collect();
    let url = |hub: &Hub| format!("http://{}{}", hub.address, client.base);
    let urls: Vec<String> = hubs.iter().map(url).collect();
    calls(&mut (client.probe)().unwrap(), &urls.join(","), client.forms, model)
}

fn play(scenarios: &[LlmScenario]) {
    let llama = llama();
    let script = LlmScript::new();
    let cloud = FaultServer::llm(&script).unwrap();
    let mut faults = Vec::new();
    for scenario in scenarios {
        script.play(*scenario);
        let [whole, streamed] = expected(*scenario);
        // Where nothing comes, nobody need wait for long; where something comes, a busy
        // machine may take long.
        let seconds = match scenario {
            LlmScenario::Silent | LlmScenario::SilentAfterRole | LlmScenario::StallAt4 => 1,
            _ => 10,
        };
        for client in &CLIENTS {
            let dir = tempdir().unwrap();
            let servers = (cloud.url(), llama.url());
            let told =
                each_form(dir.path(), client, (&servers.0, &servers.1), "cloud-model", seconds);
            println!("{scenario}: {} forms of {}", told.len(), client.name);
            faults.extend(told.iter().filter_map(|call| {
                let fault = fault(call, whole, streamed)?;
                Some(format!("{scenario}, {}: {fault}", client.name))
            }));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Each scenario that is asked for by variable, or those that the others are kinds of.
fn wanted(kinds: &[LlmScenario], all: impl Fn(&LlmScenario) -> bool) -> Vec<LlmScenario> {
    match std::env::var("BACKHAUL_MODEL_FAULTS").as_deref() {
        Ok("all") => {
            let mine = LlmScenario::ALL.iter().filter(|it| all(it) && !OF_ONE_FORM.contains(it));
            mine.copied().collect()
        }
        Ok(other) => panic!("BACKHAUL_MODEL_FAULTS is {other:?}: expected all, or nothing"),
        Err(_) => kinds.to_vec(),
    }
}

#[test]
fn every_form_is_answered_by_a_healthy_primary_and_by_a_slow_one() {
    let is_healthy = |it: &LlmScenario| expected(*it) == [Told::Cloud; 2];
    play(&wanted(&[LlmScenario::Slow, LlmScenario::Odd], is_healthy));
}

#[test]
fn every_form_is_answered_where_the_primary_does_not_answer() {
    let is_mute = |it: &LlmScenario| it.number() < 10 && expected(*it) == [Told::Local; 2];
    play(&wanted(&[LlmScenario::Silent, LlmScenario::ResetAtOnce, LlmScenario::Portal], is_mute));
}

#[test]
fn every_form_is_answered_where_the_primary_answers_with_an_error() {
    let says_so = |it: &LlmScenario| it.number() >= 10 && expected(*it)[0] == expected(*it)[1];
    play(&wanted(
        &[LlmScenario::ServerError, LlmScenario::Overloaded, LlmScenario::BadRequest],
        says_so,
    ));
}

#[test]
fn no_form_ends_well_where_the_primary_stops_in_the_middle() {
    let is_cut = |it: &LlmScenario| expected(*it)[1] == Told::Cut;
    play(&wanted(&[LlmScenario::CutAt4, LlmScenario::EndsAt4, LlmScenario::StallAt4], is_cut));
}

#[test]
fn every_form_is_answered_where_the_primary_cannot_be_reached() {
    let (llama, hole) = (llama(), BlackHole::new().unwrap());
    let nobody = "http://127.0.0.1:9".to_owned();
    for primary in [nobody, hole.url(), "http://no.such.name.invalid".to_owned()] {
        for client in &CLIENTS {
            let dir = tempdir().unwrap();
            let told = each_form(dir.path(), client, (&primary, &llama.url()), "cloud-model", 1);
            let fault = |call| fault(call, Told::Local, Told::Local);
            let faults: Vec<String> = told.iter().filter_map(fault).collect();
            assert!(faults.is_empty(), "{primary}, {}: {}", client.name, faults.join("\n"));
        }
    }
}

/// The negative control of the others: what they find right is not what clients make of such a
/// primary by themselves.
#[test]
fn without_a_gateway_each_of_these_faults_is_found() {
    let script = LlmScript::new();
    let cloud = FaultServer::llm(&script).unwrap();
    for scenario in [LlmScenario::ServerError, LlmScenario::EndsAt4] {
        script.play(scenario);
        let [whole, streamed] = expected(scenario);
        for client in &CLIENTS {
            let (url, forms) = (format!("{}{}", cloud.url(), client.base), client.forms);
            let mut probe = (client.probe)().unwrap();
            probe.args(["--max-retries", "0"]);
            let told = calls(&mut probe, &url, forms, "cloud-model");
            let found = told.iter().filter(|call| fault(call, whole, streamed).is_some()).count();
            // One that ends too early fools all streams; those of whole answers fail.
            assert!(found > told.len() / 4, "{scenario}, {}: {found}", client.name);
            if scenario != LlmScenario::EndsAt4 {
                assert_eq!(found, told.len(), "{scenario}, {}", client.name);
            }
        }
    }
}
