//! `backhaul doctor` from outside. What each check finds is tested beside it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use backhaul_testkit::{FaultServer, LlamaOptions, LlamaServer, LlmScenario, LlmScript, TinyModel};
use serde_json::Value;
use tempfile::tempdir;

use crate::support::{Hub, command, run};

/// The doctor away from the home folder of whoever runs the tests.
fn doctor(data_dir: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut doctor = command(&["doctor", "--data-dir"]);
    let named = ["WANDB_API_KEY", "WANDB_BASE_URL", "WF_TRACE_SERVER_URL", "OPENAI_API_KEY"];
    for name in named {
        doctor.env_remove(name);
    }
    let output = doctor.arg(data_dir).args(arguments).env("HOME", data_dir).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn checks(stdout: &str, level: &str) -> Vec<Value> {
    let report: Value = serde_json::from_str(stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    checks.iter().filter(|check| check["level"] == level).cloned().collect()
}

#[test]
fn a_device_where_all_is_well_is_healthy() {
    let (dir, hub_dir) = (tempdir().unwrap(), tempdir().unwrap());
    let hub = Hub::start(hub_dir.path());
    let data = dir.path().join("data");
    Hub::start(&data).post(&run(1));
    let url = format!("http://{}", hub.address);
    let (code, stdout, stderr) = doctor(&data, &["--runs-url", &url, "--json"]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["healthy"], true);
    assert!(checks(&stdout, "problem").is_empty(), "{stdout}");
    let ok = checks(&stdout, "ok");
    for check in ["settings", "data dir", "weave dir", "runs", "runs hub", "outage", "environment"]
    {
        assert!(ok.iter().any(|found| found["check"] == check), "{check}: {stdout}");
    }
    // A line for each, and what to do below those that are not well.
    let (code, stdout, _) = doctor(&data, &["--runs-url", &url]);
    assert_eq!(code, 0);
    assert!(stdout.contains("ok       runs hub"), "{stdout}");
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let dir = tempdir().unwrap();
    let options = ["--runs-url", "http://127.0.0.1:9", "--weave-url", "http://127.0.0.1:9"];
    let mut hub = command(&["outage", "on", "--data-dir"]);
    assert!(hub.arg(dir.path()).output().unwrap().status.success());
    let arguments: Vec<&str> = options.into_iter().chain(["--json"]).collect();
    let (code, stdout, _) = doctor(dir.path(), &arguments);
    assert_eq!(code, 1, "{stdout}");
    let problems = checks(&stdout, "problem");
    assert!(problems.iter().any(|found| found["check"] == "runs hub"), "{stdout}");
    let warnings = checks(&stdout, "warning");
    for check in ["outage", "weave key"] {
        assert!(warnings.iter().any(|found| found["check"] == check), "{check}: {stdout}");
    }
    let said = problems.iter().chain(&warnings);
    assert!(said.clone().count() > 0 && said.clone().all(|found| found["advice"].is_string()));
}

#[test]
fn settings_that_cannot_be_read_are_a_problem_each() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("backhaul.toml");
    std::fs::write(&file, "sync_interval = 10\nlisten = \"nowhere\"\n").unwrap();
    let (code, stdout, _) = doctor(dir.path(), &["--json", "--config", file.to_str().unwrap()]);
    assert_eq!((code, checks(&stdout, "problem").len()), (1, 2), "{stdout}");
}

#[test]
fn a_key_is_found_and_never_shown() {
    let dir = tempdir().unwrap();
    let netrc = "machine 127.0.0.1 login user password s3cret-of-netrc\n";
    std::fs::write(dir.path().join(".netrc"), netrc).unwrap();
    let url = "http://127.0.0.1:9";
    let (_, stdout, stderr) = doctor(dir.path(), &["--weave-url", url, "--wandb-url", url]);
    assert!(stdout.contains("found, from netrc"), "{stdout}");
    assert!(!stdout.contains("s3cret") && !stderr.contains("s3cret"), "{stdout}{stderr}");
    assert!(stdout.contains("PROBLEM  weave server"), "{stdout}");
}

/// Level, what was found and what to do, of one check.
fn check_of(stdout: &str, check: &str) -> (String, String, String) {
    let report: Value = serde_json::from_str(stdout).unwrap();
    let found = report["checks"].as_array().unwrap().iter().find(|it| it["check"] == check);
    let found = found.unwrap_or_else(|| panic!("no {check}: {stdout}"));
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    (text("level"), text("found"), text("advice"))
}

#[test]
fn models_are_asked_whether_they_are_there_and_what_they_can() {
    let dir = tempdir().unwrap();
    let llama = LlamaServer::start(&TinyModel::chain(), LlamaOptions::default()).unwrap();
    let (script, local) = (LlmScript::new(), format!("{}/v1", llama.url()));
    let cloud = FaultServer::llm(&script).unwrap();
    let primary = format!("{}/v1", cloud.url());
    let config = dir.path().join("backhaul.toml");
    let look = |settings: &str| {
        std::fs::write(&config, settings).unwrap();
        doctor(dir.path(), &["--json", "--config", config.to_str().unwrap()])
    };
    let both = format!("llm_primary = {primary:?}\nllm_fallback = [{local:?}]\n");
    let level = |stdout: &str, check| check_of(stdout, check).0;

    let (_, stdout, _) = look("");
    assert_eq!(level(&stdout, "models"), "ok", "{stdout}");
    let (code, stdout, _) = look(&both);
    assert_eq!((code, level(&stdout, "primary model").as_str()), (0, "ok"), "{stdout}");
    let (is_ok, found, _) = check_of(&stdout, "fallback model");
    assert!(is_ok == "ok" && found.contains("a context of 4096 tokens"), "{found}");

    // Who does not take a key that is none is there; a key that is set has to be taken.
    script.play(LlmScenario::BadKey);
    assert_eq!(level(&look(&both).1, "primary model"), "ok");
    let key = dir.path().join("key");
    std::fs::write(&key, "s3cret").unwrap();
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let (code, stdout, _) = look(&format!("{both}llm_api_key_file = {key:?}\n"));
    assert_eq!((code, level(&stdout, "primary model").as_str()), (1, "problem"), "{stdout}");
    assert!(!stdout.contains("s3cret"), "{stdout}");
    // An outage is what the fallback is for; without one it is a problem.
    script.play(LlmScenario::ResetAtOnce);
    assert_eq!(level(&look(&both).1, "primary model"), "warning");
    let (_, stdout, _) = look(&format!("llm_primary = {primary:?}\n"));
    assert_eq!(level(&stdout, "primary model"), "problem", "{stdout}");
    assert_eq!(level(&stdout, "fallback model"), "warning", "{stdout}");
}

#[test]
fn a_fallback_that_would_not_answer_in_an_outage_is_a_problem_now() {
    let dir = tempdir().unwrap();
    let llama = LlamaServer::start(&TinyModel::chain(), LlamaOptions::default()).unwrap();
    let url = llama.url();
    let config = dir.path().join("backhaul.toml");
    for (settings, expected) in [
        ("llm_fallback = [\"http://127.0.0.1:9/v1\"]".to_owned(), "start it"),
        (format!("llm_fallback = [\"{url}/v2\"]"), "OpenAI-compatible server"),
        (
            format!("llm_fallback = [\"{url}/v1\"]\nllm_fallback_model = \"other\""),
            "llm_fallback_model",
        ),
        ("llm_fallback = [\"no.gguf\"]".to_owned(), ""),
    ] {
        std::fs::write(&config, format!("{settings}\nllm_primary = \"{url}/v1\"\n")).unwrap();
        let arguments = ["--json", "--config", config.to_str().unwrap()];
        let (code, stdout, _) = doctor(dir.path(), &arguments);
        let (level, _, advice) = check_of(&stdout, "fallback model");
        assert_eq!((code, level.as_str()), (1, "problem"), "{settings}: {stdout}");
        assert!(!advice.is_empty() && advice.contains(expected), "{settings}: {advice}");
    }
}
