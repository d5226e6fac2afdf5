//! What it takes to read Weave's data back: the first time, when the index is made, and after.

use std::path::Path;
use std::time::{Duration, Instant};

use backhaul_store::{Flush, Options};
use backhaul_weave::{
    CallsFilter, CallsQuery, Entry, EntryType, OfflineOptions, OfflineTraceServer, ProjectId,
    Reads, SortBy,
};
use serde_json::{Value, json};

use super::child;
use super::memory::size_of;
use crate::device;
use crate::engines::{folder, gigabytes};
use crate::records::call;
use crate::report::{Spread, spread};

const PROJECT: &str = "my_team/my_project";
/// Every so manieth call has feedback.
const FEEDBACK_EVERY: u64 = 20;
const OBJECTS: u64 = 100;

/// A question, how often it is asked, and what asks it; the number says for which time.
struct Question {
    name: &'static str,
    times: u64,
    ask: fn(&Asker, u64),
}

const QUESTIONS: [Question; 12] = [
    Question { name: "the newest 50 traces", times: 200, ask: |it, _| it.list(roots(), 50) },
    Question {
        name: "the newest 50 calls of an op",
        times: 200,
        ask: |it, n| {
            let op_names = Some(vec![it.text(n, "op_name")]);
            it.list(CallsQuery { filter: CallsFilter { op_names, ..default() }, ..newest() }, 50);
        },
    },
    Question {
        name: "the newest 50 calls that failed",
        times: 200,
        ask: |it, _| {
            let failed =
                json!({"$eq": [{"$getField": "summary.weave.status"}, {"$literal": "error"}]});
            it.list(CallsQuery { query: json!({"$expr": failed}), ..newest() }, 50);
        },
    },
    Question {
        name: "the newest 50 calls with a score above 90",
        times: 200,
        ask: |it, _| it.list(CallsQuery { query: scored("$gt", 90), ..newest() }, 50),
    },
    Question {
        name: "a trace by its id",
        times: 200,
        ask: |it, n| it.list(of_trace(it.text(n, "trace_id")), 10),
    },
    Question {
        name: "a call by its id",
        times: 200,
        ask: |it, n| {
            let call = it.reads.call(&it.project, &it.text(n, "id"));
            assert!(call.expect("readable").is_some());
        },
    },
    Question { name: "the feedback on a call", times: 200, ask: |it, n| it.feedback(n) },
    Question { name: "the latest of an object", times: 200, ask: |it, n| it.object(n) },
    Question {
        name: "how many traces",
        times: 200,
        ask: |it, _| assert_eq!(it.count(&roots()), it.calls / 10),
    },
    Question {
        name: "how many calls",
        times: 200,
        ask: |it, _| assert_eq!(it.count(&CallsQuery::default()), it.calls),
    },
    Question {
        name: "the 50 slowest traces (looks at each)",
        times: 5,
        ask: |it, _| {
            let sort_by = Some(vec![SortBy::descending("summary.weave.latency_ms")]);
            it.list(CallsQuery { sort_by, ..roots() }, 50);
        },
    },
    Question {
        name: "how many calls have a score of 99 (reads each)",
        times: 1,
        ask: |it, _| {
            let query = scored("$eq", 99);
            assert!(it.count(&CallsQuery { query, ..CallsQuery::default() }) > 0);
        },
    },
];

/// Fills a folder, and in each round makes its index anew and asks.
pub fn measure(rounds: u64) {
    let dir = tempfile::tempdir_in(folder()).expect("a folder to measure in");
    let calls = fill(dir.path(), (gigabytes(1.0) * 1e9) as u64);
    let index = dir.path().join(".backhaul/index");
    let size = size_of(dir.path()) as f64;
    println!("### Reading back\n");
    println!(
        "A folder of {:.2} GB: {calls} calls of about 2 KB, in traces of 10, half of them logged in two parts; feedback on one in {FEEDBACK_EVERY}, {OBJECTS} objects.\n",
        size / 1e9
    );
    let (mut first, mut second, mut asked) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let _ = std::fs::remove_dir_all(&index);
        first.push(child::figures::<2>(child::own("weave-read").arg("0").arg(dir.path())));
        second.push(child::figures::<2>(child::own("weave-read").arg("0").arg(dir.path())));
        let mut warm = child::own("weave-read");
        asked.push(child::figures::<WARM>(warm.arg(calls.to_string()).arg(dir.path())));
        eprintln!("round {} of {rounds}", round + 1);
    }
    println!("| question | p50 ms: median (low to high) | p99 ms | peak MB |\n|---|---|---|---|");
    row("the first one, which makes the index", &first, 0, None, Some(1));
    row("the first one of another process", &second, 0, None, Some(1));
    for (number, question) in QUESTIONS.iter().enumerate() {
        let p99 = (question.times > 100).then_some(2 * number + 1);
        row(question.name, &asked, 2 * number, p99, None);
    }
    let peak = column(&asked, WARM - 1).median;
    let index = size_of(&index) as f64;
    println!(
        "\nThe process that asked all of them took {peak:.0} MB at most. The index: {:.0} MB, {:.0} % of the data.",
        index / 1e6,
        index / size * 100.0
    );
}

/// The p50 and the p99 of each question, and the peak memory.
const WARM: usize = 2 * QUESTIONS.len() + 1;

fn column<const N: usize>(rounds: &[[f64; N]], at: usize) -> Spread {
    spread(rounds.iter().map(|figures| figures[at]).collect())
}

fn row<const N: usize>(
    name: &str,
    rounds: &[[f64; N]],
    p50: usize,
    p99: Option<usize>,
    peak: Option<usize>,
) {
    let p50 = column(rounds, p50);
    let or_none = |at: Option<usize>| {
        at.map_or("".to_owned(), |at| format!("{:.1}", column(rounds, at).median))
    };
    println!(
        "| {name} | {:.1} ({:.1} to {:.1}) | {} | {} |",
        p50.median,
        p50.low,
        p50.high,
        or_none(p99),
        or_none(peak)
    );
}

