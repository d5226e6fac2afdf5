//! The commands beside Weave's data, which nobody serves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use backhaul::store::{Settled, State};
use backhaul::weave::{Entry, EntryType, Kind, OfflineOptions, OfflineTraceServer, ProjectId};
use serde_json::{Value, json};
use tempfile::tempdir;

use backhaul_testkit::{Answer, FaultLink, FaultServer, Request, WeaveServer};

use crate::support::{Hub, backhaul, command, noise, wait_until};

const PROJECT: &str = "my_team/my_project";
/// Where nobody listens.
const NOBODY: &str = "http://127.0.0.1:9";

/// A data dir with an object and three calls of Weave's, and that there is such a project.
fn logged(dir: &Path) -> OfflineTraceServer {
    let options = OfflineOptions { min_free_bytes: Some(0), ..OfflineOptions::default() };
    let server = OfflineTraceServer::open(dir.join("weave"), options).unwrap();
    let project: ProjectId = PROJECT.parse().unwrap();
    let call = |number: u64| {
        let id = format!("0192f3a4-0000-7000-8000-{number:012}");
        let data = json!({
            "project_id": PROJECT, "id": id, "trace_id": id, "op_name": "measure",
            "started_at": "2026-01-01T00:00:00.000001Z", "attributes": {}, "inputs": {},
        });
        Entry::of_value(EntryType::CallStart, &data)
    };
    server.log(&project, &[call(1), call(2), call(3)]).unwrap();
    let object = json!({"project_id": PROJECT, "object_id": "a", "val": 1});
    server.create_object(&project, &object).unwrap();
    server
}

/// The same, with a file that was delivered. Gives where its bytes are.
fn delivered_file(dir: &Path) -> PathBuf {
    let server = logged(dir);
    let project: ProjectId = PROJECT.parse().unwrap();
    let digest = server.create_file(&project, "a.txt", None, b"abc").unwrap();
    let files = server.spool(&project, Kind::Files).unwrap().unwrap();
    let batch = files.take(&Default::default()).unwrap().unwrap();
    let position = batch.records[0].record.id.position;
    files.settle(&[(position, Settled::new(State::Delivered))]).unwrap();
    of_files(dir).join(digest)
}

fn of_files(dir: &Path) -> PathBuf {
    dir.join("weave").join(PROJECT).join("files")
}

/// A gateway with a key, that delivers to a server.
fn gateway(dir: &Path, url: &str, variables: &[(&str, &str)]) -> Hub {
    let mut serve = command(&["serve", "--weave-url", url, "--wandb-url", url]);
    serve.env("HOME", dir).env("WANDB_API_KEY", "key").env_remove("WANDB_ENTITY");
    Hub::try_start(serve.envs(variables.iter().copied()), dir)
}

fn status(dir: &Path) -> Value {
    let (code, stdout, stderr) = backhaul(&["status", "--json"], dir);
    assert_eq!(code, 0, "{stderr}");
    serde_json::from_str::<Value>(&stdout).unwrap()["spools"].clone()
}

#[test]
fn status_shows_a_project_as_one_and_its_kinds_in_json() {
    let dir = tempdir().unwrap();
    drop(logged(dir.path()));
    let spools = status(dir.path());
    assert_eq!(spools["weave/my_team/my_project/calls"]["pending"], 3);
    assert_eq!(spools["weave/my_team/my_project/objects"]["pending"], 1);
    let (code, stdout, _) = backhaul(&["status"], dir.path());
    assert_eq!(code, 0);
    assert!(stdout.contains("weave/my_team/my_project: 5 accepted = 5 pending"), "{stdout}");
}

#[test]
fn queue_lists_all_of_weave_or_one_kind() {
    let dir = tempdir().unwrap();
    drop(logged(dir.path()));
    let listed = |spool: &str| {
        let (code, stdout, stderr) =
            backhaul(&["queue", "list", "--json", "--spool", spool], dir.path());
        assert_eq!(code, 0, "{stderr}");
        stdout.lines().count()
    };
    assert_eq!((listed("weave"), listed("weave/my_team/my_project")), (5, 5));
    assert_eq!(listed("weave/my_team/my_project/calls"), 3);
    let (code, _, stderr) = backhaul(&["queue", "list", "--spool", "weav"], dir.path());
    assert_eq!(code, 2);
    assert!(stderr.contains("there is no spool weav in"), "{stderr}");
}

