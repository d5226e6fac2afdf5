//! The engines: each measured in a process of its own, on an empty folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use backhaul_store::{Layout, Limits, Options, Record, Settled, Spool, State};
use rusqlite::Connection;

use crate::device;
use crate::records::record;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    Spool(usize),
    SpoolInFlight,
    SqliteFull(usize),
    SqliteGrouped(usize),
}

pub const ALL: [Engine; 9] = [
    Engine::Spool(1),
    Engine::SqliteFull(1),
    Engine::Spool(8),
    Engine::SqliteFull(8),
    Engine::SqliteGrouped(8),
    Engine::Spool(64),
    Engine::SpoolInFlight,
    Engine::SqliteFull(64),
    Engine::SqliteGrouped(64),
];

pub const PAIRS: [(Engine, Engine); 6] = [
    (Engine::Spool(1), Engine::SqliteFull(1)),
    (Engine::Spool(8), Engine::SqliteFull(8)),
    (Engine::Spool(8), Engine::SqliteGrouped(8)),
    (Engine::Spool(64), Engine::SqliteFull(64)),
    (Engine::Spool(64), Engine::SqliteGrouped(64)),
    (Engine::SpoolInFlight, Engine::SqliteGrouped(64)),
];

impl Engine {
    pub fn name(self) -> &'static str {
        match self {
            Engine::Spool(_) => "backhaul",
            Engine::SpoolInFlight => "backhaul, 64 in flight",
            Engine::SqliteFull(_) => "SQLite FULL, a row per commit",
            Engine::SqliteGrouped(_) => "SQLite FULL, grouped",
        }
    }

    pub fn producers(self) -> usize {
        match self {
            Engine::Spool(n) | Engine::SqliteFull(n) | Engine::SqliteGrouped(n) => n,
            Engine::SpoolInFlight => 1,
        }
    }

    fn key(self) -> String {
        let kind = match self {
            Engine::Spool(_) => "spool",
            Engine::SpoolInFlight => "inflight",
            Engine::SqliteFull(_) => "full",
            Engine::SqliteGrouped(_) => "grouped",
        };
        format!("{kind}/{}", self.producers())
    }
}

/// Figures of one round.
#[derive(Clone, Copy)]
pub struct Measured {
    pub rate: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub flushes: f64,
    pub block_bytes: f64,
    pub cpu_per_100k: f64,
    pub peak_mb: f64,
}

pub fn folder() -> PathBuf {
    std::env::var_os("BACKHAUL_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// How large a large backlog is.
pub fn gigabytes() -> f64 {
    std::env::var("BACKHAUL_BENCH_GB").ok().and_then(|text| text.parse().ok()).unwrap_or(1.0)
}

/// Runs an engine in a child process and reads its figures.
pub fn measure(engine: Engine, seconds: f64) -> (Engine, Measured) {
    let folder = tempfile::tempdir_in(folder()).expect("a folder to measure in");
    let program = std::env::current_exe().expect("the program's own path");
    let before = device::counters(folder.path());
    let output = Command::new(program)
        .args(["engine".to_owned(), seconds.to_string(), engine.key()])
        .arg(folder.path())
        .output()
        .expect("the child runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let after = device::counters(folder.path());
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<f64> =
        text.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    let [records, rate, p50_us, p99_us, cpu, peak] = figures[..] else {
        panic!("bad figures: {text}")
    };
    let measured = Measured {
        rate,
        p50_us,
        p99_us,
        flushes: (after.flushes - before.flushes) as f64 / records,
        block_bytes: (after.bytes_written - before.bytes_written) as f64 / records,
        cpu_per_100k: cpu / records * 100_000.0,
        peak_mb: peak / 1e6,
    };
    (engine, measured)
}

/// The child: fills the folder for a while, then prints what it saw.
pub fn run_child(key: &str, dir: &Path, seconds: f64) {
    let time = Duration::from_secs_f64(seconds);
    let (kind, producers) = key.split_once('/').expect("kind/producers");
    let producers: usize = producers.parse().expect("a number");
    let corpus: Vec<Vec<u8>> = (0..4096).map(record).collect();
    let cpu = device::cpu_seconds();
    let (latencies, took) = match kind {
        "spool" => with_spool(dir, producers, time, &corpus),
        "inflight" => in_flight(dir, time, &corpus),
        "full" => sqlite_full(dir, producers, time, &corpus),
        "grouped" => sqlite_grouped(dir, producers, time, &corpus),
        other => panic!("unknown engine {other}"),
    };
    let cpu = device::cpu_seconds() - cpu;
    let mut sorted = latencies;
    sorted.sort_unstable();
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    // What is dirty goes to the device now, so that its bytes are counted here.
    let _ = Command::new("sync").arg("-f").arg(dir).status();
    println!(
        "{} {} {} {} {} {}",
        sorted.len(),
        sorted.len() as f64 / took.as_secs_f64(),
        at(0.5),
        at(0.99),
        cpu,
        device::peak_memory().saturating_sub(corpus.iter().map(|body| body.len() as u64).sum())
    );
}

/// Runs `producers` threads until the time is over; each call stores one record.
fn produce<F: Fn(usize, u64) + Sync>(
    producers: usize,
    time: Duration,
    store: F,
) -> (Vec<u64>, Duration) {
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    let latencies = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..producers)
            .map(|thread| {
                let (store, stop) = (&store, &stop);
                scope.spawn(move || {
                    let mut latencies = Vec::new();
                    let mut number = 0u64;
                    while !stop.load(Ordering::Relaxed) {
                        let submitted = Instant::now();
                        store(thread, number);
                        latencies.push(submitted.elapsed().as_nanos() as u64);
                        number += 1;
                    }
                    latencies
                })
            })
            .collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().flat_map(|thread| thread.join().expect("a producer")).collect()
    });
    (latencies, began.elapsed())
}

