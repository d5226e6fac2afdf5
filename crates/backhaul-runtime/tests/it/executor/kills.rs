//! Real processes that run a graph on a real folder, killed at random moments: every effect is
//! there once, and no node runs again that had ended.
//!
//! `BACKHAUL_KILLS` asks for more kills than the ordinary run has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use backhaul_agent::Context;
use backhaul_runtime::dag::{Dag, Node};
use backhaul_runtime::executor::{DagExecutor, FunctionNodes, NodeCall, NodeError};
use backhaul_runtime::persistence::{ContextPersistence, PersistenceOptions};
use backhaul_testkit::Prng;

use super::support::{built, of_nodes};

/// Kills in the ordinary test run.
const KILLS: u64 = 40;
/// Kills of processes that use one folder, one after another.
const KILLS_PER_FOLDER: u64 = 10;

const FOLDER: &str = "BACKHAUL_RUNS_CHILD_FOLDER";
/// How many runs the process begins before it ends by itself.
const COUNT: &str = "BACKHAUL_RUNS_CHILD_COUNT";
/// Sabotage: what happens in a run is not written down.
const SABOTAGE: &str = "BACKHAUL_RUNS_CHILD_SABOTAGE";

const NODES: [&str; 12] = ["a", "b", "c", "p", "q", "r", "s", "join", "x", "y", "z", "end"];

/// A chain, four nodes at the same time, and a chain.
fn dag() -> Arc<Dag> {
    let nodes = NODES.map(|id| Node::function(id, "act").output_key(id).max_attempts(1));
    let mut dag = of_nodes(nodes);
    for beside in ["p", "q", "r", "s"] {
        dag = dag.edge("c", beside).edge(beside, "join");
    }
    for pair in [["a", "b"], ["b", "c"], ["join", "x"], ["x", "y"], ["y", "z"], ["z", "end"]] {
        dag = dag.edge(pair[0], pair[1]);
    }
    built(dag)
}

fn effects(folder: &Path) -> PathBuf {
    folder.join("effects")
}

fn log(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// One system call: a line is there or it is not.
fn append(path: &Path, line: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

// --- The process that is killed ----------------------------------------------

/// Does it, unless the key says that it was done.
async fn act(folder: Arc<Path>, call: NodeCall) -> Result<u32, NodeError> {
    let (step, attempt) = (&call.step, call.attempt);
    append(&log(&folder), &format!("begin {step} {attempt} {}", call.may_have_happened))?;
    tokio::task::yield_now().await;
    if !lines(&effects(&folder)).iter().any(|key| **key == **step) {
        append(&effects(&folder), step)?;
    }
    append(&log(&folder), &format!("finish {step}"))?;
    Ok(attempt)
}

/// NOT A TEST. The tests below start this very program again with [`FOLDER`] set, and kill it.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder: Arc<Path> = PathBuf::from(folder).into();
    let count = std::env::var(COUNT).map_or(usize::MAX, |text| text.parse().unwrap());
    let options = PersistenceOptions {
        sabotage_skip_journal: std::env::var(SABOTAGE).is_ok(),
        ..PersistenceOptions::default()
    };
    let persistence = ContextPersistence::open(folder.join("context"), options).unwrap();
    let nodes = FunctionNodes::new().with("act", move |call| act(Arc::clone(&folder), call));
    let executor = DagExecutor::new(nodes).context_persistence(persistence);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let dag = dag();
        std::io::stdout().write_all(b"\nbegun\n").unwrap();
        while let Some(result) = executor.recover_run(&dag).await.unwrap() {
            assert!(result.success(), "{result:?}");
        }
        for _ in 0..count {
            let result = executor.run(&dag, Context::new()).await;
            assert!(result.success(), "{result:?}");
        }
    });
}

fn start(folder: &Path, count: Option<usize>, sabotage: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "executor::kills::child", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(count) = count {
        command.env(COUNT, count.to_string());
    }
    if sabotage {
        command.env(SABOTAGE, "1");
    }
    command.spawn().unwrap()
}

