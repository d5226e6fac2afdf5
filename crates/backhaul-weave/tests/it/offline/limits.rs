//! Rotation, one cap on the folder, and what is left free.

use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{Disk as _, ErrorKind, Options, WhenFull};
use backhaul_testkit::{ManualClock, Prng, SimDisk};
use backhaul_weave::{
    Entry, EntryType, Kind, OfflineOptions, OfflineTraceServer, ProjectId, TraceErrorKind,
};
use serde_json::json;

use super::support::{
    DIR, call, call_ids, deliver, deliver_all, entries, open_on, options, project,
};

const CAP: u64 = 2_000_000;

fn capped() -> OfflineOptions {
    OfflineOptions { max_bytes: Some(CAP), ..options() }
}

/// A call of about so many bytes that no compression makes fewer.
fn large(id: &str, len: usize, random: &mut Prng) -> Entry {
    let noise: String = random.bytes(len / 2).iter().map(|byte| format!("{byte:02x}")).collect();
    Entry::of_value(EntryType::CallStart, &json!({"id": id, "inputs": {"noise": noise}}))
}

fn bytes_on(disk: &SimDisk) -> u64 {
    let files = disk.paths().into_iter().filter(|path| path.starts_with(DIR));
    files.map(|path| (disk.read_file(path).unwrap().len() as u64).next_multiple_of(4096)).sum()
}

/// Logs until it is refused. The ids that were acknowledged.
fn fill(server: &OfflineTraceServer, project: &ProjectId, disk: &SimDisk) -> Vec<String> {
    let mut random = Prng::new(1);
    let mut logged = Vec::new();
    for number in 0..2_000 {
        let id = format!("{project}-{number}");
        match server.log(project, &[large(&id, 6_000, &mut random)]) {
            Ok(_) => logged.push(id),
            Err(error) => {
                assert_eq!(error.kind(), TraceErrorKind::Store);
                assert_eq!(error.store_kind(), Some(ErrorKind::Full), "{error:?}");
                return logged;
            }
        }
        let bytes = bytes_on(disk);
        assert!(bytes <= CAP + 64_000, "{bytes} bytes");
    }
    panic!("nothing was refused");
}

#[test]
fn one_cap_holds_over_all_projects_and_nothing_that_waits_gives_way() {
    let disk = SimDisk::new();
    let server = open_on(Arc::new(disk.clone()), capped(), &ManualClock::new()).unwrap();
    let [one, two] = ["me/one", "me/two"].map(project);
    let logged = fill(&server, &one, &disk);
    assert!(logged.len() > 100, "{}", logged.len());
    // There is no room in another project either.
    assert!(fill(&server, &two, &disk).len() < 5);
    assert_eq!(call_ids(&server, &one), logged);
}

#[test]
fn at_the_cap_the_oldest_delivered_data_goes_first_whichever_project_it_is_of() {
    let disk = SimDisk::new();
    let clock = ManualClock::new();
    let server = open_on(Arc::new(disk.clone()), capped(), &clock).unwrap();
    let mut random = Prng::new(2);
    let projects = ["me/oldest", "me/old", "me/young"].map(project);
    for project in &projects {
        for number in 0..60 {
            server.log(project, &[large(&number.to_string(), 6_000, &mut random)]).unwrap();
        }
        deliver_all(&server, project);
        clock.advance(Duration::from_secs(8 * 86_400));
    }
    let new = project("me/new");
    for number in 0..50 {
        server.log(&new, &[large(&number.to_string(), 6_000, &mut random)]).unwrap();
    }
    assert_eq!(call_ids(&server, &new).len(), 50);
    let left = projects.each_ref().map(|project| call_ids(&server, project).len());
    assert!(left[0] < left[1].max(1) && left[2] == 60, "{left:?}");
}

#[test]
fn the_bytes_of_delivered_files_make_room_too() {
    let disk = SimDisk::new();
    let server = open_on(Arc::new(disk.clone()), capped(), &ManualClock::new()).unwrap();
    let project = project("me/mine");
    let mut random = Prng::new(3);
    for _ in 0..30 {
        server.create_file(&project, "a", None, &random.bytes(200_000)).unwrap();
        deliver(&server, &project, Kind::Files);
        assert!(bytes_on(&disk) <= CAP + 64_000);
    }
    let error = (0..30)
        .find_map(|_| server.create_file(&project, "a", None, &random.bytes(200_000)).err())
        .expect("nothing was refused");
    assert_eq!(error.store_kind(), Some(ErrorKind::Full));
}

#[test]
fn what_was_there_before_counts_and_so_does_what_others_add() {
    let disk = SimDisk::new();
    let clock = ManualClock::new();
    let open = || open_on(Arc::new(disk.clone()), capped(), &clock).unwrap();
    let [one, two] = ["me/one", "me/two"].map(project);
    assert!(fill(&open(), &one, &disk).len() > 100);
    let server = open();
    assert!(fill(&server, &two, &disk).len() < 5);
    // Another process delivers and cleans; the next measurement sees it.
    let other = open();
    deliver_all(&other, &one);
    // The other project is in use.
    let error = other.clean_synced_files(Duration::ZERO).unwrap_err();
    assert_eq!(error.store_kind(), Some(ErrorKind::Busy));
    drop(other);
    clock.advance(Duration::from_secs(11));
    assert!(fill(&server, &two, &disk).len() > 50);
}

