//! What commands and the log say of Weave's data that cannot be stored, delivered or shown.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use backhaul::weave::{Entry, EntryType, OfflineOptions, OfflineTraceServer, ProjectId};
use backhaul_testkit::{Answer, FaultServer};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Hub, backhaul, command, run, stored, wait_until};

const PROJECTS: [&str; 3] = ["my_team/one", "my_team/three", "my_team/two"];
const CALL: &str = r#"{"start": {"project_id": "my_team/one", "op_name": "measure",
    "started_at": "2026-01-01T00:00:00Z", "attributes": {}, "inputs": {}}}"#;

/// An object and a call of each project; with that there is such a project, nine records.
fn log_all(dir: &Path) {
    let options = OfflineOptions { min_free_bytes: Some(0), ..OfflineOptions::default() };
    let server = OfflineTraceServer::open(dir.join("weave"), options).unwrap();
    for name in PROJECTS {
        let project: ProjectId = name.parse().unwrap();
        let object = json!({"project_id": name, "object_id": "a", "val": 1});
        server.create_object(&project, &object).unwrap();
        let call = json!({"project_id": name, "id": "0192f3a4-0000-7000-8000-000000000001"});
        server.log(&project, &[Entry::of_value(EntryType::CallStart, &call)]).unwrap();
    }
}

/// A command that delivers to a server, with a key.
fn to(server: &FaultServer, dir: &Path, arguments: &[&str]) -> Command {
    let mut command = command(arguments);
    command.args(["--weave-url", &server.url(), "--wandb-url", &server.url()]);
    command.env("HOME", dir).env("WANDB_API_KEY", "key").env_remove("WANDB_ENTITY");
    command
}

fn refusing() -> FaultServer {
    FaultServer::new(|_| Answer::new(401).body("{\"reason\": \"no such key\"}")).unwrap()
}

#[test]
fn a_server_that_never_answers_costs_a_sync_of_everything_one_request() {
    let dir = tempdir().unwrap();
    log_all(dir.path());
    let server = FaultServer::new(|_| Answer::ok("{}").after(Duration::from_secs(600))).unwrap();
    let mut sync = to(&server, dir.path(), &["sync", "--json"]);
    let output = sync
        .arg("--data-dir")
        .arg(dir.path())
        .env("BACKHAUL_DELIVERY_TIMEOUT", "3s")
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), server.requests().len()), (Some(1), 1), "{stderr}");
    // It says once what is waited for.
    let waiting = format!("weave/my_team/one: 0 of 3 done, waiting for {}\n", server.url());
    assert_eq!(stderr, waiting);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&said["remaining"], &said["blocked_by"]), (&json!(9), &json!("offline")));
    let spools = said["spools"].as_object().unwrap();
    assert_eq!(spools.len(), 9);
    // What was not tried has the same in its way.
    for (name, spool) in spools {
        assert_eq!(spool["blocked_by"], "offline", "{name}: {said}");
    }
    assert_eq!(said["weave"]["my_team/two"]["calls"], json!([0, 1]), "{said}");
}

#[test]
fn what_is_in_the_way_of_several_projects_is_said_once() {
    let (dir, server) = (tempdir().unwrap(), refusing());
    log_all(dir.path());
    let output =
        to(&server, dir.path(), &["sync"]).arg("--data-dir").arg(dir.path()).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!((output.status.code(), lines.len()), (Some(1), 4), "{stdout}");
    assert_eq!(lines[0], "weave/my_team/one: 0 delivered (0 B), 3 remaining");
    assert!(lines[3].starts_with("9 records wait: the destination refuses"), "{stdout}");
    assert!(lines[3].ends_with("(HTTP 401)"), "{stdout}");
}

#[test]
fn run_records_are_delivered_where_no_key_for_weaves_data_is_known() {
    let (dir, far) = (tempdir().unwrap(), tempdir().unwrap());
    Hub::start(dir.path()).post(&run(1));
    log_all(dir.path());
    let hub = Hub::start(far.path());
    let url = format!("http://{}", hub.address);
    let mut sync = command(&["sync", "--runs-url", &url, "--data-dir"]);
    sync.arg(dir.path()).env("HOME", dir.path()).env_remove("WANDB_API_KEY");
    let output = sync.output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
    assert_eq!((output.status.code(), stored(far.path()).len()), (Some(2), 1), "{stderr}");
    assert!(stdout.starts_with("runs: 1 delivered"), "{stdout}");
    assert!(stderr.contains("no API key is known"), "{stderr}");
}