#[test]
fn one_spool_that_cannot_be_read_hides_none_of_the_others() {
    let dir = tempdir().unwrap();
    drop(logged(dir.path()));
    let objects = dir.path().join("weave").join(PROJECT).join("objects");
    std::fs::write(objects.join("state/identity.json"), "no json").unwrap();
    let said = "cannot read the spool weave/my_team/my_project/objects";
    let (code, stdout, stderr) = backhaul(&["status", "--json"], dir.path());
    assert_eq!((code, stderr.contains(said)), (1, true), "{stderr}");
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(found["spools"]["weave/my_team/my_project/calls"]["pending"], 3);
    let (code, stdout, stderr) = backhaul(&["queue", "list", "--json"], dir.path());
    assert_eq!((code, stderr.contains(said), stdout.lines().count()), (1, true, 4), "{stderr}");
    let only = ["queue", "list", "--spool", "weave/my_team/my_project/objects"];
    assert_eq!(backhaul(&only, dir.path()).0, 1);
}

#[test]
fn a_folder_of_weaves_that_is_none_is_said() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut status = command(&["status", "--weave-dir"]);
    let output = status.arg(&file).arg("--data-dir").arg(dir.path()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("file cannot be read: Not a directory"), "{stderr}");
    let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--weave-dir"]);
    let output = serve.arg(&file).arg("--data-dir").arg(dir.path()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("a file: expected a folder"), "{stderr}");
}

#[test]
fn of_records_that_are_called_alike_the_one_that_failed_is_retried() {
    let dir = tempdir().unwrap();
    let server = logged(dir.path());
    let calls = server.spool(&PROJECT.parse().unwrap(), Kind::Calls).unwrap().unwrap();
    let batch = calls.take(&Default::default()).unwrap().unwrap();
    let rejected = Settled::new(State::Rejected).reason("malformed");
    let position = batch.records[0].record.id.position;
    calls.settle(&[(position, rejected)]).unwrap();
    drop((server, calls, batch));
    let name = position.to_string();
    let (code, stdout, stderr) = backhaul(&["queue", "retry", &name], dir.path());
    assert_eq!((code, stdout.as_str()), (0, "1 records wait to be sent again\n"), "{stderr}");
    // None failed any more: it could be any of them.
    let (code, _, stderr) = backhaul(&["queue", "retry", &name], dir.path());
    assert_eq!((code, stderr.contains("say --spool")), (2, true), "{stderr}");
}

#[test]
fn failed_records_are_brought_back_and_dropped_by_hand() {
    let dir = tempdir().unwrap();
    let server = logged(dir.path());
    let calls = server.spool(&PROJECT.parse().unwrap(), Kind::Calls).unwrap().unwrap();
    let batch = calls.take(&Default::default()).unwrap().unwrap();
    let rejected = Settled::new(State::Rejected).reason("malformed");
    calls.settle(&[(batch.records[0].record.id.position, rejected)]).unwrap();
    drop((server, calls, batch));

    assert_eq!(status(dir.path())["weave/my_team/my_project/calls"]["failed"], 1);
    let (code, stdout, stderr) = backhaul(&["queue", "retry", "--all"], dir.path());
    assert_eq!((code, stdout.as_str()), (0, "1 records wait to be sent again\n"), "{stderr}");
    assert_eq!(status(dir.path())["weave/my_team/my_project/calls"]["failed"], 0);
    let name = ["queue", "drop", "normal/1", "--spool", "weave/my_team/my_project/calls"];
    assert_eq!(backhaul(&name, dir.path()).0, 0);
    let books = &status(dir.path())["weave/my_team/my_project/calls"]["books"];
    assert_eq!((&books["dropped"], &books["pending"]), (&json!(1), &json!(2)));
}