#[test]
fn where_the_owner_says_so_waiting_records_make_room() {
    let disk = SimDisk::new();
    let store = Options { when_full: WhenFull::DropOldest, ..options().store };
    let options = OfflineOptions { store, ..capped() };
    let server = open_on(Arc::new(disk.clone()), options, &ManualClock::new()).unwrap();
    let project = project("me/mine");
    let mut random = Prng::new(4);
    for number in 0..600 {
        server.log(&project, &[large(&number.to_string(), 6_000, &mut random)]).unwrap();
        assert!(bytes_on(&disk) <= CAP + 64_000);
    }
    let ids = call_ids(&server, &project);
    assert_eq!(ids.last().map(String::as_str), Some("599"));
    let books = server.spool(&project, Kind::Calls).unwrap().unwrap().status().unwrap().books;
    assert!(books.evicted > 300 && books.balance(), "{books:?}");
}

#[test]
fn a_cap_that_nothing_fits_in_is_refused_by_name() {
    let options = OfflineOptions { max_bytes: Some(999_999), ..options() };
    let error = open_on(Arc::new(SimDisk::new()), options, &ManualClock::new()).unwrap_err();
    assert_eq!(error.kind(), TraceErrorKind::InvalidInput);
    assert_eq!(
        error.to_string(),
        "max_bytes is 999999: expected at least 1000000, or none for no cap"
    );
}

#[test]
fn files_are_closed_by_their_size_on_disk_and_not_by_what_was_written() {
    let disk = SimDisk::new();
    let options = OfflineOptions { max_file_size: 64 << 10, ..options() };
    let server = open_on(Arc::new(disk.clone()), options, &ManualClock::new()).unwrap();
    let project = project("me/mine");
    // Compresses to a hundredth: 2 MB of text.
    let text = "sensor ".repeat(3_000);
    let entries: Vec<Entry> = (0..100)
        .map(|id| {
            Entry::of_value(EntryType::CallStart, &json!({"id": id.to_string(), "text": text}))
        })
        .collect();
    server.log(&project, &entries).unwrap();
    let segments = || {
        let dir = std::path::Path::new(DIR).join("me/mine/calls");
        let files = disk.list(&dir).unwrap().into_iter();
        files
            .filter(|entry| entry.name.ends_with(".jsonl.gz"))
            .map(|entry| entry.len)
            .collect::<Vec<_>>()
    };
    assert_eq!(segments().len(), 1);
    let mut random = Prng::new(5);
    for number in 0..40 {
        server.log(&project, &[large(&number.to_string(), 8_000, &mut random)]).unwrap();
    }
    let lengths = segments();
    assert!((4..10).contains(&lengths.len()), "{lengths:?}");
    assert!(lengths.iter().all(|len| *len <= (64 << 10) + (16 << 10)), "{lengths:?}");
    let names = disk.list(&std::path::Path::new(DIR).join("me/mine/calls")).unwrap();
    assert!(names.iter().any(|entry| entry.name == "20260101_0000.jsonl.gz"));
    assert!(names.iter().any(|entry| entry.name == "20260101_0001.jsonl.gz"));
}

#[test]
fn the_larger_of_200_mb_and_a_twentieth_is_left_free() {
    for (total, floor) in [(1_000_000_000, 200_000_000), (8_000_000_000_u64, 400_000_000)] {
        let disk = SimDisk::new();
        let options = OfflineOptions { min_free_bytes: None, ..options() };
        let server = open_on(Arc::new(disk.clone()), options, &ManualClock::new()).unwrap();
        let project = project("me/mine");
        server.log(&project, &[call("before")]).unwrap();
        // As the file system was when the spool was opened.
        disk.set_capacity(total, u64::MAX);
        drop(server);
        let options = OfflineOptions { min_free_bytes: None, ..super::support::options() };
        let server = open_on(Arc::new(disk.clone()), options, &ManualClock::new()).unwrap();
        server.log(&project, &[call("with room")]).unwrap();
        server.create_file(&project, "a", None, b"with room").unwrap();
        // Others fill it up: a capacity that is smaller by what they took.
        disk.set_capacity(disk.total_bytes() + floor + 200_000, u64::MAX);
        let mut random = Prng::new(6);
        let error = (0..100)
            .find_map(|id| {
                server.log(&project, &[large(&id.to_string(), 20_000, &mut random)]).err()
            })
            .expect("the floor was passed");
        assert_eq!(error.store_kind(), Some(ErrorKind::Full));
        let error = server.create_file(&project, "a", None, &random.bytes(300_000)).unwrap_err();
        assert_eq!(error.store_kind(), Some(ErrorKind::Full));
        // What a spool writes to be opened at all is not asked for.
        let free = disk.space(std::path::Path::new(DIR)).unwrap().free_bytes;
        assert!(free >= floor - 64_000, "{free}");
        assert!(entries(&server, &project, Kind::Calls).len() >= 2);
    }
}