fn run_and_kill(folder: &Path, sabotage: bool, random: &mut Prng) {
    let mut child = start(folder, None, sabotage);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("begun") {
        assert!(output.read_line(&mut text).unwrap() > 0, "it ended by itself: {text}");
    }
    // The moment of the kill is what varies: nothing waits for it.
    std::thread::sleep(Duration::from_micros(random.below(40_000)));
    child.kill().unwrap();
    output.read_to_string(&mut text).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{text}");
}

// --- What has to be there ------------------------------------------------------

#[derive(Debug, Default)]
struct Seen {
    kills: u64,
    runs: usize,
    /// Nodes that were under way when their process was killed, and began again.
    again: usize,
}

/// What is told of one run: the attempts at each node, in their order.
#[derive(Default)]
struct Told {
    attempts: BTreeMap<String, u32>,
    again: usize,
}

impl Told {
    fn begins(&mut self, dag: &Dag, id: &str, attempt: u32, may: bool) -> Result<(), String> {
        // A node is on disk as ended before one begins that waits for it.
        let after = dag.edges().iter().filter(|edge| edge.source == id);
        for edge in after {
            if self.attempts.contains_key(&edge.target) {
                return Err(format!("{id} had ended, and begins again after {}", edge.target));
            }
        }
        let before = self.attempts.insert(id.to_owned(), attempt).unwrap_or(0);
        // An attempt may be on disk whose process was killed before it began.
        if attempt <= before || may != (attempt > 1) {
            return Err(format!("{id} begins attempt {attempt}, {may}, again after {before}"));
        }
        self.again += usize::from(may);
        Ok(())
    }
}

fn runs(folder: &Path) -> Result<BTreeMap<String, Told>, String> {
    let dag = dag();
    let mut runs: BTreeMap<String, Told> = BTreeMap::new();
    for line in lines(&log(folder)) {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["begin", step, attempt, may] = words[..] {
            let (run, id) = step.rsplit_once('/').unwrap();
            let run = runs.entry(run.to_owned()).or_default();
            run.begins(&dag, id, attempt.parse().unwrap(), may == "true")?;
        }
    }
    Ok(runs)
}

/// Every effect of every run once.
fn check_effects(folder: &Path, runs: &BTreeMap<String, Told>) -> Result<(), String> {
    let mut found = BTreeSet::new();
    for key in lines(&effects(folder)) {
        if !found.insert(key.clone()) {
            return Err(format!("{key} has happened again"));
        }
    }
    let steps = runs.keys().flat_map(|run| NODES.map(|id| format!("{run}/{id}")));
    let expected: BTreeSet<String> = steps.collect();
    match expected.symmetric_difference(&found).next() {
        Some(step) => Err(format!("{step} has not happened, or nobody began it")),
        None => Ok(()),
    }
}

fn campaign(wanted: u64, sabotage: bool) -> Result<Seen, String> {
    let mut random = Prng::new(7);
    let mut seen = Seen::default();
    while seen.kills < wanted {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..KILLS_PER_FOLDER.min(wanted - seen.kills) {
            run_and_kill(folder.path(), sabotage, &mut random);
            seen.kills += 1;
        }
        let last = start(folder.path(), Some(0), sabotage).wait_with_output().unwrap();
        assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stdout));
        let runs = runs(folder.path())?;
        check_effects(folder.path(), &runs)?;
        seen.runs += runs.len();
        seen.again += runs.values().map(|run| run.again).sum::<usize>();
    }
    Ok(seen)
}

#[test]
fn a_killed_run_goes_on_and_every_effect_is_there_once() {
    let wanted = std::env::var("BACKHAUL_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let seen = campaign(wanted, false).unwrap();
    println!("{seen:?}");
    assert!(seen.again as u64 > wanted / 4, "too few were hit at work: {seen:?}");
}

#[test]
fn the_campaign_notices_runs_that_are_not_written_down() {
    let error = campaign(20, true).unwrap_err();
    assert!(error.contains("again"), "{error}");
}
