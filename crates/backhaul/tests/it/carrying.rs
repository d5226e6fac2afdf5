//! Backlogs that are carried to another machine in a file.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backhaul::observability::{OfflineQueue, RunRecord};
use backhaul::store::{Clock as _, Layout, Options, Record, Settled, Spool, State, SystemClock};
use backhaul::weave::{Entry, EntryType, Kind, OfflineOptions, OfflineTraceServer, ProjectId};
use backhaul_testkit::Prng;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Hub, backhaul, noise, runs, stored};
use crate::tool_calls::unknown_call;

/// A project whose names do not fit a folder.
const PROJECT: &str = "my_team/a project: 100 % mine";

/// A data dir with something of each kind in it: runs of an agent with attachments, some of
/// which failed, runs that a hub received, calls of tools, data of two projects of Weave's.
pub(crate) fn device(dir: &Path) {
    let queue = OfflineQueue::builder(dir.join("offline")).open().unwrap();
    let image = queue.spool().attach(noise(1, 50_000).as_bytes()).unwrap();
    for number in 0..5 {
        let record = Record::new("run", format!("{{\"run_id\":\"mine_{number}\"}}").into_bytes());
        let record = record.label("run_id", format!("mine_{number}")).attachment(image.digest());
        queue.spool().append(record).unwrap();
    }
    let batch = queue.spool().take(&Default::default()).unwrap().unwrap();
    let refused = Settled::new(State::Rejected).reason("the hub says \"no\"").status(422);
    queue.spool().settle(&[(batch.records[1].record.id.position, refused)]).unwrap();
    let delivered = Settled::new(State::Delivered);
    queue.spool().settle(&[(batch.records[2].record.id.position, delivered)]).unwrap();
    drop((batch, image, queue));

    let hub = Hub::start(dir);
    assert_eq!(hub.post(&runs(0..40)).receipt(), (40, 0));
    hub.terminate();

    unknown_call(dir);

    let options = OfflineOptions { min_free_bytes: Some(0), ..OfflineOptions::default() };
    let server = OfflineTraceServer::open(dir.join("weave"), options).unwrap();
    for project in [PROJECT, &format!("my_team/{}", "long".repeat(70))] {
        let project: ProjectId = project.parse().unwrap();
        let data = json!({"project_id": project.to_string(), "id": "1", "trace_id": "1",
            "op_name": "measure", "started_at": "2026-01-01T00:00:00Z", "inputs": {}});
        server.log(&project, &[Entry::of_value(EntryType::CallStart, &data)]).unwrap();
        server.create_file(&project, "a.bin", None, noise(2, 9_000).as_bytes()).unwrap();
    }
}

fn a_run(run_id: impl Into<String>) -> RunRecord {
    RunRecord::new(run_id, SystemClock::new().now().wall)
}

fn export(data_dir: &Path, file: &Path) -> (i32, Value, String) {
    let to = file.to_str().unwrap();
    let (code, stdout, stderr) = backhaul(&["queue", "export", "--json", "--to", to], data_dir);
    (code, serde_json::from_str(&stdout).unwrap_or_default(), stderr)
}

fn import(file: &Path, data_dir: &Path) -> (i32, Value, String) {
    let file = file.to_str().unwrap();
    let (code, stdout, stderr) = backhaul(&["queue", "import", "--json", file], data_dir);
    (code, serde_json::from_str(&stdout).unwrap_or_default(), stderr)
}

/// What `queue list` says of all records.
fn listed(data_dir: &Path) -> BTreeSet<String> {
    let (code, stdout, stderr) = backhaul(&["queue", "list", "--json"], data_dir);
    assert_eq!(code, 0, "{stderr}");
    let shown = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        ["full_id", "spool", "run_id", "state", "size_bytes", "enqueued_at"]
            .map(|key| line[key].to_string())
            .join(" ")
    };
    stdout.lines().map(shown).collect()
}

