//! Records that are logged in a program: `OfflineTraceServer::log` beside Weave's own
//! write-ahead log and the prototype of its offline mode, which are Python.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use backhaul_weave::{Entry, EntryType, OfflineOptions, OfflineTraceServer, ProjectId};

use super::Rounds;
use super::calls::{Call, ENTITY, PROJECT};
use super::child;
use crate::device;
use crate::engines::folder;
use crate::shuffled;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// By so many threads.
    Backhaul(usize),
    Writer,
    Manager,
    Each,
    Prototype,
    Stream,
}

pub const ALL: [How; 7] = [
    How::Backhaul(1),
    How::Backhaul(64),
    How::Each,
    How::Writer,
    How::Manager,
    How::Prototype,
    How::Stream,
];
/// The starts and ends of so many calls.
pub const CALLS: u64 = 10_000;
const SECONDS: f64 = 2.0;

#[derive(Clone, Copy)]
pub struct Logged {
    pub rate: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    flushes: f64,
    pub cpu_per_100k: f64,
    pub bytes: f64,
}

impl How {
    fn key(self) -> &'static str {
        match self {
            How::Backhaul(_) => "backhaul",
            How::Writer => "writer",
            How::Manager => "manager",
            How::Each => "each",
            How::Prototype => "prototype",
            How::Stream => "stream",
        }
    }

    /// What is safe once it returns.
    fn promise(self) -> &'static str {
        match self {
            How::Backhaul(_) => "survives a power cut",
            How::Each => "survives a power cut, but for the file's name",
            How::Writer | How::Manager => "survives the process; a power cut takes up to 64",
            How::Prototype => "survives the process",
            How::Stream => "nothing",
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            How::Backhaul(1) => f.write_str("`OfflineTraceServer::log`, 1 thread"),
            How::Backhaul(threads) => write!(f, "`OfflineTraceServer::log`, {threads} threads"),
            How::Writer => f.write_str("Weave 0.54 `JSONLWALWriter`"),
            How::Manager => f.write_str("Weave 0.54 `WALManager.write`"),
            How::Each => f.write_str("Weave 0.54 `JSONLWALWriter`, a flush for each"),
            How::Prototype => f.write_str("the prototype, gzip"),
            How::Stream => f.write_str("Python, one gzip stream"),
        }
    }
}

pub fn measure(rounds: u64) {
    let work = tempfile::tempdir_in(folder()).expect("a folder");
    let calls = work.path().join("calls.jsonl");
    std::fs::write(&calls, wal_lines(CALLS)).expect("written");
    let mut logged = Rounds::new();
    for round in 0..rounds {
        for how in shuffled(round, &ALL) {
            logged.add(round, how, measure_one(how, &calls));
        }
        eprintln!("log: round {} of {rounds}", round + 1);
    }
    print(&logged);
}

