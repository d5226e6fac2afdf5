//! Folders of the prototype, written by CPython, become what they would be today.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use backhaul_testkit::errno::{EIO, ENOSPC};
use backhaul_testkit::{
    Call, CrashStyle, Fault, Faults, FaultyDisk, ManualClock, Prng, SimDisk, SimSnapshot,
};
use backhaul_weave::{EntryType, Kind, OfflineOptions, OfflineTraceServer, ProjectId, digest};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::support::{
    DIR, call, call_ids, entries, names_in, open, open_at, open_on, options, project, records,
};

/// Has the prototype log to a folder, in a time zone. What it answered.
fn prototype(root: &Path, project: &str, calls: u32, rest: &[&str], zone: &str) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/prototype_folder.py");
    let (entity, name) = project.split_once('/').unwrap();
    let output = Command::new("python3")
        .args([script, root.to_str().unwrap(), entity, name, &calls.to_string()])
        .args(rest)
        .env("TZ", zone)
        .stderr(Stdio::inherit())
        .output()
        .expect("this test reads what the real python3 writes, which has to be installed");
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn zone() -> String {
    std::env::var("TZ").unwrap_or_default()
}

/// Checks that all of it is there, and leads to where it should.
fn assert_is_all_there(server: &OfflineTraceServer, project: &ProjectId, calls: usize) {
    let (code, image) =
        (&b"def predict(x):\n    return x\n"[..], Vec::from_iter(0..=255).repeat(20));
    let [of_code, of_image] = [code, &image[..]].map(digest::of_file);
    for content in [code, &image] {
        assert_eq!(server.file(project, &digest::of_file(content)).unwrap(), content);
    }
    let files = entries(server, project, Kind::Files);
    let names: Vec<_> = files.iter().map(|file| file.value()["digest"].clone()).collect();
    assert_eq!(names, [json!(of_code), json!(of_image)]);

    let ops = records(server, project, Kind::Ops);
    let [op] = &ops[..] else { panic!("{ops:?}") };
    let of_op = &op.facts.labels["digest"];
    let op: Value = serde_json::from_slice(&op.body).unwrap();
    assert_eq!(op["data"]["val"]["files"]["obj.py"], of_code);
    assert_eq!(of_op, &digest::of_value(&op["data"]["val"]));

    let rows =
        [json!({"q": "one"}), backhaul_json::from_slice(br#"{"q": "two", "n": 2.50}"#).unwrap()];
    let of_table = digest::of_table(rows.iter().map(digest::of_value));
    assert_eq!(records(server, project, Kind::Tables)[0].facts.labels["digest"], of_table);
    let objects = entries(server, project, Kind::Objects);
    let values: Vec<Value> = objects.iter().map(|entry| entry.value()["val"].clone()).collect();
    assert_eq!(values[0]["rows"], format!("weave:///{project}/table/{of_table}"));
    let of_dataset = digest::of_value(&values[0]);

    let logged = entries(server, project, Kind::Calls);
    assert_eq!(logged.len(), 2 * calls + 2);
    for (number, pair) in logged[..2 * calls].chunks(2).enumerate() {
        let (start, end) = (pair[0].value(), pair[1].value());
        assert_eq!(start["op_name"], format!("weave:///{project}/op/predict:{of_op}"));
        let data = format!("weave:///{project}/object/data:{of_dataset}/attr/rows/id/x");
        assert_eq!(start["inputs"]["data"], data);
        assert_eq!(start["inputs"]["image"]["files"]["image.png"], of_image);
        assert_eq!((&start["id"], &end["id"]), (&json!(format!("{number:08}")), &start["id"]));
        assert_eq!(end["output"].to_string(), "1e+16");
        assert_eq!(start["started_at"], "2026-01-01T00:00:00.000001Z");
    }
    assert_eq!(entries(server, project, Kind::Feedback).len(), 1);
    assert_eq!(entries(server, project, Kind::Metadata)[0].entry_type(), EntryType::Project);
    let imported = server.imported(project).unwrap();
    assert_eq!(
        (imported.records, imported.damaged, imported.unresolved),
        (2 * calls as u64 + 10, 0, 1)
    );
}

#[test]
fn what_the_prototype_logged_has_real_digests_and_references_that_lead_to_them() {
    for form in [&[][..], &["plain"]] {
        let folder = tempfile::tempdir().unwrap();
        prototype(folder.path(), "me/mine", 5, form, &zone());
        let project = project("me/mine");
        let server = open_at(folder.path());
        assert_is_all_there(&server, &project, 5);
        // Once: also for whoever comes later.
        drop(server);
        assert_is_all_there(&open_at(folder.path()), &project, 5);
        let mut left = names_in(&folder.path().join("me/mine/calls"));
        left.retain(|name| name.contains("prototype") || name.ends_with(".jsonl"));
        assert!(left.is_empty(), "{left:?}");
        assert!(
            !names_in(&folder.path().join("me/mine/files")).iter().any(|name| name.contains('-'))
        );
    }
}

#[test]
fn a_project_is_introduced_by_what_the_prototype_wrote_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let answers = prototype(folder.path(), "me/mine", 1, &[], &zone());
    let server = open_at(folder.path());
    let project = project("me/mine");
    server.log(&project, &[call("later")]).unwrap();
    let metadata = entries(&server, &project, Kind::Metadata);
    assert_eq!(metadata.len(), 1);
    let created = metadata[0].timestamp().unwrap().as_micros() as f64 / 1e6;
    assert!(
        (created - answers["created_at"].as_f64().unwrap()).abs() < 1e-3,
        "{created} {answers}"
    );
    let calls = entries(&server, &project, Kind::Calls);
    assert_eq!(calls.last().unwrap().value()["id"], "later");
}

/// NOT A TEST. The next one starts this very program again in another time zone.
#[test]
fn import_in_a_time_zone() {
    let Ok(folder) = std::env::var("BACKHAUL_WEAVE_IMPORT") else { return };
    open_at(Path::new(&folder)).spool(&project("me/mine"), Kind::Calls).unwrap();
}

#[test]
fn times_of_day_are_those_of_the_devices_time_zone() {
    for zone in ["Pacific/Auckland", "America/Los_Angeles", "UTC"] {
        let folder = tempfile::tempdir().unwrap();
        let answers = prototype(folder.path(), "me/mine", 1, &[], zone);
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "offline::imported::import_in_a_time_zone"])
            .env("BACKHAUL_WEAVE_IMPORT", folder.path())
            .env("TZ", zone)
            .stdout(Stdio::null())
            .status();
        assert!(child.unwrap().success());
        let server = open_at(folder.path());
        let metadata = entries(&server, &project("me/mine"), Kind::Metadata);
        let created = metadata[0].timestamp().unwrap().as_micros() as f64 / 1e6;
        let expected = answers["created_at"].as_f64().unwrap();
        assert!((created - expected).abs() < 1e-3, "{zone}: {created}, not {expected}");
        assert_is_all_there(&server, &project("me/mine"), 1);
    }
}

