//! What a step of a graph costs, beside a plain loop and beside LangGraph with its SQLite
//! checkpointer; and a step of a run whose context is large.

use std::fmt;
use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use backhaul_agent::{Context, ContextPatch};
use backhaul_runtime::dag::{Dag, Node};
use backhaul_runtime::executor::{DagExecutor, FunctionNodes};
use backhaul_runtime::persistence::{ContextPersistence, PersistenceOptions, RunState};
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use crate::child::{self, Asked};
use crate::context::document;
use crate::engines::folder;
use crate::report::Spread;
use crate::rounds::Rounds;
use crate::shuffled;

/// Nodes of the chain.
const NODES: u64 = 50;
/// Objects in the list of each context: about 1 MB and 10 MB as JSON.
const SIZES: [u64; 2] = [10_000, 100_000];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    Loop,
    NoOp,
    Executor,
    LangGraph,
    DurableLoop,
    Kept,
    SqliteAsync,
    SqliteSync,
}

const ALL: [How; 8] = [
    How::Loop,
    How::NoOp,
    How::Executor,
    How::LangGraph,
    How::DurableLoop,
    How::Kept,
    How::SqliteAsync,
    How::SqliteSync,
];

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            How::Loop => "a plain loop",
            How::NoOp => "backhaul, nodes that do nothing",
            How::Executor => "backhaul",
            How::LangGraph => "LangGraph",
            How::DurableLoop => "a plain loop, each step appended to a file and flushed",
            How::Kept => "backhaul, kept by `ContextPersistence`",
            How::SqliteAsync => "LangGraph, `SqliteSaver`, written while the next step runs",
            How::SqliteSync => "LangGraph, `SqliteSaver`, on disk before the next step",
        })
    }
}

impl How {
    /// Runs in a round: the figure is the mean of a step.
    fn runs(self) -> u64 {
        match self {
            How::Loop | How::NoOp | How::Executor => 200,
            How::DurableLoop | How::Kept => 10,
            How::LangGraph | How::SqliteAsync | How::SqliteSync => 3,
        }
    }

    fn in_python(self) -> Option<&'static str> {
        match self {
            How::LangGraph => Some("memory"),
            How::SqliteAsync => Some("sqlite-async"),
            How::SqliteSync => Some("sqlite-sync"),
            _ => None,
        }
    }
}

/// The microseconds of a step.
type Times = Rounds<How, f64>;

