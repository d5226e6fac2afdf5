//! The commands beside Weave's data, which nobody serves.

use std::path::Path;
use std::time::Duration;

use backhaul::store::{Settled, State};
use backhaul::weave::{Entry, EntryType, Kind, OfflineOptions, OfflineTraceServer, ProjectId};
use serde_json::{Value, json};
use tempfile::tempdir;

use backhaul_testkit::{FaultLink, WeaveServer};

use crate::support::{backhaul, command, noise};

const PROJECT: &str = "my_team/my_project";

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
    const NOBODY: &str = "http://127.0.0.1:9";
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
