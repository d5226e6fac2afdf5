//! Files as the prototype left them, written by CPython: whole, killed, torn and followed by
//! more, written by several threads and processes at once.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Cursor, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use backhaul_testkit::Prng;
use backhaul_weave::salvage::{self, Salvaged};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

fn prototype(arguments: &[&str]) -> Child {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/prototype.py");
    Command::new("python3")
        .arg(script)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test reads what the real python3 writes, which has to be installed")
}

fn number_of(line: &[u8]) -> Option<u64> {
    let record: Value = serde_json::from_slice(line).ok()?;
    record["data"]["id"].as_str()?.parse().ok()
}

/// The numbers that are found, each once.
fn salvaged(path: &Path) -> (BTreeSet<u64>, Salvaged) {
    let mut numbers = BTreeSet::new();
    let file = BufReader::new(File::open(path).unwrap());
    let salvaged = salvage::lines(file, |line| {
        let number = number_of(line);
        number.is_some_and(|number| {
            assert!(numbers.insert(number), "{number} is read twice");
            true
        })
    });
    (numbers, salvaged.unwrap())
}

/// Has a process append, and kills it when it has said so many numbers.
fn append_and_kill(path: &str, from: u64, count: u64) {
    let mut child = prototype(&["append", path, &from.to_string(), "1000000"]);
    let said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(said.take(usize::try_from(count).unwrap()).count() as u64, count);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_file_that_was_closed_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("20260101_0000.jsonl.gz");
    let text = path.to_str().unwrap();
    for (from, to) in [("0", "300"), ("300", "500")] {
        assert!(
            prototype(&["append", text, from, to]).wait_with_output().unwrap().status.success()
        );
    }
    let (numbers, salvaged) = salvaged(&path);
    assert_eq!(numbers, (0..500).collect());
    assert!(salvaged.is_whole());
}

#[test]
fn every_record_that_was_flushed_before_a_kill_is_found_and_those_of_the_next_process_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("20260101_0000.jsonl.gz");
    let text = path.to_str().unwrap();
    append_and_kill(text, 0, 300);
    append_and_kill(text, 1_000_000 - 700, 200);
    let whole = std::fs::read(&path).unwrap();
    let (numbers, report) = salvaged(&path);
    let expected: BTreeSet<u64> = (0..300).chain(999_300..999_500).collect();
    assert!(expected.is_subset(&numbers), "{report:?}");
    assert!(report.breaks > 0);
    // Torn at any place of its end, the file loses no more than what was behind the tear.
    let mut prng = Prng::new(7);
    for _ in 0..200 {
        let len = whole.len() - prng.index(whole.len() / 2);
        std::fs::write(&path, &whole[..len]).unwrap();
        let (numbers, _) = salvaged(&path);
        assert!(numbers.len() >= 250, "{} of {len} bytes", numbers.len());
    }
}

#[test]
fn what_is_appended_behind_a_tear_is_found_wherever_the_tear_is() {
    // A member, and how long it was after each record.
    let member = |numbers: std::ops::Range<u64>| {
        let mut lengths = Vec::new();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        for number in numbers {
            writeln!(gzip, "{{\"data\": {{\"id\": \"{number:08}\"}}}}").unwrap();
            gzip.flush().unwrap();
            lengths.push(gzip.get_ref().len());
        }
        (gzip.finish().unwrap(), lengths)
    };
    let ((torn, lengths), (next, _)) = (member(0..50), member(50..100));
    for len in 0..torn.len() {
        let file = [&torn[..len], &next].concat();
        let mut numbers = BTreeSet::new();
        let report = salvage::lines(Cursor::new(file), |line| {
            number_of(line).is_some_and(|number| numbers.insert(number))
        });
        assert!((50..100).all(|number| numbers.contains(&number)), "cut at {len}: {report:?}");
        let before = numbers.range(..50).count();
        let flushed = lengths.iter().filter(|flushed| **flushed <= len).count();
        assert!(before >= flushed, "cut at {len}: {before} of {flushed}");
        assert!(numbers.range(..50).copied().eq(0..before as u64), "cut at {len}");
    }
}

#[test]
fn files_of_several_threads_and_processes_give_what_is_left_and_never_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("threads.jsonl.gz");
    prototype(&["threads", path.to_str().unwrap(), "2000"]).wait_with_output().unwrap();
    says_where_records_are_missing(&path, 2000);

    let path = folder.path().join("processes.jsonl.gz");
    let text = path.to_str().unwrap();
    let both = [("0", "500"), ("500", "1000")];
    let children = both.map(|(from, to)| prototype(&["append", text, from, to]));
    for child in children {
        child.wait_with_output().unwrap();
    }
    says_where_records_are_missing(&path, 1000);
}

/// How much is left is a matter of chance; that it is said where some of it is not, is none.
#[track_caller]
fn says_where_records_are_missing(path: &Path, count: u64) {
    let mut numbers = BTreeSet::new();
    let file = BufReader::new(File::open(path).unwrap());
    // What several wrote over each other may well read as a record that was there before.
    let report =
        salvage::lines(file, |line| number_of(line).map(|number| numbers.insert(number)).is_some());
    let (found, report) = (numbers.range(..count).count(), report.unwrap());
    assert!(!report.is_whole() || found as u64 == count, "{found} of {count}: {report:?}");
}

#[test]
fn bytes_that_are_no_gzip_are_a_break_and_nothing_is_read() {
    for file in [&b"{\"data\": {}}\n"[..], &[0x1f, 0x8b], &[0x1f, 0x8b, 8, 0xff, 1, 2, 3]] {
        let salvaged = salvage::lines(Cursor::new(file), |_| true).unwrap();
        assert_eq!((salvaged.lines, salvaged.breaks), (0, 1), "{file:?}");
    }
    assert!(salvage::lines(Cursor::new([]), |_| true).unwrap().is_whole());
}