/// The starts and ends of calls as lines of Weave's write-ahead log.
pub fn wal_lines(calls: u64) -> String {
    let mut lines = String::new();
    for call in (0..calls).map(Call::long) {
        let _ = writeln!(lines, r#"{{"type":"call_start","req":{{"start":{}}}}}"#, call.start());
        let _ = writeln!(lines, r#"{{"type":"call_end","req":{{"end":{}}}}}"#, call.end());
    }
    lines
}

pub fn measure_one(how: How, calls: &Path) -> Logged {
    let dir = tempfile::tempdir_in(folder()).expect("a folder");
    let mut command = match how {
        How::Backhaul(threads) => {
            let mut command = child::own("weave-log");
            command.arg(threads.to_string());
            command
        }
        _ => {
            let mut command = child::python("0.54.0");
            command.arg(child::of_repository("bench/weave/wal.py")).arg(how.key());
            command
        }
    };
    let before = device::counters(dir.path());
    let [records, seconds, p50_us, p99_us, cpu, bytes] =
        child::figures(command.arg(calls).arg(dir.path()).arg(SECONDS.to_string()));
    let flushes = device::counters(dir.path()).flushes - before.flushes;
    Logged {
        rate: records / seconds,
        p50_us,
        p99_us,
        flushes: flushes as f64 / records,
        cpu_per_100k: cpu / records * 1e5,
        bytes: bytes / records,
    }
}

fn print(logged: &Rounds<How, Logged>) {
    println!("### Records logged in a program\n");
    println!(
        "| logged by | once it returns, a record | records/s: median (low to high) | p50 / p99 us | flushes/record | CPU s/100k | bytes/record | `log`, 1 thread, beside it |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for how in ALL {
        let rate = logged.column(how, |it| it.rate);
        let ratio = logged.ratio(How::Backhaul(1), how, |it| it.rate);
        println!(
            "| {how} | {} | {:.0} ({:.0} to {:.0}) | {:.0} / {:.0} | {:.3} | {:.2} | {:.0} | {:.2} ({:.2} to {:.2}) |",
            how.promise(),
            rate.median,
            rate.low,
            rate.high,
            logged.column(how, |it| it.p50_us).median,
            logged.column(how, |it| it.p99_us).median,
            logged.column(how, |it| it.flushes).median,
            logged.column(how, |it| it.cpu_per_100k).low,
            logged.column(how, |it| it.bytes).median,
            ratio.median,
            ratio.low,
            ratio.high
        );
    }
}

/// The child: logs with so many threads until the time or the calls are over, and prints as
/// `wal.py` does.
pub fn run_child(arguments: &[&str]) {
    let [threads, calls, dir, seconds] = *arguments else {
        panic!("expected THREADS CALLS FOLDER SECONDS")
    };
    let threads: usize = threads.parse().expect("a number");
    let time = Duration::from_secs_f64(seconds.parse().expect("a number"));
    let entries = entries_of(&std::fs::read_to_string(calls).expect("readable"));
    let server = OfflineTraceServer::open(dir, OfflineOptions::default()).expect("a folder");
    let project = project();
    let stop = AtomicBool::new(false);
    let (began, cpu) = (Instant::now(), device::cpu_seconds());
    let share = entries.len().div_ceil(threads);
    let mut latencies: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = entries
            .chunks(share)
            .map(|entries| {
                let (server, project, stop) = (&server, &project, &stop);
                scope.spawn(move || log_all(server, project, entries, stop, began + time))
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
    });
    let (took, cpu) = (began.elapsed(), device::cpu_seconds() - cpu);
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize] as f64 / 1e3;
    println!(
        "{} {} {} {} {cpu} {}",
        latencies.len(),
        took.as_secs_f64(),
        at(0.5),
        at(0.99),
        super::disk::bytes_of_files(&calls_folder(dir.as_ref())).committed
    );
}

fn log_all(
    server: &OfflineTraceServer,
    project: &ProjectId,
    entries: &[Entry],
    stop: &AtomicBool,
    end: Instant,
) -> Vec<u64> {
    let mut latencies = Vec::with_capacity(entries.len());
    for entry in entries {
        let before = Instant::now();
        if before >= end || stop.load(Ordering::Relaxed) {
            break;
        }
        server.log(project, std::slice::from_ref(entry)).expect("stored");
        latencies.push(before.elapsed().as_nanos() as u64);
    }
    // All stop when the first one is done, so that all were there all the time.
    stop.store(true, Ordering::Relaxed);
    latencies
}

fn entries_of(wal: &str) -> Vec<Entry> {
    let entry = |line: &str| {
        let (entry_type, field) = match line.starts_with(r#"{"type":"call_start""#) {
            true => (EntryType::CallStart, "start"),
            false => (EntryType::CallEnd, "end"),
        };
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let data = serde_json::to_vec(&line["req"][field]).expect("JSON");
        Entry::new(entry_type, &data).expect("an entry")
    };
    wal.lines().map(entry).collect()
}

pub fn project() -> ProjectId {
    format!("{ENTITY}/{PROJECT}").parse().expect("a project")
}

/// Where the calls of the project lie.
pub fn calls_folder(dir: &Path) -> std::path::PathBuf {
    dir.join(ENTITY).join(PROJECT).join("calls")
}
