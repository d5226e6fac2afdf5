//! Several processes and threads log to one folder, and some are killed.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use backhaul_testkit::Prng;
use backhaul_weave::{Kind, OfflineTraceServer, ProjectId, digest};
use serde_json::json;

use super::support::{call, call_ids, entries, object, open_at, project, records};

const FOLDER: &str = "BACKHAUL_WEAVE_CHILD_FOLDER";
const FIRST: &str = "BACKHAUL_WEAVE_CHILD_FIRST";
/// How many rounds each thread makes.
const COUNT: &str = "BACKHAUL_WEAVE_CHILD_COUNT";
/// Sabotage: the process says "acknowledged" before it logs.
const SABOTAGE: &str = "BACKHAUL_WEAVE_CHILD_SABOTAGE";
const THREADS: u64 = 3;

/// Bytes that follow from a number; some processes store the same.
fn content(number: u64) -> Vec<u8> {
    Prng::new(number % 50).bytes(3_000)
}

fn log_round(server: &OfflineTraceServer, project: &ProjectId, number: u64) {
    server.log(project, &[call(&number.to_string())]).unwrap();
    server.create_file(project, "a", None, &content(number)).unwrap();
    let value = json!({"n": number % 10});
    server.create_object(project, &object("thing", &value)).unwrap();
}

/// NOT A TEST. The tests below start this very program again with [`FOLDER`] set.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let count: usize = std::env::var(COUNT).unwrap().parse().unwrap();
    let is_sabotaged = std::env::var(SABOTAGE).is_ok();
    // One system call on a pipe: either all of it is read, or nothing.
    let say = |number: u64| {
        std::io::stdout().write_all(format!("ack {number}\n").as_bytes()).unwrap();
    };
    let (server, project) = (open_at(Path::new(&folder)), project("me/mine"));
    // Ends the line that the test harness has begun.
    std::io::stdout().write_all(b"\n").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (server, project) = (&server, &project);
            scope.spawn(move || {
                let numbers = (first + thread..).step_by(usize::try_from(THREADS).unwrap());
                for number in numbers.take(count) {
                    if is_sabotaged {
                        say(number);
                    }
                    log_round(server, project, number);
                    if !is_sabotaged {
                        say(number);
                    }
                }
            });
        }
    });
}

fn start(folder: &Path, first: u64, count: usize) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "offline::processes::child", "--nocapture"])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .env(COUNT, count.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

fn acknowledged_in(text: &str) -> Vec<u64> {
    text.lines().filter_map(|line| line.strip_prefix("ack ")?.parse().ok()).collect()
}

/// Lets a process say so much, kills it, and gives what it said in all.
fn kill_after(mut child: Child, wanted: usize) -> Vec<u64> {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while acknowledged_in(&text).len() < wanted {
        assert!(output.read_line(&mut text).unwrap() > 0, "it ended by itself: {text}");
    }
    child.kill().unwrap();
    output.read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    acknowledged_in(&text)
}

/// What of the acknowledged numbers is not there. Nothing is there twice.
fn missing(folder: &Path, acknowledged: &[u64]) -> Vec<u64> {
    let (server, project) = (open_at(folder), project("me/mine"));
    let ids = call_ids(&server, &project);
    let there: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(there.len(), ids.len(), "a call is there twice");
    assert_eq!(entries(&server, &project, Kind::Metadata).len(), 1, "introduced once");
    let labels = |kind| -> BTreeSet<String> {
        let records = records(&server, &project, kind);
        records.iter().map(|record| record.facts.labels["digest"].clone()).collect()
    };
    let (files, objects) = (labels(Kind::Files), labels(Kind::Objects));
    let is_there = |number: u64| {
        let file = digest::of_file(&content(number));
        there.contains(&number.to_string())
            && files.contains(&file)
            && server.file(&project, &file).is_ok_and(|stored| stored == content(number))
            && objects.contains(&digest::of_value(&json!({"n": number % 10})))
    };
    acknowledged.iter().copied().filter(|number| !is_there(*number)).collect()
}

#[test]
fn processes_and_threads_log_to_one_folder_at_once_and_all_of_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let children: Vec<Child> =
        (0..3).map(|child| start(folder.path(), child * 1_000, 15).spawn().unwrap()).collect();
    let mut acknowledged = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        acknowledged.extend(acknowledged_in(&String::from_utf8(output.stdout).unwrap()));
    }
    assert_eq!(acknowledged.len(), 3 * 15 * usize::try_from(THREADS).unwrap());
    assert_eq!(missing(folder.path(), &acknowledged), [0; 0]);
}

/// Kills one of two processes again and again, while the other goes on. What is missing then.
fn kill_rounds(rounds: u64, sabotage: bool) -> Vec<u64> {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Prng::new(5);
    let mut acknowledged = Vec::new();
    let long = start(folder.path(), 0, 100_000).spawn().unwrap();
    for round in 1..=rounds {
        let mut command = start(folder.path(), round * 1_000_000, 100_000);
        if sabotage {
            command.env(SABOTAGE, "1");
        }
        acknowledged.extend(kill_after(command.spawn().unwrap(), 1 + random.index(25)));
    }
    acknowledged.extend(kill_after(long, 10));
    missing(folder.path(), &acknowledged)
}

#[test]
fn what_killed_processes_had_acknowledged_is_there() {
    assert_eq!(kill_rounds(8, false), [0; 0]);
}

#[test]
fn an_acknowledgement_that_comes_too_early_is_noticed() {
    // It takes a kill between the two.
    assert!((0..50).any(|_| !kill_rounds(4, true).is_empty()));
}
