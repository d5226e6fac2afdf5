//! A program that logs is killed, and what it was told is durable is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use backhaul_testkit::Prng;
use backhaul_weave as weave;
use weave::{CallRecord, CallStatus, OfflineOptions};

const FOLDER: &str = "BACKHAUL_WEAVE_PROGRAM_FOLDER";
/// How it asks for its calls to be durable.
const FORM: &str = "BACKHAUL_WEAVE_PROGRAM_FORM";
const FIRST: &str = "BACKHAUL_WEAVE_PROGRAM_FIRST";
/// How often a program is killed, where that is said.
const KILLS: &str = "BACKHAUL_WEAVE_KILLS";

#[weave::op]
fn inner(n: u64) -> u64 {
    n + 1
}

#[weave::op]
fn outer(n: u64) -> u64 {
    inner(n)
}

/// One system call on a pipe: either all of it is read, or nothing.
fn say(what: &str, number: u64) {
    std::io::stdout().write_all(format!("{what} {number}\n").as_bytes()).unwrap();
}

/// NOT A TEST. The tests below start this very program again with [`FOLDER`] set.
#[test]
fn program() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let form = std::env::var(FORM).unwrap();
    // Files small enough that there are several.
    let options = OfflineOptions {
        max_file_size: 64 << 10,
        min_free_bytes: Some(0),
        ..OfflineOptions::default()
    };
    let client = weave::init("me/mine")
        .offline(true)
        .offline_dir(folder)
        .options(options)
        .durable(form == "durable")
        .collect_for(Duration::from_millis(2))
        .start()
        .unwrap();
    std::io::stdout().write_all(b"\n").unwrap();
    for n in first.. {
        let open = weave::call("open").input("n", n).start().unwrap();
        outer(n);
        match form.as_str() {
            "durable" => say("ack", n),
            "flushed" if n % 10 == 9 => {
                client.flush().unwrap();
                (n - 9..=n).for_each(|n| say("ack", n));
            }
            // It acknowledges what it has not stored.
            "sabotaged" => say("ack", n),
            _ => {}
        }
        // The last ones never end.
        if n % 3 != 0 {
            open.finish(n);
        }
    }
}

fn start(folder: &Path, form: &str, first: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "client::kills::program", "--nocapture"])
        .env(FOLDER, folder)
        .env(FORM, form)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Lets a program say so much, and a moment pass, kills it, and gives what it said in all.
fn kill_after(mut child: Child, wanted: usize, then: Duration) -> Vec<u64> {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    let acknowledged = |text: &str| -> Vec<u64> {
        text.lines().filter_map(|line| line.strip_prefix("ack ")?.parse().ok()).collect()
    };
    while acknowledged(&text).len() < wanted {
        assert!(output.read_line(&mut text).unwrap() > 0, "it ended by itself: {text}");
    }
    // The moment of the kill is what varies: nothing waits for it.
    std::thread::sleep(then);
    child.kill().unwrap();
    output.read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    acknowledged(&text)
}

/// What is wrong with what is there.
fn faults(folder: &Path, acknowledged: &[u64]) -> Vec<String> {
    let calls = weave::calls_in(folder, "me/mine").unwrap().list().unwrap();
    let ids: BTreeSet<&str> = calls.iter().map(CallRecord::id).collect();
    let mut faults = Vec::new();
    if ids.len() != calls.len() {
        faults.push("a call is there twice".to_owned());
    }
    let mut by_number: BTreeMap<(u64, &str), &CallRecord> = BTreeMap::new();
    for call in &calls {
        let number = call.inputs()["n"].as_u64().unwrap();
        by_number.insert((number, call.op_name()), call);
        let is_whole = match call.status() {
            CallStatus::Running => call.ended_at().is_none() && call.output().is_null(),
            CallStatus::Success => call.ended_at().is_some() && call.output().is_u64(),
            CallStatus::Error => false,
        };
        if !is_whole {
            faults.push(format!("{} is neither whole nor running", call.as_json()));
        }
    }
    for number in acknowledged {
        for op in ["outer", "inner"] {
            let call = by_number.get(&(*number, op));
            if call.is_none_or(|call| call.output() != number + 1) {
                faults.push(format!("{op} {number} is lost"));
            }
        }
        let (outer, inner) =
            (by_number.get(&(*number, "outer")), by_number.get(&(*number, "inner")));
        if inner.and_then(|call| call.parent_id()) != outer.map(|call| call.id()) {
            faults.push(format!("{number} stands elsewhere"));
        }
    }
    faults
}

/// Kills a program so often, which then goes on in the same folder.
fn killed(form: &str, kills: u64, seed: u64) -> (usize, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Prng::new(seed);
    let mut acknowledged = Vec::new();
    for kill in 0..kills {
        let child = start(folder.path(), form, kill * 1_000_000);
        let then = Duration::from_micros(random.below(4_000));
        acknowledged.extend(kill_after(child, 1 + random.index(30), then));
    }
    (acknowledged.len(), faults(folder.path(), &acknowledged))
}

fn kills(default: u64) -> u64 {
    std::env::var(KILLS).map_or(default, |kills| kills.parse().unwrap())
}

#[test]
fn a_durable_call_outlives_its_program_however_often_that_is_killed() {
    let (acknowledged, faults) = killed("durable", kills(100), 1);
    println!("{acknowledged} calls acknowledged by durable ops");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_flushed_call_outlives_its_program_however_often_that_is_killed() {
    let (acknowledged, faults) = killed("flushed", kills(100), 2);
    println!("{acknowledged} calls acknowledged by flushes");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn an_acknowledgement_before_the_disk_has_the_call_is_noticed() {
    let (_, faults) = killed("sabotaged", 20, 3);
    assert!(!faults.is_empty());
}

#[test]
fn a_program_that_ends_by_itself_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for form in ["returns", "exits", "finishes"] {
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "client::kills::short_program", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(FORM, form)
            .output()
            .unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    let calls = weave::calls_in(folder.path(), "me/mine").unwrap().op("outer").list().unwrap();
    assert_eq!(calls.len(), 30);
    assert!(calls.iter().all(|call| call.status() == CallStatus::Success));
}

/// NOT A TEST. The test above starts this very program again with [`FOLDER`] set.
#[test]
fn short_program() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let form = std::env::var(FORM).unwrap();
    let client = weave::init("me/mine").offline(true).offline_dir(folder);
    // Nothing would be stored in time without being asked to.
    let client = client.collect_for(Duration::from_secs(3600)).start().unwrap();
    assert_eq!((0..10).map(outer).sum::<u64>(), 55);
    match form.as_str() {
        "exits" => std::process::exit(0),
        "finishes" => client.finish().unwrap(),
        _ => {}
    }
}