#[test]
fn what_is_exported_and_imported_is_exported_again_byte_for_byte() {
    let dir = tempdir().unwrap();
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    device(&ours);
    let file = dir.path().join("bundle.tar");
    let (code, said, stderr) = export(&ours, &file);
    assert_eq!(code, 0, "{stderr}");
    let names: Vec<&String> = said["spools"].as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 3 + 2 * 3, "{names:?}");
    assert_eq!(said["spools"]["offline"], 4);
    let (code, said, stderr) = import(&file, &theirs);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(
        said["stored"],
        said["spools"]
            .as_object()
            .unwrap()
            .values()
            .map(|one| {
                assert_eq!((&one["known"], &one["settled"]), (&json!(0), &json!(0)));
                one["stored"].as_u64().unwrap()
            })
            .sum::<u64>()
    );
    assert_eq!(listed(&theirs), listed(&ours));
    let again = dir.path().join("again.tar");
    assert_eq!(export(&theirs, &again).0, 0);
    assert!(fs::read(&file).unwrap() == fs::read(&again).unwrap(), "the bundles differ");
    let (code, said, stderr) = import(&again, &theirs);
    assert_eq!((code, &said["stored"]), (0, &json!(0)), "{stderr}");
    // What records name has come along.
    let spool = Spool::open_read_only(theirs.join("offline")).unwrap();
    let digest = fs::read_dir(theirs.join("offline/attachments")).unwrap().next().unwrap();
    let digest = fs::read_dir(digest.unwrap().path()).unwrap().next().unwrap().unwrap();
    let bytes = spool.attachment(&digest.file_name().into_string().unwrap()).unwrap();
    assert_eq!(bytes.len(), 50_000);
    let server = OfflineTraceServer::open(theirs.join("weave"), OfflineOptions::default()).unwrap();
    for project in server.projects().unwrap() {
        let files = server.spool(&project, Kind::Files).unwrap().unwrap();
        let batch = files.take(&Default::default()).unwrap().unwrap();
        let digest = &batch.records[0].record.facts.labels["digest"];
        assert_eq!(server.file(&project, digest).unwrap(), noise(2, 9_000).as_bytes());
    }
}

#[test]
fn anybody_reads_a_bundle_with_tar_and_zcat() {
    let dir = tempdir().unwrap();
    let ours = dir.path().join("ours");
    device(&ours);
    let file = dir.path().join("bundle.tar");
    assert_eq!(export(&ours, &file).0, 0);
    let script = "set -e; tar xf bundle.tar; cat offline/records-*.jsonl.gz | zcat | jq -r .run_id; \
                  zcat offline/standing.jsonl.gz | jq -r .reason; sha256sum offline/attachments/*";
    let read = Command::new("sh").args(["-c", script]).current_dir(dir.path()).output().unwrap();
    let said = String::from_utf8(read.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..5], ["mine_0", "mine_1", "mine_3", "mine_4", "the hub says \"no\""]);
    let (digest, path) = lines[5].split_once("  offline/attachments/").unwrap();
    assert_eq!(digest, path);
}

#[test]
fn a_hub_takes_each_record_once_whoever_delivers_it() {
    let dir = tempdir().unwrap();
    let (ours, carried, top) =
        (dir.path().join("ours"), dir.path().join("carried"), dir.path().join("hub"));
    let queue = OfflineQueue::builder(ours.join("offline")).open().unwrap();
    for number in 0..300 {
        queue.enqueue(&a_run(format!("run_{number}"))).unwrap();
    }
    drop(queue);
    let hub = Hub::start(&top);
    let url = format!("http://{}", hub.address);
    let sync = |data_dir: &Path| {
        let (code, stdout, stderr) = backhaul(&["sync", "--json", "--runs-url", &url], data_dir);
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_str::<Value>(&stdout).unwrap()
    };
    for journey in 0..3 {
        let file = dir.path().join(format!("{journey}.tar"));
        assert_eq!(export(&ours, &file).0, 0);
        let (code, said, stderr) = import(&file, &carried);
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(said["stored"], if journey == 0 { 300 } else { 10 }, "{said}");
        match journey % 2 {
            0 => drop(sync(&carried)),
            _ => drop(sync(&ours)),
        }
        let queue = OfflineQueue::builder(ours.join("offline")).open().unwrap();
        for number in 0..10 {
            queue.enqueue(&a_run(format!("run_{journey}_{number}"))).unwrap();
        }
    }
    sync(&carried);
    sync(&ours);
    hub.terminate();
    let ids: BTreeSet<String> =
        stored(&top).iter().map(|record| record.facts.labels["run_id"].clone()).collect();
    assert_eq!((stored(&top).len(), ids.len()), (330, 330));
}