#[test]
fn a_folder_with_a_name_that_only_the_prototype_would_give_it_is_found() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["équipe/mon projet é", "me/a~b"] {
        prototype(folder.path(), name, 2, &[], &zone());
    }
    let server = open_at(folder.path());
    let projects = server.projects().unwrap();
    assert_eq!(projects, [project("me/a~b"), project("équipe/mon projet é")]);
    for project in &projects {
        assert_is_all_there(&server, project, 2);
    }
    assert_eq!(server.projects().unwrap(), projects);
}

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

fn start(id: &str) -> String {
    let data = json!({"project_id": "me/mine", "id": id, "op_name": "f", "inputs": {}});
    // As Python has it.
    format!(
        "{{\"type\": \"call_start\", \"timestamp\": \"2026-01-01T00:00:00.1\", \"data\": {data}}}\n"
    )
}

fn plant(root: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = root.join("me/mine").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn damaged_files_give_what_is_left_of_them_are_counted_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    let torn = gzip(&(start("a") + &start("b")));
    let file = [&torn[..torn.len() - 10], &gzip(&start("c"))].concat();
    plant(folder.path(), "calls/20260101_0000.jsonl.gz", &file);
    // A process that was killed in a line, and what the next one wrote behind it.
    let lines = start("d") + "{\"type\": \"call_sta" + &start("e") + "[]\n\0\0\n" + &start("f");
    plant(folder.path(), "calls/20260101_0001.jsonl", lines.as_bytes());
    let missing =
        json!({"file_id": "0198c0de-0000-7000-8000-000000000000", "name": "x", "size": 3});
    let hostile = json!({"file_id": "../../secret", "name": "x", "size": 3});
    let cut = json!({"file_id": "0198c0de-0000-7000-8000-000000000001", "name": "x", "size": 9});
    let raw = plant(folder.path(), "files/0198c0de-0000-7000-8000-000000000001", b"cut");
    let records = [missing, hostile, cut].map(|data| {
        format!(
            "{}\n",
            json!({"type": "file_create", "timestamp": "2026-01-01T00:00:00", "data": data})
        )
    });
    plant(folder.path(), "files_metadata/20260101_0000.jsonl", records.concat().as_bytes());

    let server = open_at(folder.path());
    let project = project("me/mine");
    let ids = call_ids(&server, &project);
    assert_eq!(ids.iter().filter(|id| !["a", "b"].contains(&id.as_str())).count(), 4, "{ids:?}");
    assert!(["c", "d", "e", "f"].iter().all(|id| ids.contains(&(*id).to_owned())), "{ids:?}");
    let imported = server.imported(&project).unwrap();
    assert_eq!(imported.files, 3);
    assert_eq!(imported.records, ids.len() as u64);
    // The tear, `[]` and the zeros, and three records of files.
    assert_eq!(imported.damaged, 1 + 2 + 3);
    assert!(raw.exists());
    let kept = |kind| {
        let names = names_in(&folder.path().join("me/mine").join(kind));
        names.iter().filter(|name| name.ends_with(".prototype")).count()
    };
    assert_eq!((kept("calls"), kept("files_metadata")), (2, 1));
    // It is not read again.
    drop(server);
    let server = open_at(folder.path());
    assert_eq!(call_ids(&server, &project), ids);
    assert_eq!(server.imported(&project).unwrap(), imported);
}