fn default() -> CallsFilter {
    CallsFilter::default()
}

fn newest() -> CallsQuery {
    let sort_by = Some(vec![SortBy::descending("started_at")]);
    CallsQuery { sort_by, limit: Some(50), ..CallsQuery::default() }
}

fn roots() -> CallsQuery {
    CallsQuery { filter: CallsFilter { trace_roots_only: Some(true), ..default() }, ..newest() }
}

fn of_trace(id: String) -> CallsQuery {
    CallsQuery { filter: CallsFilter { trace_ids: Some(vec![id]), ..default() }, ..newest() }
}

fn scored(operator: &str, score: u64) -> Value {
    json!({"$expr": {operator: [{"$getField": "output.score"}, {"$literal": score}]}})
}

fn fill(dir: &Path, bytes: u64) -> u64 {
    let options = OfflineOptions {
        min_free_bytes: Some(0),
        store: Options { flush: Flush::Never, ..Options::default() },
        ..OfflineOptions::default()
    };
    let server = OfflineTraceServer::open(dir, options).expect("a folder");
    let project: ProjectId = PROJECT.parse().expect("a project");
    for number in 0..OBJECTS {
        let object = json!({"object_id": format!("object{number}"), "val": call(number, PROJECT)});
        server.create_object(&project, &object).expect("logged");
    }
    let mut calls = 0;
    while size_of(dir) < bytes {
        for _ in 0..200 {
            let entries: Vec<Entry> = (calls..calls + 100).flat_map(entries_of).collect();
            server.log(&project, &entries).expect("logged");
            calls += 100;
        }
    }
    calls
}

/// Half of the calls are logged as a whole, half in two parts.
fn entries_of(number: u64) -> Vec<Entry> {
    let whole = call(number, PROJECT);
    if number % 2 == 1 {
        let without = |fields: &[&str]| {
            let mut part = whole.clone();
            part.as_object_mut()
                .expect("an object")
                .retain(|key, _| !fields.contains(&key.as_str()));
            part
        };
        let start = without(&["ended_at", "output", "summary", "exception"]);
        let end = without(&["inputs", "attributes", "op_name", "parent_id", "started_at"]);
        return vec![
            Entry::of_value(EntryType::CallStart, &start),
            Entry::of_value(EntryType::CallEnd, &end),
        ];
    }
    let mut entries = vec![Entry::of_value(EntryType::CallComplete, &whole)];
    if number.is_multiple_of(FEEDBACK_EVERY) {
        let feedback = json!({
            "id": whole["id"], "weave_ref": ref_of(&whole), "feedback_type": "wandb.note.1",
            "payload": {"note": "as it should be"}, "project_id": PROJECT,
        });
        entries.push(Entry::of_value(EntryType::FeedbackCreate, &feedback));
    }
    entries
}

fn ref_of(call: &Value) -> String {
    format!("weave:///{PROJECT}/call/{}", call["id"].as_str().expect("an id"))
}

/// What is asked of.
struct Asker {
    reads: Reads,
    project: ProjectId,
    calls: u64,
}

/// In a process of its own, so that nothing is in its memory. `calls`: so many are there; 0:
/// one question is asked.
pub fn run_child(calls: &str, dir: &Path) {
    let calls = calls.parse().expect("a number");
    let project = PROJECT.parse().expect("a project");
    let asker = Asker { reads: Reads::of_folder(dir), project, calls };
    let wanted = if calls == 0 { &QUESTIONS[..1] } else { &QUESTIONS };
    for question in wanted {
        let times = if calls == 0 { 1 } else { question.times };
        let mut took: Vec<Duration> = (0..times)
            .map(|number| {
                let began = Instant::now();
                (question.ask)(&asker, number);
                began.elapsed()
            })
            .collect();
        took.sort();
        let at = |part: usize| took[took.len() * part / 100].as_secs_f64() * 1e3;
        print!("{} ", at(50));
        if calls > 0 {
            print!("{} ", at(99));
        }
    }
    println!("{}", device::peak_memory() as f64 / 1e6);
}

impl Asker {
    /// A field of one of the calls.
    fn text(&self, number: u64, field: &str) -> String {
        let number = number * 7919 * 13 % self.calls;
        call(number, PROJECT)[field].as_str().expect("text").to_owned()
    }

    fn list(&self, query: CallsQuery, expected: usize) {
        let calls = self.reads.calls(&self.project, &query).expect("calls");
        let found: Vec<_> = calls.map(|call| call.expect("a call")).collect();
        assert_eq!(found.len(), expected);
    }

    fn count(&self, query: &CallsQuery) -> u64 {
        let all = CallsQuery { limit: None, ..query.clone() };
        self.reads.count_calls(&self.project, &all).expect("a count") as u64
    }

    fn feedback(&self, number: u64) {
        let number = number * 7919 % (self.calls / FEEDBACK_EVERY) * FEEDBACK_EVERY;
        let about = ref_of(&call(number, PROJECT));
        let found = self.reads.feedback_query(&json!({
            "project_id": PROJECT,
            "query": {"$expr": {"$eq": [{"$getField": "weave_ref"}, {"$literal": about}]}},
        }));
        assert_eq!(found.expect("feedback")["result"].as_array().map(Vec::len), Some(1));
    }

    fn object(&self, number: u64) {
        let object_id = format!("object{}", number % OBJECTS);
        let asked = json!({"project_id": PROJECT, "object_id": object_id, "digest": "latest"});
        self.reads.obj_read(&asked).expect("an object");
    }
}
