//! Delivering what was logged to a Weave server that keeps nothing: backhaul, Weave's own
//! sender, and a bare loop that posts bodies made ready before.

use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use backhaul_weave::{
    Entry, EntryType, Kind, OfflineOptions, OfflineTraceServer, SyncArguments, sync_offline_data,
};

use super::calls::{Call, ENTITY, PROJECT, Post};
use super::log::{project, wal_lines};
use super::sink::{Came, Sink};
use super::{Rounds, child};
use crate::device::{self, Process};
use crate::engines::folder;
use crate::shuffled;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sender {
    Bare,
    /// Of starts and ends, as older clients log: each end behind its start.
    Pairs,
    /// Of which 64 are open at any time.
    Nested,
    /// Of whole calls, as newer clients do.
    Whole,
    Wal,
}

const ALL: [Sender; 5] = [Sender::Bare, Sender::Whole, Sender::Pairs, Sender::Nested, Sender::Wal];
/// Calls that are open at once.
const OPEN: usize = 64;
/// As many as Weave's client sends at a time.
const IN_ONE: usize = 1000;
/// How long Weave's sender may take.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Clone, Copy)]
struct Drained {
    /// Calls a second.
    rate: f64,
    megabytes: f64,
    requests: f64,
    cpu_per_100k: f64,
    peak_mb: f64,
}

impl Sender {
    fn key(self) -> &'static str {
        match self {
            Sender::Bare => "bare",
            Sender::Pairs => "pairs",
            Sender::Nested => "nested",
            Sender::Whole => "whole",
            Sender::Wal => "wal",
        }
    }

    /// Weave's sends two requests for each call.
    fn calls(self) -> u64 {
        match self {
            Sender::Wal => 1_000,
            _ => 20_000,
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sender::Bare => "a bare loop, no store",
            Sender::Pairs => "backhaul, of starts and ends, one call at a time",
            Sender::Nested => "backhaul, of starts and ends, 64 calls at a time",
            Sender::Whole => "backhaul, of whole calls",
            Sender::Wal => "Weave 0.54 `wal_sender`",
        })
    }
}

pub fn measure(rounds: u64) {
    let mut sink = Sink::start();
    let mut drained = Rounds::new();
    for round in 0..rounds {
        for sender in shuffled(round, &ALL) {
            drained.add(round, sender, measure_one(sender, &mut sink));
        }
        eprintln!("drain: round {} of {rounds}", round + 1);
    }
    print(&drained);
}

fn measure_one(sender: Sender, sink: &mut Sink) -> Drained {
    let dir = tempfile::tempdir_in(folder()).expect("a folder");
    sink.forget();
    let calls = sender.calls();
    let [seconds, cpu, peak] = match sender {
        Sender::Wal => run_wal_sender(dir.path(), sink),
        _ => {
            fill(sender, dir.path());
            child::figures(
                child::own("weave-drain").arg(sender.key()).arg(&sink.url).arg(dir.path()),
            )
        }
    };
    let came = sink.came();
    assert_eq!((came.started, came.ended), (calls as f64, calls as f64), "{sender}: {came:?}");
    Drained {
        rate: calls as f64 / seconds,
        megabytes: came.bytes / 1e6 / seconds,
        requests: came.all_requests / calls as f64 * 1e3,
        cpu_per_100k: cpu / calls as f64 * 1e5,
        peak_mb: peak / 1e6,
    }
}

/// As the collector stores what clients send in batches.
fn fill(sender: Sender, dir: &Path) {
    let server = OfflineTraceServer::open(dir, OfflineOptions::default()).expect("a folder");
    let entries = entries(sender, &(0..sender.calls()).map(Call::long).collect::<Vec<_>>());
    for entries in entries.chunks(100) {
        server.log(&project(), entries).expect("stored");
    }
}

fn entries(sender: Sender, calls: &[Call]) -> Vec<Entry> {
    let entry = |of, data: String| Entry::new(of, data.as_bytes()).expect("an entry");
    let start = |call: &Call| entry(EntryType::CallStart, call.start());
    let end = |call: &Call| entry(EntryType::CallEnd, call.end());
    match sender {
        Sender::Pairs => calls.iter().flat_map(|call| [start(call), end(call)]).collect(),
        Sender::Nested => {
            let open = calls.get(..OPEN).unwrap_or(calls).iter().map(start);
            let rest = calls.iter().enumerate().flat_map(|(at, call)| {
                [Some(end(call)), calls.get(at + OPEN).map(start)].into_iter().flatten()
            });
            open.chain(rest).collect()
        }
        Sender::Whole => {
            calls.iter().map(|call| entry(EntryType::CallComplete, call.complete())).collect()
        }
        Sender::Bare | Sender::Wal => Vec::new(),
    }
}

