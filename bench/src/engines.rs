//! The store's own part: beside SQLite, and with a large backlog.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use backhaul_store::{Layout, Limits, Options, Record, Settled, Spool, State};

use crate::peers::{self, BACKHAUL, Case, Corpus, SQLITE_FULL, SQLITE_GROUPED, options};
use crate::records::record;
use crate::rounds::Rounds;
use crate::shuffled;
use crate::{child, device};

const IN_FLIGHT: Case = Case { peer: BACKHAUL, producers: 1, ahead: 64 };

const ALL: [Case; 9] = [
    Case::new(BACKHAUL, 1),
    Case::new(SQLITE_FULL, 1),
    Case::new(BACKHAUL, 8),
    Case::new(SQLITE_FULL, 8),
    Case::new(SQLITE_GROUPED, 8),
    Case::new(BACKHAUL, 64),
    IN_FLIGHT,
    Case::new(SQLITE_FULL, 64),
    Case::new(SQLITE_GROUPED, 64),
];

const PAIRS: [(Case, Case); 6] = [
    (Case::new(BACKHAUL, 1), Case::new(SQLITE_FULL, 1)),
    (Case::new(BACKHAUL, 8), Case::new(SQLITE_FULL, 8)),
    (Case::new(BACKHAUL, 8), Case::new(SQLITE_GROUPED, 8)),
    (Case::new(BACKHAUL, 64), Case::new(SQLITE_FULL, 64)),
    (Case::new(BACKHAUL, 64), Case::new(SQLITE_GROUPED, 64)),
    (IN_FLIGHT, Case::new(SQLITE_GROUPED, 64)),
];

pub fn measure(count: u64, seconds: f64) {
    let corpus = Corpus::new(4096);
    let mut rounds = Rounds::new();
    for round in 0..count {
        for case in shuffled(round, &ALL) {
            let filled = case.fill(seconds, &corpus).unwrap_or_else(|error| panic!("{error}"));
            rounds.add(round, case, filled);
        }
        eprintln!("round {} of {count}", round + 1);
    }
    println!("{}", peers::table(&rounds, &ALL));
    println!("| ratio of rates within a round | median (low to high) |\n|---|---|");
    for (ours, peer) in PAIRS {
        let ratio = rounds.ratio(ours, peer, |it| it.rate);
        println!(
            "| {} / {}, {} producers | {ratio:.2} |",
            ours.name(),
            peer.name(),
            peer.producers
        );
    }
    for layout in ["segments", "folder"] {
        let ended = child::own("backlog").arg(layout).status().expect("a process");
        assert!(ended.success(), "{layout}: {ended}");
    }
}

/// What is measured with a backlog, in a process of its own: its memory counts.
pub fn run_child(layout: &str) {
    match layout {
        "segments" => open_with_backlog(),
        "folder" => open_folder_with_backlog(),
        _ => panic!("expected segments or folder: found {layout}"),
    }
}

pub fn folder() -> PathBuf {
    std::env::var_os("BACKHAUL_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// How large a large backlog is, where nothing else is asked for.
pub fn gigabytes(default: f64) -> f64 {
    std::env::var("BACKHAUL_BENCH_GB").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Time and memory to open a spool with 1 GB waiting.
fn open_with_backlog() {
    let gigabytes = gigabytes(1.0);
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
fn open_folder_with_backlog() {
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

/// Has the next process read from the disk, where the machine allows that.
pub fn drop_caches() {
    let _ = Command::new("sync").status();
    let _ = std::fs::write("/proc/sys/vm/drop_caches", "3");
}
