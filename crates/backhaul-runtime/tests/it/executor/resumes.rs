//! Runs that go on: after their future was dropped anywhere, after a failure, never on another
//! graph.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use backhaul_agent::Context;
use backhaul_runtime::RunStatus;
use backhaul_runtime::dag::{Dag, Node};
use backhaul_runtime::executor::{
    DagExecutor, ExecutionResult, FunctionNodes, NodeCall, NodeError, ResumeError, RunOptions,
};
use backhaul_runtime::persistence::{PersistenceErrorKind, Recovery};
use backhaul_testkit::SimDisk;
use serde_json::json;

use super::support::{
    Told, built, chain, diamond, ends, fail, functions, keeping, of_nodes, run, work,
};

/// Polls a future so many times, and drops it if it is not ready then.
pub(super) async fn polled<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Goes on with a run. One whose future was dropped lets go of its files when the write that was
/// under way is done. `None`: that was its end.
pub(super) async fn gone_on(
    executor: &DagExecutor,
    dag: &Arc<Dag>,
    run_id: &str,
) -> Option<ExecutionResult> {
    loop {
        match executor.resume(dag, run_id).await {
            Ok(result) => return Some(result),
            Err(ResumeError::Persistence(error)) => match error.kind() {
                PersistenceErrorKind::Busy => tokio::task::yield_now().await,
                PersistenceErrorKind::NotResumable => return None,
                _ => panic!("{error}"),
            },
            Err(error) => panic!("{error}"),
        }
    }
}

fn executor(disk: &SimDisk, told: &Told) -> DagExecutor {
    DagExecutor::new(functions(told)).context_persistence(keeping(disk))
}

fn options() -> RunOptions {
    RunOptions::new().run_id("r")
}

/// A runtime with one thread for writes: what is given to it next begins after the write of a
/// dropped run has gone to its end.
fn with_one_writer(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().max_blocking_threads(1).build().unwrap().block_on(test);
}

/// The nodes that have ended on disk, of a run whose future was dropped. `None`: it had ended
/// itself, or never begun.
async fn ended(disk: &SimDisk) -> Option<BTreeSet<String>> {
    tokio::task::spawn_blocking(|| {}).await.unwrap();
    let state = keeping(disk).recover_run(Recovery::any()).unwrap()?;
    Some(state.nodes.into_iter().map(|node| node.node_id).collect())
}

fn has_ended(disk: &SimDisk) -> bool {
    keeping(disk).recover_latest().unwrap().is_some_and(|context| context.len() == 6)
}

#[test]
fn a_run_that_is_dropped_anywhere_goes_on_to_the_same_end() {
    with_one_writer(async {
        let dag = built(diamond());
        let whole = run(&DagExecutor::new(functions(&Told::default())), &dag).await;
        let mut interrupted = 0;
        for times in 1.. {
            let (disk, told) = (SimDisk::new(), Told::default());
            let running = executor(&disk, &told);
            if polled(times, running.run_with(&dag, Context::new(), options())).await.is_some() {
                break;
            }
            interrupted += 1;
            // Nothing of it may be on disk yet; then it never began.
            let Some(ended) = ended(&disk).await else {
                assert!(told.all().is_empty() || has_ended(&disk));
                continue;
            };
            let before = told.begun().len();
            let result = gone_on(&executor(&disk, &told), &dag, "r").await.unwrap();
            assert_eq!(result.status, RunStatus::Completed);
            assert_eq!(result.final_context.to_value()["f"], whole.final_context.to_value()["f"]);
            let keys = |result: &ExecutionResult| {
                result.final_context.keys().map(str::to_owned).collect::<BTreeSet<_>>()
            };
            assert_eq!(keys(&result), keys(&whole));
            assert_eq!(result.node_results.len(), 6);
            for again in &told.begun()[before..] {
                assert!(!ended.contains(again), "{again} had ended, and runs again");
            }
        }
        assert!(interrupted > 10, "{interrupted}");
    });
}

