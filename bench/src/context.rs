//! What it takes to change a large context, beside a copy of the whole and beside Python.

use std::fmt;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use backhaul_agent::{Context, ContextPatch};
use serde_json::{Value, json};

use crate::child::{self, Asked};
use crate::device;
use crate::engines::folder;
use crate::report::Spread;
use crate::rounds::Rounds;
use crate::shuffled;

/// Objects in the list of each document: about 1 MB and 10 MB as JSON.
const SIZES: [u64; 2] = [10_000, 100_000];
const SET: &str = "sensors.s500.celsius";
const APPEND: &str = "events";
/// Contexts that are kept while their memory is measured.
const KEPT: u32 = 5;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    Shared,
    Copied,
    Python,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Set,
    Append,
    /// Of two versions that differ by one value.
    Diff,
}

const CHANGES: [Change; 3] = [Change::Set, Change::Append, Change::Diff];

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Change::Set => "a value at depth 3 set",
            Change::Append => "an object appended to the list",
            Change::Diff => "the difference of two versions",
        })
    }
}

/// The microseconds of one change, by the objects in the list.
type Times = Rounds<(u64, How, Change), f64>;

pub fn measure(rounds: u64) {
    let dir = tempfile::tempdir_in(folder()).expect("a folder to measure in");
    let mut times = Times::new();
    for objects in SIZES {
        let document = document(objects);
        let path = dir.path().join(format!("{objects}.json"));
        std::fs::write(&path, document.to_string()).expect("a document");
        let mut python = start_python(&path);
        let size = std::fs::metadata(&path).expect("it is there").len() as f64 / 1e6;
        println!("- {objects} objects in the list: {size:.1} MB of JSON");
        let base = Context::from_value(document.clone()).expect("an object");
        for round in 0..rounds {
            for (how, change) in shuffled(round, &ways(python.is_some())) {
                let micros = match how {
                    How::Shared => shared(&base, change),
                    How::Copied => copied(&document, change),
                    How::Python => in_python(python.as_mut().expect("it is there"), change),
                };
                times.add(round, (objects, how, change), micros);
            }
            eprintln!("round {} of {rounds} with {objects} objects", round + 1);
        }
    }
    print(&times);
    print_memory();
}

fn ways(with_python: bool) -> Vec<(How, Change)> {
    let mut ways = vec![(How::Shared, Change::Diff)];
    for change in [Change::Set, Change::Append] {
        ways.extend([(How::Shared, change), (How::Copied, change)]);
        ways.extend(with_python.then_some((How::Python, change)));
    }
    ways
}

/// A list of objects, and a tenth as many sensors, of which `s500` is one.
pub fn document(objects: u64) -> Value {
    let sensor = |number| json!({"celsius": number, "room": "cellar"});
    let sensors: serde_json::Map<_, _> =
        (0..objects / 10).map(|number| (format!("s{number}"), sensor(number))).collect();
    let events: Vec<Value> = (0..objects).map(event).collect();
    json!({"site": "north", "sensors": sensors, "events": events})
}

fn event(number: u64) -> Value {
    let text = format!("reading {number} of the sensor");
    json!({"id": number, "kind": "reading", "text": text, "celsius": 21.5, "ok": true})
}

fn patch(change: Change, number: u64) -> ContextPatch {
    match change {
        Change::Append => ContextPatch::append(APPEND, event(number)),
        Change::Set | Change::Diff => ContextPatch::set(SET, number + 1_000_000),
    }
}

/// Each change is made to what the one before gave, which is dropped then; the base stays.
fn shared(base: &Context, change: Change) -> f64 {
    const TIMES: u64 = 1_000;
    let patches: Vec<_> = (0..TIMES).map(|number| patch(change, number)).collect();
    let mut context = base.clone();
    if change == Change::Diff {
        let changed = context.apply(&patches[0]).expect("a change");
        return timed(TIMES / 50, |_| assert_eq!(black_box(base.diff(&changed)).len(), 1));
    }
    timed(TIMES, |number| context = context.apply(&patches[number]).expect("a change"))
}

/// The version that copies: the same on a plain value.
fn copied(base: &Value, change: Change) -> f64 {
    const TIMES: u64 = 3;
    let mut current = base.clone();
    timed(TIMES, |number| {
        let mut next = current.clone();
        match change {
            Change::Append => {
                next[APPEND].as_array_mut().expect("a list").push(event(number as u64));
            }
            Change::Set | Change::Diff => next["sensors"]["s500"]["celsius"] = json!(number),
        }
        current = next;
    })
}

/// The mean microseconds.
fn timed(times: u64, mut act: impl FnMut(usize)) -> f64 {
    let began = Instant::now();
    (0..times as usize).for_each(&mut act);
    began.elapsed().as_secs_f64() * 1e6 / times as f64
}

/// Nothing where there is no Python.
fn start_python(document: &Path) -> Option<Asked> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/context/deepcopy.py");
    if Command::new("python3").arg("--version").output().is_err() {
        println!("- there is no python3: its copy is not measured");
        return None;
    }
    Some(Asked::start(Command::new("python3").arg(script).arg(document)))
}

fn in_python(python: &mut Asked, change: Change) -> f64 {
    let said = python.ask(if change == Change::Append { "append" } else { "set" });
    said.parse().expect("microseconds")
}

fn print(times: &Times) {
    println!(
        "\n| change | objects in the list | shared, us: median (low to high) | the whole copied, us | `copy.deepcopy`, us | copied / shared | Python / shared |\n|---|---|---|---|---|---|---|"
    );
    for (change, objects) in CHANGES.into_iter().flat_map(|it| SIZES.map(|size| (it, size))) {
        let column = |how| shown(times.column((objects, how, change), |it| *it), 1);
        let ratio = |how| {
            shown(times.ratio((objects, how, change), (objects, How::Shared, change), |it| *it), 0)
        };
        println!(
            "| {change} | {objects} | {} | {} | {} | {} | {} |",
            column(How::Shared),
            column(How::Copied),
            column(How::Python),
            ratio(How::Copied),
            ratio(How::Python)
        );
    }
}

fn shown(spread: Spread, digits: usize) -> String {
    if spread.median.is_nan() {
        return "-".to_owned();
    }
    let Spread { low, median, high } = spread;
    format!("{median:.digits$} ({low:.digits$} to {high:.digits$})")
}

fn print_memory() {
    println!(
        "\n| objects in the list | memory of a context, MB | of a `Value`, MB |\n|---|---|---|"
    );
    for objects in SIZES {
        let [shared, copied] = ["shared", "value"].map(|how| {
            let mut child = child::own("context-memory");
            let [bytes] = child::figures::<1>(child.arg(how).arg(objects.to_string()));
            bytes / 1e6
        });
        println!("| {objects} | {shared:.1} | {copied:.1} |");
    }
}

/// Prints the bytes of one more of several that are kept: what is only needed to make them
/// is needed once.
pub fn run_child(how: &str, objects: u64) {
    let text = document(objects).to_string();
    let read = || serde_json::from_str::<Value>(&text).expect("JSON");
    let (mut contexts, mut values) = (Vec::new(), Vec::new());
    let mut first = 0;
    for kept in 0..KEPT {
        match how {
            "shared" => contexts.push(Context::from_value(read()).expect("an object")),
            _ => values.push(read()),
        }
        if kept == 0 {
            first = device::peak_memory();
        }
    }
    println!("{}", device::peak_memory().saturating_sub(first) / u64::from(KEPT - 1));
    black_box((contexts, values));
}