#[test]
fn clean_removes_what_a_server_has() {
    let dir = tempdir().unwrap();
    let server = logged(dir.path());
    let calls = server.spool(&PROJECT.parse().unwrap(), Kind::Calls).unwrap().unwrap();
    let batch = calls.take(&Default::default()).unwrap().unwrap();
    let delivered =
        |offer: &backhaul::store::Offer| (offer.record.id.position, Settled::new(State::Delivered));
    let settled: Vec<_> = batch.records.iter().map(delivered).collect();
    calls.settle(&settled).unwrap();
    assert_eq!(calls.clean(Duration::from_secs(3600)).unwrap().records, 0);
    drop((server, calls, batch));
    let (code, stdout, _) = backhaul(&["clean", "--older-than", "0s", "--json"], dir.path());
    let cleaned: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &cleaned["records"]), (0, &json!(3)), "{stdout}");
}

#[test]
fn clean_removes_the_bytes_of_files_that_a_server_has() {
    let dir = tempdir().unwrap();
    let file = delivered_file(dir.path());
    let clean =
        ["clean", "--older-than", "0s", "--json", "--spool", "weave/my_team/my_project/files"];
    let (code, stdout, _) = backhaul(&clean, dir.path());
    let cleaned: Value = serde_json::from_str(&stdout).unwrap();
    // The record's file, and the bytes.
    assert_eq!(
        (code, &cleaned["records"], &cleaned["files"]),
        (0, &json!(1), &json!(2)),
        "{stdout}"
    );
    assert!(!file.exists());
    // What the others hold waits.
    assert_eq!(status(dir.path())["weave/my_team/my_project/calls"]["pending"], 3);
    let (code, stdout, _) = backhaul(&["clean", "--older-than", "0s"], dir.path());
    let said = "weave/my_team/my_project: 0 delivered records removed, 0 files, 0 B freed\n";
    assert_eq!((code, stdout.as_str()), (0, said));
}

#[test]
fn a_running_gateway_cleans_by_itself_what_it_is_asked_to() {
    let dir = tempdir().unwrap();
    let file = delivered_file(dir.path());
    let gateway = gateway(dir.path(), NOBODY, &[]);
    wait_until(|| of_files(dir.path()).join("state/control.sock").exists());
    let (code, stdout, stderr) = backhaul(&["clean", "--older-than", "0s", "--json"], dir.path());
    let cleaned: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (code, &cleaned["records"], &cleaned["files"]),
        (0, &json!(1), &json!(2)),
        "{stderr}"
    );
    assert!(!file.exists());
    drop(gateway);
}

#[test]
fn a_gateway_removes_delivered_data_at_the_age_that_is_set() {
    let dir = tempdir().unwrap();
    let file = delivered_file(dir.path());
    let _gateway = gateway(dir.path(), NOBODY, &[("BACKHAUL_WEAVE_KEEP_SYNCED", "0s")]);
    wait_until(|| !file.exists());
}