#[test]
fn what_the_prototype_delivered_is_left_out_and_cleaned_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let old = [
        "calls/20260101_0000.jsonl.synced.gz",
        "calls/20260101_0000.jsonl.synced.synced.gz",
        "calls/20260101_0001.synced.jsonl",
        "objects/20260101_0000.synced.jsonl.gz",
        "files_metadata/20260101_0000.jsonl.synced.gz",
    ];
    let week = Duration::from_secs(7 * 86_400);
    for name in old {
        let path = plant(folder.path(), name, &gzip(&start("delivered")));
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - week - Duration::from_secs(60)).unwrap();
    }
    let young = plant(folder.path(), "calls/20260102_0000.jsonl.synced.gz", &gzip(&start("x")));
    plant(folder.path(), "calls/20260103_0000.jsonl.gz", &gzip(&start("waits")));
    let server = open_at(folder.path());
    let project = project("me/mine");
    assert_eq!(call_ids(&server, &project), ["waits"]);
    assert!(entries(&server, &project, Kind::Objects).is_empty());
    assert_eq!(server.clean_synced_files(week).unwrap().files, 5);
    assert!(young.exists());
    assert_eq!(server.clean_synced_files(Duration::ZERO).unwrap().files, 1);
    assert!(!young.exists());
    assert_eq!(call_ids(&server, &project), ["waits"]);
}

#[test]
fn a_later_file_of_the_same_name_is_not_taken_for_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let project = project("me/mine");
    for id in ["first", "second"] {
        plant(folder.path(), "calls/20260101_0000.jsonl.gz", &gzip(&start(id)));
        open_at(folder.path()).spool(&project, Kind::Calls).unwrap();
    }
    let server = open_at(folder.path());
    assert_eq!(call_ids(&server, &project), ["first", "second"]);
    assert_eq!(server.imported(&project).unwrap().files, 2);
}

#[test]
fn plain_files_of_our_own_are_not_taken_for_the_prototypes() {
    let folder = tempfile::tempdir().unwrap();
    let project = project("me/mine");
    let options = OfflineOptions { compress: false, min_free_bytes: Some(0), ..Default::default() };
    for round in 0..2 {
        let server = OfflineTraceServer::open(folder.path(), options.clone()).unwrap();
        server.log(&project, &[call(&format!("ours {round}"))]).unwrap();
        plant(folder.path(), "calls/20200101_0000.jsonl", start("theirs").as_bytes());
    }
    let server = open_at(folder.path());
    assert_eq!(call_ids(&server, &project), ["ours 0", "theirs", "ours 1", "theirs"]);
    assert_eq!(server.imported(&project).unwrap().files, 2);
}

#[test]
fn an_open_spool_leaves_what_the_prototype_writes_for_the_next_who_opens_it() {
    let folder = tempfile::tempdir().unwrap();
    let project = project("me/mine");
    let server = open_at(folder.path());
    server.log(&project, &[call("ours")]).unwrap();
    plant(folder.path(), "calls/20200101_0000.jsonl.gz", &gzip(&start("theirs")));
    let spool = server.spool(&project, Kind::Calls).unwrap().unwrap();
    spool.maintain().unwrap();
    assert_eq!(spool.status().unwrap().quarantined, 0);
    assert_eq!(call_ids(&server, &project), ["ours"]);
    drop((spool, server));
    assert_eq!(call_ids(&open_at(folder.path()), &project), ["ours", "theirs"]);
}

