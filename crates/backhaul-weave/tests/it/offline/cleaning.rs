//! What was delivered goes, and nothing else does.

use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{Disk as _, Limits, Settled, State};
use backhaul_testkit::{ManualClock, SimDisk};
use backhaul_weave::{Kind, OfflineTraceServer, ProjectId, TraceErrorKind, digest};
use serde_json::json;

use super::hooked::Hooked;
use super::support::{
    call, call_ids, deliver, deliver_all, entries, object, open, open_on, options, project,
};

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn delivered_data_goes_by_age_of_all_projects_and_kinds() {
    let disk = SimDisk::new();
    let clock = ManualClock::new();
    let server = open_on(Arc::new(disk.clone()), options(), &clock).unwrap();
    let projects = ["me/one", "me/two"].map(project);
    for project in &projects {
        server.log(project, &[call("old")]).unwrap();
        server.create_object(project, &object("thing", &json!(1))).unwrap();
        server.create_table(project, &json!({"rows": [{"a": 1}]})).unwrap();
        server.create_file(project, "a", None, b"abc").unwrap();
        deliver_all(&server, project);
    }
    clock.advance(6 * DAY);
    assert_eq!(server.clean_synced_files(7 * DAY).unwrap().files, 0);
    clock.advance(DAY);
    let cleaned = server.clean_synced_files(7 * DAY).unwrap();
    // Metadata, files and their bytes, tables, objects, calls.
    assert_eq!((cleaned.files, cleaned.records), (2 * 6, 2 * 5));
    assert!(cleaned.bytes > 0);
    for project in &projects {
        assert!(Kind::ALL.iter().all(|kind| entries(&server, project, *kind).is_empty()));
    }
}

#[test]
fn what_waits_stays_with_the_bytes_that_it_names() {
    let disk = SimDisk::new();
    let server = open(&disk);
    let project = project("me/mine");
    let both = server.create_file(&project, "delivered", None, b"both").unwrap();
    let gone = server.create_file(&project, "delivered", None, b"gone").unwrap();
    deliver(&server, &project, Kind::Files);
    // The bytes are named again, by a record that waits in a file of its own.
    let spool = server.spool(&project, Kind::Files).unwrap().unwrap();
    assert_eq!(spool.clean(Duration::ZERO).unwrap().records, 2);
    server.create_file(&project, "waits", None, b"both").unwrap();
    server.log(&project, &[call("waits")]).unwrap();
    assert_eq!(server.clean_synced_files(Duration::ZERO).unwrap().files, 1);
    assert_eq!(server.file(&project, &both).unwrap(), b"both");
    assert_eq!(server.file(&project, &gone).unwrap_err().kind(), TraceErrorKind::NotFound);
    assert_eq!(call_ids(&server, &project), ["waits"]);
}

#[test]
fn what_was_refused_stays_for_its_owner_to_decide() {
    let disk = SimDisk::new();
    let server = open(&disk);
    let project = project("me/mine");
    let digest = server.create_file(&project, "refused", None, b"abc").unwrap();
    let spool = server.spool(&project, Kind::Files).unwrap().unwrap();
    let batch = spool.take(&Limits::default()).unwrap().unwrap();
    let refused = Settled::new(State::Rejected).reason("no");
    spool.settle(&[(batch.records[0].record.id.position, refused)]).unwrap();
    assert_eq!(server.clean_synced_files(Duration::ZERO).unwrap().files, 0);
    assert_eq!(server.file(&project, &digest).unwrap(), b"abc");
    assert_eq!(spool.requeue_all().unwrap(), 1);
}

/// A folder, and what happens in the middle of the call that comes next.
fn with_a_file() -> (Hooked, OfflineTraceServer, ProjectId, std::path::PathBuf) {
    let disk = Hooked::default();
    let server = open_on(Arc::new(disk.clone()), options(), &ManualClock::new()).unwrap();
    let project = project("me/mine");
    server.create_file(&project, "delivered", None, b"abc").unwrap();
    deliver(&server, &project, Kind::Files);
    let folder = server.dir().join("me/mine");
    (disk, server, project, folder)
}

#[test]
fn bytes_that_a_record_is_about_to_name_are_not_removed() {
    let (disk, server, project, folder) = with_a_file();
    let cleaner = server.clone();
    // The bytes have their name, and no record has it yet.
    disk.at(folder.join("files").join(digest::of_file(b"new")), move || {
        assert!(cleaner.clean_synced_files(Duration::ZERO).unwrap().records > 0);
    });
    let digest = server.create_file(&project, "new", None, b"new").unwrap();
    assert!(disk.has_called());
    assert_eq!(server.file(&project, &digest).unwrap(), b"new");
    // Nobody is about to name those any more.
    assert_eq!(server.clean_synced_files(Duration::ZERO).unwrap().files, 1);
    assert_eq!(server.file(&project, &digest).unwrap(), b"new");
}

#[test]
fn bytes_that_were_named_again_since_they_were_looked_for_are_not_removed() {
    let (disk, server, project, folder) = with_a_file();
    let (other, of_other) = (server.clone(), project.clone());
    // All records were read, and the lock is not held yet.
    disk.at(folder.join("files.lock"), move || {
        other.create_file(&of_other, "again", None, b"abc").unwrap();
    });
    assert!(server.clean_synced_files(Duration::ZERO).unwrap().records > 0);
    assert!(disk.has_called());
    assert_eq!(server.file(&project, &digest::of_file(b"abc")).unwrap(), b"abc");
}

#[test]
fn files_are_stored_while_others_are_removed_and_every_record_has_its_bytes() {
    let disk = SimDisk::new();
    let server = open(&disk);
    let project = project("me/mine");
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3_u8)
            .map(|thread| {
                let (server, project) = (server.clone(), &project);
                // The same few contents again and again: named, delivered, named anew.
                scope.spawn(move || {
                    for round in 0..100 {
                        let content = [thread % 2, round % 2];
                        server.create_file(project, "a", None, &content).unwrap();
                    }
                })
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            deliver(&server, &project, Kind::Files);
            server.clean_synced_files(Duration::ZERO).unwrap();
            // Nobody but this thread removes records, or bytes.
            for entry in entries(&server, &project, Kind::Files) {
                server.file(&project, entry.value()["digest"].as_str().unwrap()).unwrap();
            }
        }
    });
}

#[test]
fn files_that_a_dead_process_left_half_made_are_removed() {
    let disk = SimDisk::new();
    let project = project("me/mine");
    let digest = open(&disk).create_file(&project, "a", None, b"abc").unwrap();
    let files = std::path::Path::new(super::support::DIR).join("me/mine/files");
    let stale = files.join(format!("{digest}.4711-1.tmp"));
    disk.write_file(&stale, b"half").unwrap();
    let server = open(&disk);
    // Not while it may be of a living one.
    let lock =
        disk.open(&files.with_file_name("files.lock"), backhaul_store::Open::Create).unwrap();
    assert!(lock.try_lock_shared().unwrap());
    server.spool(&project, Kind::Calls).unwrap();
    assert!(disk.paths().contains(&stale));
    drop((lock, server));
    open(&disk).spool(&project, Kind::Calls).unwrap();
    assert!(!disk.paths().contains(&stale));
    assert_eq!(open(&disk).file(&project, &digest).unwrap(), b"abc");
}
