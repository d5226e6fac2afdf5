//! A gateway whose fallback is a model in its own process.
//!
//! It needs llama.cpp, which takes ten minutes to compile:
//!
//! ```text
//! ./test -p backhaul --features llama-cpp models_in_process
//! ```

use std::path::Path;

use backhaul_testkit::{
    FaultServer, LOCAL_TEXT, LlmScenario, LlmScript, TinyModel, anthropic_probe, openai_node_probe,
    openai_probe,
};
use tempfile::tempdir;

use crate::models::{calls, source, text};
use crate::support::{Hub, backhaul, command};

fn gateway(dir: &Path, primary: &str, model: &Path) -> Hub {
    let mut serve = command(&["serve", "--llm-primary", &format!("{primary}/v1")]);
    serve.arg("--llm-fallback").arg(model).env("BACKHAUL_LLM_ANTHROPIC_URL", primary);
    Hub::try_start(&mut serve, dir)
}

#[test]
fn every_client_is_answered_by_a_model_in_the_process_of_the_gateway() {
    let (dir, script) = (tempdir().unwrap(), LlmScript::new());
    let cloud = FaultServer::llm(&script).unwrap();
    script.play(LlmScenario::ResetAtOnce);
    let hub = gateway(dir.path(), &cloud.url(), &TinyModel::chain().file().unwrap());
    let (openai, anthropic) =
        (format!("http://{}/v1", hub.address), format!("http://{}", hub.address));
    let forms = "chat,stream,responses,responses-stream,completions,completions-stream,vision";
    let python = calls(&mut openai_probe().unwrap(), &openai, forms, "cloud-model");
    let node = calls(&mut openai_node_probe().unwrap(), &openai, forms, "cloud-model");
    let messages = "messages,messages-stream,vision";
    let messages = calls(&mut anthropic_probe().unwrap(), &anthropic, messages, "cloud-model");
    for call in python.iter().chain(&node).chain(&messages) {
        assert_eq!((text(call), source(call)), (LOCAL_TEXT, "fallback"), "{call}");
        assert_eq!(call["ok"], true, "{call}");
    }
    let lists = calls(&mut openai_probe().unwrap(), &openai, "models,model,schema", "cloud-model");
    assert!(lists.iter().all(|call| call["ok"] == true), "{lists:?}");
    let answer: serde_json::Value = serde_json::from_str(text(&lists[2])).unwrap();
    assert!(answer["ok"].is_boolean(), "{answer}");
}

#[test]
fn a_model_that_cannot_be_opened_is_said_at_the_start_and_by_the_doctor() {
    let dir = tempdir().unwrap();
    let whole = std::fs::read(TinyModel::chain().file().unwrap()).unwrap();
    let cut = dir.path().join("cut.gguf");
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    for (model, expected) in [(cut, "cut"), (dir.path().join("none.gguf"), "not there")] {
        let fallback = ["--llm-fallback", model.to_str().unwrap()];
        let serve = [&["serve", "--listen", "127.0.0.1:0"][..], &fallback].concat();
        let (code, _, said) = backhaul(&serve, dir.path());
        assert!(code != 0 && said.contains(expected), "{code}: {said}");
        let (code, said, _) = backhaul(&[&["doctor"][..], &fallback].concat(), dir.path());
        assert!(code == 1 && said.contains(expected), "{code}: {said}");
    }
}