#[test]
fn two_processes_that_find_a_folder_at_once_take_it_over_once() {
    let folder = tempfile::tempdir().unwrap();
    prototype(folder.path(), "me/mine", 100, &[], &zone());
    let start = |_| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "offline::imported::import_in_a_time_zone"])
            .env("BACKHAUL_WEAVE_IMPORT", folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..4).map(start).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_is_all_there(&open_at(folder.path()), &project("me/mine"), 100);
}

/// A simulated disk with a folder of the prototype.
fn with_prototype(calls: u32) -> SimDisk {
    let folder = tempfile::tempdir().unwrap();
    prototype(&folder.path().join(&DIR[1..]), "me/mine", calls, &[], &zone());
    let disk = SimDisk::new();
    disk.import_from(folder.path()).unwrap();
    disk
}

/// Cuts the power at each flush of an import, and lets the next one finish it, which is cut
/// as well. How many images there were.
fn cut_imports(sabotage: fn(&SimDisk)) -> Result<usize, String> {
    let original = with_prototype(4);
    let project = project("me/mine");
    let mut random = Prng::new(11);
    let mut images = vec![original];
    let mut seen = 0;
    for _round in 0..2 {
        let mut next = Vec::new();
        for disk in images {
            let moments = Arc::new(Mutex::new(Vec::<SimSnapshot>::new()));
            let of_hook = Arc::clone(&moments);
            sabotage(&disk);
            disk.on_flush(Box::new(move |moment| of_hook.lock().unwrap().push(moment.clone())));
            open(&disk).spool(&project, Kind::Calls).map_err(|error| error.to_string())?;
            disk.clear_on_flush();
            let moments = std::mem::take(&mut *moments.lock().unwrap());
            for (at, moment) in moments.iter().enumerate() {
                let style =
                    if at % 3 == 0 { CrashStyle::WORST } else { CrashStyle::random(&mut random) };
                let image = moment.crash_image(&mut random, &style);
                seen += 1;
                let check = moment.crash_image(&mut random.clone(), &style);
                let _ = check;
                let verified = image.crash_image(&mut random, &CrashStyle::KEEP_ALL);
                let result = std::panic::catch_unwind(|| {
                    assert_is_all_there(&open(&verified), &"me/mine".parse().unwrap(), 4);
                });
                result.map_err(|_| format!("{:?} {style:?}", moment.point()))?;
                if at % 9 == 0 {
                    next.push(image);
                }
            }
        }
        images = next;
    }
    Ok(seen)
}

#[test]
fn an_import_that_the_power_cuts_at_any_flush_is_finished_with_each_record_once() {
    let images = cut_imports(|_| {}).unwrap();
    assert!(images > 300, "{images} images are no test");
}

#[test]
fn an_import_that_is_not_flushed_is_noticed() {
    cut_imports(|disk| disk.ignore_flushes(true)).expect_err("flushes were ignored");
}

#[test]
fn an_import_that_the_disk_stops_anywhere_is_an_error_and_is_finished_later() {
    let project = project("me/mine");
    let mut failed = 0;
    for (call, errno) in [
        (Call::Write, ENOSPC),
        (Call::Flush, EIO),
        (Call::Rename, EIO),
        (Call::SyncDir, EIO),
        (Call::Remove, EIO),
    ] {
        for at in 0..30 {
            let disk = with_prototype_cached();
            let faults = Faults::new();
            let faulty = FaultyDisk::new(disk.clone(), faults.clone());
            let server = open_on(Arc::new(faulty), options(), &ManualClock::new()).unwrap();
            faults.add(Fault::new(call, errno).after(at * 2).times(1));
            failed += usize::from(server.spool(&project, Kind::Calls).is_err());
            faults.clear();
            assert_is_all_there(&server, &project, 2);
        }
    }
    assert!(failed > 20, "{failed} failures are no test");
}

fn with_prototype_cached() -> SimDisk {
    static FOLDER: std::sync::OnceLock<SimDisk> = std::sync::OnceLock::new();
    let disk = FOLDER.get_or_init(|| with_prototype(2));
    disk.crash_image(&mut Prng::new(1), &CrashStyle::KEEP_ALL)
}