#[test]
fn a_run_that_is_interrupted_again_and_again_comes_to_its_end() {
    with_one_writer(async {
        let dag = built(diamond());
        for step in 2..9 {
            let (disk, told) = (SimDisk::new(), Told::default());
            polled(step, executor(&disk, &told).run_with(&dag, Context::new(), options())).await;
            let Some(_) = ended(&disk).await else { continue };
            for times in (step..).step_by(2) {
                let executor = executor(&disk, &told);
                match polled(times, executor.resume(&dag, "r")).await {
                    Some(Ok(result)) => {
                        assert!(result.success());
                        break;
                    }
                    Some(Err(ResumeError::Persistence(error))) => match error.kind() {
                        PersistenceErrorKind::NotResumable => break,
                        kind => assert_eq!(kind, PersistenceErrorKind::Busy),
                    },
                    Some(Err(error)) => panic!("{error}"),
                    None => {}
                }
            }
            assert!(has_ended(&disk));
        }
    });
}

#[tokio::test]
async fn a_node_that_was_under_way_knows_so_and_has_another_attempt() {
    let disk = SimDisk::new();
    let begins = Arc::new(tokio::sync::Notify::new());
    let nodes = |hangs: bool| {
        let begins = Arc::clone(&begins);
        FunctionNodes::new().with("once", move |call: NodeCall| {
            let begins = Arc::clone(&begins);
            async move {
                if hangs {
                    begins.notify_one();
                    std::future::pending::<()>().await;
                }
                Ok(json!([call.attempt, call.may_have_happened, &*call.step]))
            }
        })
    };
    let executor = |hangs| DagExecutor::new(nodes(hangs)).context_persistence(keeping(&disk));
    let dag = built(of_nodes([Node::function("a", "once").output_key("a").max_attempts(1)]));
    let (hanging, graph) = (executor(true), Arc::clone(&dag));
    let running = tokio::spawn(async move {
        hanging.run_with(&graph, Context::new(), options()).await;
    });
    begins.notified().await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    let result = gone_on(&executor(false), &dag, "r").await.unwrap();
    assert_eq!(result.final_context.to_value()["a"], json!([2, true, "r/a"]));
    assert_eq!(result.node("a").unwrap().attempts, 2);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_given_up_and_failed_knows_so_when_the_run_goes_on() {
    for (name, unclear) in [("slow", true), ("unclear", true), ("panics", true), ("clear", false)] {
        let disk = SimDisk::new();
        let nodes = FunctionNodes::new().with("first", move |call: NodeCall| async move {
            match (call.attempt, name) {
                (1, "slow") => std::future::pending().await,
                (1, "unclear") => Err(NodeError::unclear("no answer came")),
                (1, "panics") => panic!("in the middle"),
                (..=2, _) => Err(NodeError::new("not now")),
                (attempt, _) => Ok(json!([attempt, call.may_have_happened])),
            }
        });
        let executor = DagExecutor::new(nodes).context_persistence(keeping(&disk));
        let node = Node::function("a", "first").output_key("a").max_attempts(2);
        let dag = built(of_nodes([node]));
        let first = executor.run_with(&dag, Context::new(), options()).await;
        assert_eq!(first.error.as_deref(), Some("the node `a` failed: not now"));
        let result = executor.resume(&dag, "r").await.unwrap();
        assert_eq!(result.final_context.to_value()["a"], json!([3, unclear]), "{name}");
    }
}

#[tokio::test]
async fn a_failed_run_runs_what_failed_and_what_was_skipped_again() {
    let (disk, told) = (SimDisk::new(), Told::default());
    let dag = built(
        of_nodes([work("a"), fail("b"), work("c"), fail("x"), work("y")])
            .edge("a", "b")
            .edge("b", "c")
            .edge_on_failure("x", "y"),
    );
    let failing = executor(&disk, &told);
    let first = failing.run_with(&dag, Context::new(), options()).await;
    assert_eq!(first.status, RunStatus::Failed);
    let before = told.begun().len();
    let again = failing.resume(&dag, "r").await.unwrap();
    assert_eq!(again.status, RunStatus::Failed);
    assert_eq!(told.begun()[before..], ["b"]);
    assert_eq!(again.node("b").unwrap().attempts, 2);
    let repaired = FunctionNodes::new().with_plain("work", |_| 1).with_plain("fail", |_| 2);
    let repaired = DagExecutor::new(repaired).context_persistence(keeping(&disk));
    let result = repaired.recover_run(&dag).await.unwrap().unwrap();
    assert!(result.success());
    assert_eq!(result.final_context.to_value()["c"], 1);
    // A failure that was handled stays one.
    assert_eq!(result.node("x").unwrap().success, Some(false));
    assert_eq!(repaired.recover_run(&dag).await.unwrap(), None);
}

#[tokio::test]
async fn a_run_does_not_go_on_with_another_graph_unless_that_is_allowed() {
    let (disk, told) = (SimDisk::new(), Told::default());
    let executor = executor(&disk, &told);
    let dag = built(of_nodes([work("a"), fail("b")]).edge("a", "b"));
    executor.run_with(&dag, Context::new(), options()).await;
    let changed = built(of_nodes([work("a"), work("b"), work("c")]).edge("a", "b").edge("b", "c"));
    let image = disk.paths();
    let error = executor.resume(&changed, "r").await.unwrap_err();
    assert!(matches!(error, ResumeError::ChangedGraph { .. }));
    let text = error.to_string();
    assert!(
        text.contains("run \"r\" began with the graph ") && text.contains("allow_changed_graph"),
        "{text}"
    );
    assert!(executor.recover_run(&changed).await.is_err());
    let foreign = built(chain(&["z"]));
    let allowed = || RunOptions::new().allow_changed_graph(true);
    let error = executor.resume_with(&foreign, "r", allowed()).await.unwrap_err();
    assert!(error.to_string().contains("the history names the node `a`"), "{error}");
    let unknown = built(of_nodes([Node::tool("t", "x")]));
    let error = executor.resume_with(&unknown, "r", allowed()).await.unwrap_err();
    assert!(matches!(error, ResumeError::CannotRun(_)), "{error}");
    assert_eq!(disk.paths(), image, "what is refused touches nothing");
    let result = executor.resume_with(&changed, "r", allowed()).await.unwrap();
    assert_eq!(ends(&result), [("a", Some(true)), ("b", Some(true)), ("c", Some(true))]);
    assert_eq!(told.begun(), ["a", "b", "b", "c"]);
}

#[tokio::test]
async fn what_cannot_go_on_says_why() {
    let told = Told::default();
    let dag = built(chain(&["a"]));
    let error = DagExecutor::new(functions(&told)).resume(&dag, "r").await.unwrap_err();
    assert!(error.to_string().starts_with("this executor keeps no runs"), "{error}");
    let disk = SimDisk::new();
    let executor = executor(&disk, &told);
    let error = executor.resume(&dag, "r").await.unwrap_err();
    assert!(error.to_string().starts_with("there is no run \"r\""), "{error}");
    executor.run_with(&dag, Context::new(), options()).await;
    let error = executor.resume(&dag, "r").await.unwrap_err();
    assert!(error.to_string().contains("is completed"), "{error}");
}

#[tokio::test]
async fn a_run_that_goes_on_elsewhere_is_neither_begun_nor_gone_on_with() {
    let (disk, told) = (SimDisk::new(), Told::default());
    let dag = built(chain(&["a"]));
    let elsewhere = keeping(&disk)
        .begin(backhaul_runtime::persistence::RunState::new("r", "d", Context::new()))
        .unwrap();
    let result = executor(&disk, &told).run_with(&dag, Context::new(), options()).await;
    assert_eq!(result.status, RunStatus::Failed);
    assert!(result.error.unwrap().contains("goes on"));
    assert_eq!(executor(&disk, &told).recover_run(&dag).await.unwrap(), None);
    assert!(told.all().is_empty());
    drop(elsewhere);
    assert!(executor(&disk, &told).recover_run(&dag).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn of_several_that_go_on_with_what_there_is_each_run_has_one() {
    let dag = built(of_nodes([work("a"), fail("b")]).edge("a", "b"));
    for _ in 0..30 {
        let (disk, told) = (SimDisk::new(), Told::default());
        for run_id in ["one", "two"] {
            let options = RunOptions::new().run_id(run_id);
            executor(&disk, &told).run_with(&dag, Context::new(), options).await;
        }
        let again = Told::default();
        let repaired = || {
            let told = again.clone();
            let nodes = FunctionNodes::new().with_plain("work", |_| ());
            let nodes = nodes.with_plain("fail", move |call| told.tell(&*call.run_id));
            DagExecutor::new(nodes).context_persistence(keeping(&disk))
        };
        let several = [repaired(), repaired(), repaired()];
        let several = several.map(|executor| {
            let dag = Arc::clone(&dag);
            tokio::spawn(async move { executor.recover_run(&dag).await.unwrap() })
        });
        let mut found = Vec::new();
        for one in several {
            found.extend(one.await.unwrap().map(|result| result.run_id));
        }
        found.sort();
        assert_eq!(found, ["one", "two"]);
        let mut again = again.all();
        again.sort();
        assert_eq!(again, ["one", "two"]);
    }
}