#[test]
fn what_a_server_refuses_is_set_aside_shown_and_brought_back() {
    let dir = tempdir().unwrap();
    let project: ProjectId = "my team/über ..%".parse().unwrap();
    let log =
        OfflineTraceServer::open(dir.path().join("weave"), OfflineOptions::default()).unwrap();
    let note = json!({
        "project_id": project.to_string(), "id": "0192f3a4-0000-7000-8000-000000000001",
        "weave_ref": "weave:///a/b/call/c", "feedback_type": "custom", "payload": {},
    });
    log.log(&project, &[Entry::of_value(EntryType::FeedbackCreate, &note)]).unwrap();
    drop(log);
    let answers = |status| {
        move |request: &Request| match request.path() {
            "/graphql" => Answer::ok("{\"data\": {\"project\": {\"name\": \"p\"}}}"),
            path if path.starts_with("/feedback") => {
                Answer::new(status).body("{\"reason\": \"no such type\"}")
            }
            _ => Answer::ok("{}"),
        }
    };
    let server = FaultServer::new(answers(400)).unwrap();
    let spool = format!("weave/{project}/feedback");
    let failed = || {
        let list = ["queue", "list", "--json", "--spool", &spool];
        let (_, stdout, stderr) = backhaul(&list, dir.path());
        assert_eq!(stderr, "");
        let found: Option<Value> =
            stdout.lines().next().map(|line| serde_json::from_str(line).unwrap());
        found
    };
    let gateway = gateway(dir.path(), &server.url(), &[]);
    wait_until(|| failed().is_some_and(|it| it["state"] == "failed"));
    assert!(failed().unwrap()["last_error"].as_str().unwrap().contains("no such type"));
    server.answers(answers(200));
    let (code, stdout, stderr) =
        backhaul(&["queue", "retry", "normal/1", "--spool", &spool], dir.path());
    assert_eq!((code, stdout.as_str()), (0, "1 records wait to be sent again\n"), "{stderr}");
    wait_until(|| failed().is_none());
    drop(gateway);
    // What was brought back was delivered, and not lost.
    let (_, stdout, _) = backhaul(&["status", "--json"], dir.path());
    let spools = serde_json::from_str::<Value>(&stdout).unwrap()["spools"].clone();
    let books = spools.as_object().unwrap().iter().find(|(name, _)| name.ends_with("/feedback"));
    assert_eq!(books.unwrap().1["books"]["delivered"], 1, "{stdout}");
}

