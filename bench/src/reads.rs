//! What it takes to read Weave's data back: the first time, when the index is made, and after.
//!
//! `backhaul-bench reads 1` fills a folder with 1 GB of calls, and asks.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use backhaul_store::{Flush, Options};
use backhaul_weave::{
    CallsFilter, CallsQuery, Entry, EntryType, OfflineOptions, OfflineTraceServer, ProjectId,
    Reads, SortBy,
};

use crate::device;
use crate::engines::folder;
use crate::records::call;

const PROJECT: &str = "my_team/my_project";
const ROUNDS: usize = 200;

pub fn measure(gigabytes: f64) {
    let folder = tempfile::tempdir_in(folder()).expect("a folder to measure in");
    let calls = fill(folder.path(), (gigabytes * 1e9) as u64);
    let size = size_of(folder.path()) as f64;
    println!("### {:.2} GB on disk: {calls} calls of about 2 KB in traces of 10\n", size / 1e9);
    println!("| | p50 | p99 |\n|---|---:|---:|");
    for what in ["first", "again", "warm"] {
        let this = std::env::current_exe().expect("this program");
        let status = Command::new(this).args(["read", what]).arg(folder.path()).status();
        assert!(status.expect("a child").success());
    }
    let index = size_of(&folder.path().join(".backhaul/index")) as f64;
    println!("\nThe index: {:.0} MB, {:.1} % of the data.", index / 1e6, index / size * 100.0);
}

fn fill(dir: &Path, bytes: u64) -> u64 {
    let options = OfflineOptions {
        min_free_bytes: Some(0),
        store: Options { flush: Flush::Never, ..Options::default() },
        ..OfflineOptions::default()
    };
    let server = OfflineTraceServer::open(dir, options).expect("a folder");
    let project: ProjectId = PROJECT.parse().expect("a project");
    let mut number = 0;
    while size_of(dir) < bytes {
        for _ in 0..200 {
            let entries: Vec<Entry> =
                (number..number + 100).flat_map(|number| entries_of(number)).collect();
            server.log(&project, &entries).expect("logged");
            number += 100;
        }
    }
    number
}

/// Half of the calls are logged as a whole, half in two parts.
fn entries_of(number: u64) -> Vec<Entry> {
    let whole = call(number, PROJECT);
    if number % 2 == 0 {
        return vec![Entry::of_value(EntryType::CallComplete, &whole)];
    }
    let (mut start, mut end) = (whole.clone(), whole);
    for field in ["ended_at", "output", "summary", "exception"] {
        start.as_object_mut().expect("an object").remove(field);
    }
    for field in ["inputs", "attributes", "op_name", "parent_id", "started_at"] {
        end.as_object_mut().expect("an object").remove(field);
    }
    vec![Entry::of_value(EntryType::CallStart, &start), Entry::of_value(EntryType::CallEnd, &end)]
}

fn size_of(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size_of(&entry.path()),
        _ => entry.metadata().map_or(0, |about| about.len()),
    });
    sizes.sum()
}

/// In a process of its own, so that nothing is in its memory.
pub fn run_child(what: &str, dir: &Path) {
    let reads = Reads::of_folder(dir);
    let project: ProjectId = PROJECT.parse().expect("a project");
    let list = |filter: CallsFilter| {
        let query = CallsQuery {
            filter,
            sort_by: Some(vec![SortBy::descending("started_at")]),
            limit: Some(50),
            ..CallsQuery::default()
        };
        reads.calls(&project, &query).expect("calls").collect::<Result<Vec<_>, _>>().expect("calls")
    };
    let roots = CallsFilter { trace_roots_only: Some(true), ..CallsFilter::default() };
    let began = Instant::now();
    assert_eq!(list(roots.clone()).len(), 50);
    let took = began.elapsed();
    match what {
        "first" => row("the first use, which makes the index", &mut [took]),
        "again" => row("the first question of another process", &mut [took]),
        _ => warm(&reads, &project, &list, roots),
    }
    let megabytes = device::peak_memory() as f64 / 1e6;
    println!("| peak memory of that process | {megabytes:.0} MB | |");
}

fn warm(
    reads: &Reads,
    project: &ProjectId,
    list: &dyn Fn(CallsFilter) -> Vec<serde_json::Value>,
    roots: CallsFilter,
) {
    let count = |filter: CallsFilter| {
        let query = CallsQuery { filter, ..CallsQuery::default() };
        reads.count_calls(project, &query).expect("a count")
    };
    let calls = count(CallsFilter::default()) as u64;
    let some = |round: usize| call(round as u64 * 7919 * 13 % calls, PROJECT);
    let field = |round: usize, field: &str| some(round)[field].as_str().map(ToOwned::to_owned);
    let op = |round: usize| CallsFilter {
        op_names: Some(field(round, "op_name").into_iter().collect()),
        ..CallsFilter::default()
    };
    let trace = |round: usize| CallsFilter {
        trace_ids: Some(field(round, "trace_id").into_iter().collect()),
        ..CallsFilter::default()
    };
    time("the newest 50 traces", &|_| assert_eq!(list(roots.clone()).len(), 50));
    time("the newest 50 calls of an op", &|round| assert_eq!(list(op(round)).len(), 50));
    time("a trace by its id", &|round| assert_eq!(list(trace(round)).len(), 10));
    time("one call by its id", &|round| {
        let id = field(round, "id").expect("an id");
        assert!(reads.call(project, &id).expect("readable").is_some());
    });
    time("how many traces", &|_| assert_eq!(count(roots.clone()) as u64, calls / 10));
    time("how many calls", &|_| assert_eq!(count(CallsFilter::default()) as u64, calls));
}

fn time(what: &str, work: &dyn Fn(usize)) {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|round| {
            let began = Instant::now();
            work(round);
            began.elapsed()
        })
        .collect();
    row(what, &mut times);
}

fn row(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
    let shown = |time: Duration| match time.as_millis() {
        0..10 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        10..10_000 => format!("{} ms", time.as_millis()),
        _ => format!("{:.1} s", time.as_secs_f64()),
    };
    println!("| {what} | {} | {} |", shown(at(50)), shown(at(99)));
}