#[test]
fn the_card_of_a_device_that_was_killed_is_exported_with_the_runs_that_were_cut_short() {
    let dir = tempdir().unwrap();
    let (ours, card) = (dir.path().join("ours"), dir.path().join("card"));
    let queue = OfflineQueue::builder(ours.join("offline")).open().unwrap();
    queue.enqueue(&a_run("whole")).unwrap();
    let logger = backhaul::offline::OfflineRunLogger::builder()
        .primary(backhaul::observability::InMemoryRunLogger::new())
        .queue(queue)
        .build()
        .unwrap();
    backhaul::observability::RunLogger::start_run(&logger, "cut_short".into());
    // As the card is when the power goes: nobody has closed anything.
    let copied = Command::new("cp").arg("-a").args([&ours, &card]).status();
    assert!(copied.unwrap().success());
    let file = dir.path().join("bundle.tar");
    // Beside the agent the run is said to be left out.
    let live = dir.path().join("live.tar");
    let (code, said, stderr) = export(&ours, &live);
    assert_eq!((code, &said["records"]), (1, &json!(1)), "{stderr}");
    assert!(stderr.contains("NOT IN THE FILE: offline: 1 runs that go on"), "{stderr}");
    drop(logger);
    let (code, said, stderr) = export(&card, &file);
    assert_eq!((code, &said["records"]), (0, &json!(2)), "{stderr}");
}

#[test]
fn a_bundle_that_is_cut_or_damaged_changes_nothing_and_says_what_to_do() {
    let dir = tempdir().unwrap();
    let ours = dir.path().join("ours");
    device(&ours);
    let file = dir.path().join("bundle.tar");
    assert_eq!(export(&ours, &file).0, 0);
    let whole = fs::read(&file).unwrap();
    let theirs = dir.path().join("theirs");
    let mut random = Prng::new(5);
    let mut refused = 0;
    for case in 0..120 {
        let mut bytes = whole.clone();
        let at = random.index(bytes.len());
        match case % 3 {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << random.index(8),
            _ => bytes[at..].iter_mut().take(700).for_each(|byte| *byte = 0),
        }
        let damaged = dir.path().join("damaged.tar");
        fs::write(&damaged, &bytes).unwrap();
        let (code, _, stderr) = import(&damaged, &theirs);
        if code == 0 {
            // Bytes that nobody reads: padding, owners, times.
            let again = dir.path().join(format!("again-{case}.tar"));
            assert_eq!(export(&theirs, &again).0, 0);
            assert!(fs::read(&again).unwrap() == whole, "{case}: other records came in");
            fs::remove_dir_all(&theirs).unwrap();
            continue;
        }
        refused += 1;
        assert_eq!(code, 2, "{case}: {stderr}");
        assert!(stderr.contains("damaged.tar") && !stderr.contains("panicked"), "{case}: {stderr}");
        assert!(!theirs.exists(), "{case}: {stderr}");
    }
    assert!(refused > 60, "{refused}");
}