#[test]
fn a_gateway_logs_whose_destination_is_paused_and_once_for_a_project() {
    let (dir, server) = (tempdir().unwrap(), refusing());
    log_all(dir.path());
    let gateway = Hub::try_start(&mut to(&server, dir.path(), &["serve"]), dir.path());
    let is_paused = "the destination is paused until somebody acts";
    wait_until(|| gateway.said().matches(is_paused).count() >= PROJECTS.len());
    // Each kind of each project has found that out by now.
    let (code, ..) = backhaul(&["sync"], dir.path());
    assert_eq!(code, 1);
    let said = gateway.said();
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), PROJECTS.len(), "{said}");
    for project in PROJECTS {
        let spool = format!("spool={}/weave/{project}/", dir.path().display());
        assert_eq!(errors.iter().filter(|line| line.contains(&spool)).count(), 1, "{said}");
    }
}

#[test]
fn a_folder_that_takes_nothing_is_an_error_in_the_log_once_and_so_is_its_end() {
    let dir = tempdir().unwrap();
    // Root may write everywhere, but not below a file.
    let in_the_way = dir.path().join("weave/my_team");
    std::fs::create_dir(dir.path().join("weave")).unwrap();
    std::fs::write(&in_the_way, "").unwrap();
    let mut serve = command(&["serve", "--weave-url", "http://127.0.0.1:9"]);
    serve.env("HOME", dir.path()).env_remove("WANDB_API_KEY").env("BACKHAUL_LOG", "info");
    serve.env("BACKHAUL_MIN_FREE", "1MB");
    let gateway = Hub::try_start(&mut serve, dir.path());
    let post = || gateway.request("POST", "/call/start", &[], CALL.as_bytes()).status;
    assert_eq!([post(), post(), post()], [503; 3]);
    std::fs::remove_file(&in_the_way).unwrap();
    assert_eq!([post(), post()], [200; 2]);
    gateway.says("INFO what is logged for a project is stored again project=my_team/one");
    let said = gateway.said();
    let count = |what: &str| said.lines().filter(|line| line.contains(what)).count();
    assert_eq!((count("ERROR"), count("WARN"), count("stored again")), (1, 0, 1), "{said}");
    assert!(said.contains("cannot be stored project=my_team/one"), "{said}");
}

#[test]
fn status_says_of_what_waits_that_nobody_delivers_it_and_why() {
    let dir = tempdir().unwrap();
    log_all(dir.path());
    let status = |key: Option<&str>| {
        let mut status = command(&["status", "--data-dir"]);
        status.arg(dir.path()).env("HOME", dir.path()).env_remove("WANDB_API_KEY");
        let output = status.envs(key.map(|key| ("WANDB_API_KEY", key))).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let said = status(Some("key"));
    assert_eq!(said.matches("weave: no gateway runs here: ").count(), 1, "{said}");
    assert!(!said.contains("no API key"), "{said}");
    assert!(status(None).contains("once there is a key: no API key is known for api.wandb.ai"));
    // A gateway that has no key.
    let mut serve = command(&["serve"]);
    serve.env("HOME", dir.path()).env_remove("WANDB_API_KEY");
    let _gateway = Hub::try_start(&mut serve, dir.path());
    let said = status(None);
    assert!(said.contains("weave: the gateway that runs here does not deliver"), "{said}");
}

#[test]
fn data_of_the_prototype_that_waits_to_be_taken_over_is_hinted_at() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("weave/old/project/calls");
    std::fs::create_dir_all(&folder).unwrap();
    let call = "{\"type\": \"call_start\", \"timestamp\": \"2025-01-01T00:00:00\", \"data\": {}}\n";
    std::fs::write(folder.join("20250101_0000.jsonl"), call).unwrap();
    let hint = format!(
        "not shown here: 1 files ({} B) of Weave's own offline mode in {}/weave were not taken \
         over yet; `backhaul sync` takes them over",
        call.len(),
        dir.path().display()
    );
    for arguments in [&["status"][..], &["queue", "list"], &["traces", "list"]] {
        let (_, _, stderr) = backhaul(arguments, dir.path());
        assert!(stderr.starts_with(&hint), "{arguments:?}: {stderr}");
    }
    let server = refusing();
    let gateway = Hub::try_start(&mut to(&server, dir.path(), &["serve"]), dir.path());
    wait_until(|| !backhaul(&["status"], dir.path()).2.contains("not shown here"));
    drop(gateway);
}