pub fn measure(rounds: u64) {
    let dir = tempfile::tempdir_in(folder()).expect("a folder to measure in");
    let runtime = Runtime::new().expect("a runtime");
    let mut python = start_python(dir.path());
    let mut times = Times::new();
    for round in 0..rounds {
        for how in shuffled(round, &ALL) {
            let dir = tempfile::tempdir_in(dir.path()).expect("a folder");
            let micros = match (how.in_python(), &mut python) {
                (Some(what), Some(python)) => in_python(python, what, how.runs()),
                (Some(_), None) => continue,
                (None, _) => runtime.block_on(of_a_step(how, dir.path())),
            };
            times.add(round, how, micros);
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    print(&times);
    print_large(rounds, dir.path());
}

async fn of_a_step(how: How, dir: &Path) -> f64 {
    match how {
        How::Loop => plain_loop(how.runs(), None),
        How::DurableLoop => plain_loop(how.runs(), File::create(dir.join("steps")).ok()),
        _ => executor(how, dir).await,
    }
}

/// A function for each step, found by name, whose output goes into an object.
fn plain_loop(runs: u64, mut file: Option<File>) -> f64 {
    type Step = Box<dyn Fn() -> Value>;
    let step =
        |number: u64| -> (String, Step) { (format!("n{number}"), Box::new(move || json!(number))) };
    let steps: std::collections::BTreeMap<String, Step> = (0..NODES).map(step).collect();
    let began = Instant::now();
    for _ in 0..runs {
        let mut context = Map::new();
        for (name, step) in &steps {
            context.insert("number".to_owned(), step());
            if let Some(file) = &mut file {
                writeln!(file, "{}", json!({"node": name, "context": context})).expect("a line");
                file.sync_data().expect("a flush");
            }
        }
        black_box(context);
    }
    per_step(began, runs)
}

async fn executor(how: How, dir: &Path) -> f64 {
    let mut functions = FunctionNodes::new();
    let mut dag = Dag::new("chain");
    for number in 0..NODES {
        let name = format!("n{number}");
        functions = functions.with_plain(&name, move |_| json!(number));
        let node = Node::function(&name, &name);
        dag = dag.node(if how == How::NoOp { node } else { node.output_key("number") });
        if number > 0 {
            dag = dag.edge(format!("n{}", number - 1), name);
        }
    }
    let dag = Arc::new(dag.build().expect("a chain"));
    let mut executor = DagExecutor::new(functions);
    if how == How::Kept {
        executor = executor.context_persistence(ContextPersistence::new(dir).expect("a folder"));
    }
    let began = Instant::now();
    for _ in 0..how.runs() {
        let result = executor.run(&dag, Context::new()).await;
        assert!(result.success(), "{result:?}");
    }
    per_step(began, how.runs())
}

fn per_step(began: Instant, runs: u64) -> f64 {
    began.elapsed().as_secs_f64() * 1e6 / (runs * NODES) as f64
}

fn start_python(dir: &Path) -> Option<Asked> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/langgraph/steps.py");
    match child::python_of("scripts/peer-venv", &["langgraph"]) {
        Ok(mut python) => Some(Asked::start(python.arg(script).arg(dir).arg(NODES.to_string()))),
        Err(error) => {
            println!("- LangGraph is not measured: {error}");
            None
        }
    }
}

fn in_python(python: &mut Asked, what: &str, runs: u64) -> f64 {
    let micros = |_| python.ask(what).parse::<f64>().expect("microseconds");
    (0..runs).map(micros).sum::<f64>() / runs as f64
}

fn print(times: &Times) {
    println!(
        "| a chain of {NODES} nodes | us a step: median (low to high) | steps/s | beside backhaul |\n|---|---|---|---|"
    );
    for how in ALL {
        let ours = match how {
            How::Loop | How::NoOp | How::Executor | How::LangGraph => How::Executor,
            _ => How::Kept,
        };
        let spread = times.column(how, |it| *it);
        println!(
            "| {how} | {} | {:.0} | {} |",
            shown(&spread),
            1e6 / spread.median,
            shown(&times.ratio(how, ours, |it| *it)),
        );
    }
}

fn shown(spread: &Spread) -> String {
    let Spread { low, median, high } = spread;
    if median.is_nan() {
        return "-".to_owned();
    }
    let digits = if *median < 100.0 { 2 } else { 0 };
    format!("{median:.digits$} ({low:.digits$} to {high:.digits$})")
}

/// A patch of a run that is kept: what `apply` takes, and what it takes with the checkpoints.
fn print_large(rounds: u64, dir: &Path) {
    println!(
        "\n| a patch, kept: us | median (low to high) | with a checkpoint every 10 patches |\n|---|---|---|"
    );
    for objects in SIZES {
        let mut times = Rounds::new();
        for round in 0..rounds {
            for interval in shuffled(round, &[10, u64::MAX]) {
                times.add(round, interval, patches(dir, objects, interval));
            }
        }
        let [plain, checkpoints] =
            [u64::MAX, 10].map(|interval| shown(&times.column(interval, |it| *it)));
        println!("| {objects} objects in the list | {plain} | {checkpoints} |");
    }
}

/// The mean microseconds of a patch to a run with a large context.
fn patches(dir: &Path, objects: u64, checkpoint_interval: u64) -> f64 {
    const PATCHES: u32 = 20;
    let dir = tempfile::tempdir_in(dir).expect("a folder");
    let options = PersistenceOptions { checkpoint_interval, ..PersistenceOptions::default() };
    let persistence = ContextPersistence::open(dir.path(), options).expect("a folder");
    let context = Context::from_value(document(objects)).expect("an object");
    let mut run = persistence.begin(RunState::new("run", "large", context)).expect("a run");
    let began = Instant::now();
    for number in 0..PATCHES {
        run.apply(ContextPatch::set("sensors.s500.celsius", number)).expect("a patch");
    }
    began.elapsed().as_secs_f64() * 1e6 / f64::from(PATCHES)
}