/// `backhaul sync` to a server, with a key or without: exit code, stdout, stderr.
fn sync(dir: &Path, url: &str, key: Option<&str>, more: &[&str]) -> (i32, String, String) {
    let mut sync = command(&["sync", "--json", "--weave-url", url, "--wandb-url", url]);
    sync.args(more).arg("--data-dir").arg(dir).env("HOME", dir).env_remove("WANDB_API_KEY");
    let output = sync.envs(key.map(|key| ("WANDB_API_KEY", key))).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn sync_delivers_to_a_real_server_and_says_what_it_did_kind_by_kind() {
    let dir = tempdir().unwrap();
    drop(logged(dir.path()));
    let server = WeaveServer::start("0.52.42", &dir.path().join("weave.db")).unwrap();
    let (code, stdout, stderr) = sync(dir.path(), &server.url(), Some("key"), &[]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let said: Value = serde_json::from_str(&stdout).unwrap();
    let kinds = &said["weave"][PROJECT];
    assert_eq!((&kinds["calls"], &kinds["objects"]), (&json!([3, 0]), &json!([1, 0])), "{said}");
    assert_eq!((&kinds["tables"], &kinds["metadata"]), (&json!([0, 0]), &json!([1, 0])));
    assert_eq!(
        (&said["synced"], &said["remaining"], &said["failed"]),
        (&json!(5), &json!(0), &json!(0))
    );
    // Whoever looks at the names of files finds them marked.
    for kind in ["calls", "objects", "metadata"] {
        let folder = std::fs::read_dir(dir.path().join("weave").join(PROJECT).join(kind)).unwrap();
        let names = folder.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names = names.filter(|name| name.contains(".jsonl")).peekable();
        assert!(names.peek().is_some(), "{kind}");
        assert!(names.all(|name| name.ends_with("_0000.synced.jsonl.gz")), "{kind}");
    }
    // There is nothing left to do, and that is no error.
    let (code, stdout, _) = sync(dir.path(), &server.url(), Some("key"), &["--project", PROJECT]);
    assert_eq!((code, stdout.contains("\"synced\":0")), (0, true), "{stdout}");
}

#[test]
fn sync_counts_the_bytes_of_all_that_went() {
    let dir = tempdir().unwrap();
    let log = logged(dir.path());
    log.create_file(&PROJECT.parse().unwrap(), "a.bin", None, &[7; 100_000]).unwrap();
    drop(log);
    let server = WeaveServer::start("0.52.42", &dir.path().join("weave.db")).unwrap();
    let (code, stdout, stderr) = sync(dir.path(), &server.url(), Some("key"), &[]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let said: Value = serde_json::from_str(&stdout).unwrap();
    let of_kind =
        |kind: &str| said["spools"][format!("weave/{PROJECT}/{kind}")]["bytes"].as_u64().unwrap();
    // With the bytes of the file, and not only those of the record that names it.
    assert!((100_000..101_000).contains(&of_kind("files")), "{said}");
    let kinds = Kind::ALL
        .map(Kind::name)
        .into_iter()
        .filter(|kind| *kind != "tables" && *kind != "ops" && *kind != "feedback");
    assert_eq!(said["bytes"].as_u64().unwrap(), kinds.map(of_kind).sum::<u64>());
    assert!(of_kind("calls") > 3 * 100, "{said}");
}

#[test]
fn sync_takes_a_project_by_its_name_and_by_that_of_its_folder() {
    let dir = tempdir().unwrap();
    let project: ProjectId = "team/über uns".parse().unwrap();
    let log = logged(dir.path());
    let object = json!({"project_id": "team/über uns", "object_id": "a", "val": 1});
    log.create_object(&project, &object).unwrap();
    drop(log);
    let folder = project.folder().display().to_string();
    assert_ne!(folder, project.to_string());
    for name in [&project.to_string(), &folder] {
        let (code, stdout, stderr) = sync(dir.path(), NOBODY, Some("key"), &["--project", name]);
        let said: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((code, &said["blocked_by"]), (1, &json!("offline")), "{name}: {stderr}");
    }
}

#[test]
fn the_data_cap_holds_weaves_data_back_until_it_is_full_again() {
    const CALLS: u64 = 40;
    let dir = tempdir().unwrap();
    let server = WeaveServer::start("0.52.42", &dir.path().join("weave.db")).unwrap();
    let link = FaultLink::to(([127, 0, 0, 1], server.port()).into()).unwrap();
    let offline = OfflineTraceServer::open(
        dir.path().join("weave"),
        OfflineOptions { min_free_bytes: Some(0), ..OfflineOptions::default() },
    )
    .unwrap();
    for number in 0..CALLS {
        let id = format!("0192f3a4-0000-7000-8000-{number:012}");
        let data = json!({
            "project_id": PROJECT, "id": id, "trace_id": id, "op_name": "measure",
            "started_at": "2026-01-01T00:00:00Z", "attributes": {},
            "inputs": {"noise": noise(number, 50_000)},
        });
        let call = Entry::of_value(EntryType::CallStart, &data);
        offline.log(&PROJECT.parse().unwrap(), &[call]).unwrap();
    }
    drop(offline);
    let sync = |cap: Option<&str>| {
        let mut sync = command(&["sync", "--json", "--weave-url", &link.url()]);
        sync.args(["--wandb-url", &link.url(), "--data-dir"]).arg(dir.path());
        sync.envs(cap.map(|cap| ("BACKHAUL_DAILY_LIMIT_MB", cap)));
        sync.env("BACKHAUL_BATCH_BYTES", "100000").env("HOME", dir.path());
        let output = sync.env("WANDB_API_KEY", "key").output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), said)
    };
    let (code, said) = sync(Some("1"));
    assert_eq!((code, &said["blocked_by"]), (Some(1), &json!("cap")), "{said}");
    let carried = link.counts().bytes_up + link.counts().bytes_down;
    assert!((700_000..=1_000_000).contains(&carried), "{carried}");
    let delivered = said["synced"].as_u64().unwrap();
    assert!((10..20).contains(&delivered), "{said}");
    let (code, said) = sync(None);
    assert_eq!((code, &said["synced"]), (Some(0), &json!(CALLS + 1 - delivered)), "{said}");
}

#[test]
fn sync_says_what_is_in_the_way() {
    let dir = tempdir().unwrap();
    drop(logged(dir.path()));
    let (code, stdout, _) = sync(dir.path(), NOBODY, Some("key"), &[]);
    let said: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &said["remaining"], &said["blocked_by"]), (1, &json!(5), &json!("offline")));
    let (code, _, stderr) = sync(dir.path(), NOBODY, None, &[]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("WANDB_API_KEY") && stderr.contains(".netrc"), "{stderr}");
    let (code, _, stderr) = sync(dir.path(), NOBODY, Some("key"), &["--project", "a/b"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("nothing of the project a/b is in"), "{stderr}");
}