fn pick(corpus: &[Vec<u8>], thread: usize, number: u64) -> Vec<u8> {
    corpus[(thread * 577 + number as usize) % corpus.len()].clone()
}

pub fn options() -> Options {
    Options { layout: Layout::Segments, ..Options::default() }
}

fn with_spool(
    dir: &Path,
    producers: usize,
    time: Duration,
    corpus: &[Vec<u8>],
) -> (Vec<u64>, Duration) {
    let spool = Spool::open(dir, options()).expect("a spool");
    produce(producers, time, |thread, number| {
        spool.append(Record::new("call", pick(corpus, thread, number))).expect("stored");
    })
}

fn in_flight(dir: &Path, time: Duration, corpus: &[Vec<u8>]) -> (Vec<u64>, Duration) {
    let spool = Spool::open(dir, options()).expect("a spool");
    let began = Instant::now();
    let mut latencies = Vec::new();
    let mut waiting = std::collections::VecDeque::new();
    let mut number = 0u64;
    while began.elapsed() < time {
        while waiting.len() < 64 {
            let record = Record::new("call", pick(corpus, 0, number));
            waiting.push_back((Instant::now(), spool.submit(record).expect("taken")));
            number += 1;
        }
        for _ in 0..32 {
            let (submitted, ticket) = waiting.pop_front().expect("64 are waiting");
            ticket.wait().expect("stored");
            latencies.push(submitted.elapsed().as_nanos() as u64);
        }
    }
    let took = began.elapsed();
    waiting.into_iter().for_each(|(_, ticket)| drop(ticket.wait()));
    (latencies, took)
}

fn database(dir: &Path) -> Connection {
    let connection = Connection::open(dir.join("queue.db")).expect("a database");
    connection
        .execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
             CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY, body BLOB NOT NULL);",
        )
        .expect("a queue table");
    connection
}

const INSERT: &str = "INSERT INTO queue (body) VALUES (?1)";

fn sqlite_full(
    dir: &Path,
    producers: usize,
    time: Duration,
    corpus: &[Vec<u8>],
) -> (Vec<u64>, Duration) {
    let connection = std::sync::Mutex::new(database(dir));
    produce(producers, time, |thread, number| {
        let body = pick(corpus, thread, number);
        let connection = connection.lock().expect("not poisoned");
        connection.prepare_cached(INSERT).expect("prepared").execute([body]).expect("stored");
    })
}

/// One committer thread stores all waiting records in one transaction: what a good
/// engineer would add to SQLite.
fn sqlite_grouped(
    dir: &Path,
    producers: usize,
    time: Duration,
    corpus: &[Vec<u8>],
) -> (Vec<u64>, Duration) {
    type Job = (Vec<u8>, mpsc::SyncSender<()>);
    let (sender, jobs) = mpsc::channel::<Job>();
    let mut connection = database(dir);
    let committer = std::thread::spawn(move || {
        while let Ok(first) = jobs.recv() {
            let mut group = vec![first];
            group.extend(jobs.try_iter().take(1023));
            let transaction = connection.transaction().expect("begun");
            {
                let mut insert = transaction.prepare_cached(INSERT).expect("prepared");
                for (body, _) in &group {
                    insert.execute([body]).expect("stored");
                }
            }
            transaction.commit().expect("committed");
            for (_, done) in group {
                let _ = done.send(());
            }
        }
    });
    let result = produce(producers, time, |thread, number| {
        let (done, wait) = mpsc::sync_channel(1);
        sender.send((pick(corpus, thread, number), done)).expect("the committer lives");
        wait.recv().expect("stored");
    });
    drop(sender);
    committer.join().expect("the committer");
    result
}

