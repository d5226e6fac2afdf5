//! The commands beside Weave's data, which nobody serves.

use std::path::Path;
use std::time::Duration;

use backhaul::store::{Settled, State};
use backhaul::weave::{Entry, EntryType, Kind, OfflineOptions, OfflineTraceServer, ProjectId};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::backhaul;

const PROJECT: &str = "my_team/my_project";

/// A data dir with an object and three calls of Weave's, and that there is such a project.
fn logged(dir: &Path) -> OfflineTraceServer {
    let options = OfflineOptions { min_free_bytes: Some(0), ..OfflineOptions::default() };
    let server = OfflineTraceServer::open(dir.join("weave"), options).unwrap();
    let project: ProjectId = PROJECT.parse().unwrap();
    let call = |number: u64| {
        let data = json!({"project_id": PROJECT, "id": number.to_string()});
        Entry::of_value(EntryType::CallStart, &data)
    };
    server.log(&project, &[call(1), call(2), call(3)]).unwrap();
    server.create_object(&project, &json!({"object_id": "a", "val": 1})).unwrap();
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