#[test]
fn wrong_wishes_are_answered_with_what_to_do() {
    let dir = tempdir().unwrap();
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    for (data_dir, name) in [(&one, "one"), (&other, "other")] {
        let queue = OfflineQueue::builder(data_dir.join("offline")).open().unwrap();
        queue.enqueue(&a_run(name)).unwrap();
    }
    let file = dir.path().join("bundle.tar");
    assert_eq!(export(&one, &file).0, 0);
    let (code, _, stderr) = export(&one, &file);
    assert_eq!(code, 2);
    assert!(stderr.contains("is there already"), "{stderr}");
    let (code, _, stderr) = import(&file, &other);
    assert_eq!(code, 1);
    assert!(stderr.contains("another folder"), "{stderr}");
    let carried = dir.path().join("carried");
    assert_eq!(import(&file, &carried).0, 0);
    let second = dir.path().join("second.tar");
    assert_eq!(export(&other, &second).0, 0);
    let (code, _, stderr) = import(&second, &carried);
    assert_eq!(code, 1);
    assert!(stderr.contains("is that of the device"), "{stderr}");
    let wanted = ["queue", "import", file.to_str().unwrap(), "--spool", "tools"];
    let (code, _, stderr) = backhaul(&wanted, &carried);
    assert_eq!(code, 2);
    assert!(stderr.contains("it has offline"), "{stderr}");
    let foreign: PathBuf = dir.path().join("foreign.tar");
    let tar = Command::new("tar").arg("cf").arg(&foreign).arg("/etc/hostname").status();
    assert!(tar.unwrap().success());
    let (code, _, stderr) = import(&foreign, &carried);
    assert_eq!(code, 2);
    assert!(stderr.contains("has no manifest.json"), "{stderr}");
}

#[test]
fn a_running_hub_knows_its_own_records_and_is_exported_as_it_runs() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    hub.post(&runs(0..9)).receipt();
    let file = dir.path().join("bundle.tar");
    assert_eq!(export(dir.path(), &file).0, 0);
    hub.post(&runs(9..12)).receipt();
    let (code, said, stderr) = import(&file, dir.path());
    assert_eq!((code, &said["known"], &said["stored"]), (0, &json!(9), &json!(0)), "{stderr}");
    assert_eq!(hub.post(&runs(12..13)).receipt(), (1, 0));
}

#[test]
fn what_was_carried_away_is_dropped_beside_the_process_that_has_it_and_without() {
    let dir = tempdir().unwrap();
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    device(&ours);
    let file = dir.path().join("bundle.tar");
    let (_, said, _) = export(&ours, &file);
    let carried = said["records"].as_u64().unwrap();
    assert_eq!(import(&file, &theirs).0, 0);
    let hub = Hub::start(&ours);
    hub.post(&runs(90..92)).receipt();
    let drop = ["queue", "drop", "--json", "--carried", file.to_str().unwrap()];
    for dropped in [carried, 0] {
        let (code, stdout, stderr) = backhaul(&drop, &ours);
        assert_eq!(code, 0, "{stderr}");
        let said: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(said, json!({"dropped": dropped, "carried": carried}));
    }
    // What came since waits, and of what was carried nothing is left to be sent from here.
    assert_eq!(listed(&ours).len(), 2);
    hub.terminate();
    let (code, _, stderr) = backhaul(&drop, &theirs);
    assert_eq!(code, 0, "{stderr}");
    assert!(listed(&theirs).is_empty());
}

#[test]
fn nothing_to_carry_is_no_file() {
    let dir = tempdir().unwrap();
    Spool::open(
        dir.path().join("runs"),
        Options { layout: Layout::Segments, ..Options::default() },
    )
    .unwrap();
    let to = dir.path().to_str().unwrap();
    let (code, stdout, _) = backhaul(&["queue", "export", "--to", to], dir.path());
    assert_eq!(
        (code, stdout.trim()),
        (0, "nothing waits, and nothing failed: no file was written")
    );
    let left = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["runs"]);
}