/// Weave's sender, from its first request to its last: it goes on until it is stopped.
fn run_wal_sender(dir: &Path, sink: &mut Sink) -> [f64; 3] {
    let calls = Sender::Wal.calls();
    let name = format!("{:020}_{:032x}.jsonl", 1, 1);
    std::fs::write(dir.join(name), wal_lines(calls)).expect("written");
    let mut child = child::python("0.54.0")
        .args(["-m", "weave.durability.wal_sender", "--entity", ENTITY, "--project", PROJECT])
        .args(["--api-key", "key", "--trace-server-url", &sink.url, "--wal-dir"])
        .arg(dir)
        .env("HOME", dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("Weave's sender");
    let process = Process::of(&child);
    let began = Instant::now();
    let mut wait_until = |is_there: &dyn Fn(Came) -> bool| {
        while !is_there(sink.came()) && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    wait_until(&|came| came.requests > 0.0);
    let cpu = process.cpu_seconds();
    wait_until(&|came| came.ended == calls as f64);
    let figures = [sink.came().seconds, process.cpu_seconds() - cpu, process.peak_memory() as f64];
    let _ = child.kill();
    let _ = child.wait();
    figures
}

fn print(drained: &Rounds<Sender, Drained>) {
    println!("### Delivering to a server that keeps nothing\n");
    println!(
        "| sent by | calls/s: median (low to high) | MB/s | requests/1000 calls | CPU s/100k calls | peak MB | beside the bare loop |"
    );
    println!("|---|---|---|---|---|---|---|");
    for sender in ALL {
        let rate = drained.column(sender, |it| it.rate);
        let ratio = drained.ratio(sender, Sender::Bare, |it| it.rate);
        println!(
            "| {sender} | {:.0} ({:.0} to {:.0}) | {:.1} | {:.1} | {:.2} | {:.1} | {:.3} ({:.3} to {:.3}) |",
            rate.median,
            rate.low,
            rate.high,
            drained.column(sender, |it| it.megabytes).median,
            drained.column(sender, |it| it.requests).median,
            drained.column(sender, |it| it.cpu_per_100k).low,
            drained.column(sender, |it| it.peak_mb).median,
            ratio.median,
            ratio.low,
            ratio.high
        );
    }
}

/// The child: sends, then prints the seconds, the CPU seconds and the peak memory.
pub fn run_child(arguments: &[&str]) {
    let [sender, url, dir] = *arguments else { panic!("expected SENDER URL FOLDER") };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let (took, cpu) = runtime.expect("a runtime").block_on(async {
        match sender {
            "bare" => post_bare(url).await,
            _ => sync(url, dir.as_ref()).await,
        }
    });
    println!("{} {cpu} {}", took.as_secs_f64(), device::peak_memory());
}

/// What somebody would write who has the calls in memory, and nothing to lose.
async fn post_bare(url: &str) -> (Duration, f64) {
    let calls: Vec<u64> = (0..Sender::Bare.calls()).collect();
    let post = Post::Complete(IN_ONE as u64);
    let bodies: Vec<String> = calls
        .chunks(IN_ONE)
        .map(|numbers| post.body(numbers.iter().copied().map(Call::long)))
        .collect();
    let mut sender = crate::http::connect(url).await;
    let (began, cpu) = (Instant::now(), device::cpu_seconds());
    for body in bodies {
        let request = super::client::request(&post.path(), body);
        super::client::send(&mut sender, request).await;
    }
    (began.elapsed(), device::cpu_seconds() - cpu)
}

/// What `backhaul sync` does.
async fn sync(url: &str, dir: &Path) -> (Duration, f64) {
    let arguments = SyncArguments {
        offline_dir: Some(dir.to_owned()),
        api_key: Some("key".to_owned()),
        trace_url: Some(url.to_owned()),
        wandb_url: Some(url.to_owned()),
        ..SyncArguments::default()
    };
    let (began, cpu) = (Instant::now(), device::cpu_seconds());
    let statistics = sync_offline_data(arguments).await.expect("a sync");
    let (took, cpu) = (began.elapsed(), device::cpu_seconds() - cpu);
    let (_, errors) = statistics[&project().to_string()][&Kind::Calls];
    assert_eq!(errors, 0, "{statistics:?}");
    (took, cpu)
}