/// Time and memory to open a spool with 1 GB waiting.
pub fn open_with_backlog() {
    let gigabytes = gigabytes();
    let folder = tempfile::Builder::new()
        .disable_cleanup(std::env::var_os("BACKHAUL_BENCH_KEEP").is_some())
        .tempdir_in(folder())
        .expect("a folder");
    let wanted = (gigabytes * 1e9) as usize;
    {
        let spool = Spool::open(folder.path(), options()).expect("a spool");
        let (mut bytes, mut number) = (0, 0);
        while bytes < wanted {
            let mut last = None;
            for _ in 0..256 {
                let body = record(number);
                number += 1;
                bytes += body.len();
                last = Some(spool.submit(Record::new("call", body)).expect("taken"));
            }
            last.expect("256 were submitted").wait().expect("stored");
        }
        println!(
            "\n### A backlog of {gigabytes} GB\n\n- waiting: {number} records, {:.2} GB; peak while filling: {:.1} MB",
            bytes as f64 / 1e9,
            device::peak_memory() as f64 / 1e6
        );
    }
    if std::env::var_os("BACKHAUL_BENCH_KEEP").is_none() {
        time_opening(folder.path());
    }
}

/// Opens the spool in `dir` warm and cold, takes the first batch, and drains it.
pub fn time_opening(dir: &Path) {
    each_opening(dir, &options(), |name, opening| {
        println!(
            "- open {name}: {:.1} ms, first batch of {} after {:.1} ms",
            opening.opened_ms, opening.records, opening.taken_ms
        );
    });
    if std::env::var_os("BACKHAUL_BENCH_KEEP").is_none() {
        drain(dir);
    }
}

/// How long it took to open a spool, and to take the first batch after that.
struct Opening {
    opened_ms: f64,
    taken_ms: f64,
    records: usize,
}

/// Opens a spool warm and cold by turns, and shows each opening while it is still open.
fn each_opening(dir: &Path, options: &Options, show: impl Fn(&str, Opening)) {
    for (name, cold) in [("warm", false), ("cold", true), ("warm", false), ("cold", true)] {
        if cold {
            drop_caches();
        }
        let began = Instant::now();
        let spool = Spool::open(dir, options.clone()).expect("a spool");
        let opened = began.elapsed();
        let records = spool
            .take(&Limits::default())
            .expect("readable")
            .map_or(0, |batch| batch.records.len());
        let taken = began.elapsed();
        let (opened_ms, taken_ms) = (opened.as_secs_f64() * 1e3, taken.as_secs_f64() * 1e3);
        show(name, Opening { opened_ms, taken_ms, records });
    }
}

/// Takes and settles everything that waits, in batches of 256.
fn drain(dir: &Path) {
    let spool = Spool::open(dir, options()).expect("a spool");
    let began = Instant::now();
    let cpu = device::cpu_seconds();
    let limits = Limits { records: 256, bytes: 1_000_000, ..Limits::default() };
    let (mut records, mut bytes) = (0u64, 0usize);
    while let Some(batch) = spool.take(&limits).expect("readable") {
        let settled: Vec<_> = batch
            .records
            .iter()
            .map(|offer| (offer.record.id.position, Settled::new(State::Delivered)))
            .collect();
        records += settled.len() as u64;
        bytes += batch.records.iter().map(|offer| offer.record.body.len()).sum::<usize>();
        spool.settle(&settled).expect("settled");
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "- drained {records} records, {:.0} MB/s, {:.2} CPU s/100k; peak memory {:.1} MB",
        bytes as f64 / 1e6 / took,
        (device::cpu_seconds() - cpu) / records as f64 * 1e5,
        device::peak_memory() as f64 / 1e6
    );
}

/// Time to open a spool of the folder layout with many records waiting.
pub fn open_folder_with_backlog() {
    let count = 100_000;
    let folder = tempfile::tempdir_in(folder()).expect("a folder");
    let options = Options {
        layout: Layout::Folder,
        flush: backhaul_store::Flush::Never,
        ..Options::default()
    };
    {
        let spool = Spool::open(folder.path(), options.clone()).expect("a spool");
        for start in (0..count).step_by(1000) {
            let tickets: Vec<_> = (start..start + 1000)
                .map(|number| spool.submit(Record::new("run", record(number))).expect("taken"))
                .collect();
            for ticket in tickets {
                ticket.wait().expect("stored");
            }
        }
    }
    println!("\n### {count} record files in the folder layout\n");
    each_opening(folder.path(), &options, |name, opening| {
        println!(
            "- open {name}: {:.0} ms, first batch of {} after {:.0} ms; peak memory {:.1} MB",
            opening.opened_ms,
            opening.records,
            opening.taken_ms,
            device::peak_memory() as f64 / 1e6
        );
    });
}

fn drop_caches() {
    let _ = Command::new("sync").status();
    let _ = std::fs::write("/proc/sys/vm/drop_caches", "3");
}
