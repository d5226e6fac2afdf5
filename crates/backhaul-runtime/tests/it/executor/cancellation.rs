//! Runs that are told to stop.

use std::time::Duration;

use backhaul_agent::Context;
use backhaul_runtime::RunStatus;
use backhaul_runtime::dag::Node;
use backhaul_runtime::executor::{
    CancellationToken, DagExecutor, FunctionNodes, NodeCall, ResumeError, RunOptions,
};
use backhaul_runtime::persistence::{PersistenceErrorKind, Recovery};
use backhaul_testkit::SimDisk;

use super::support::{Told, built, chain, ends, functions, keeping, of_nodes, work};

fn options(token: &CancellationToken) -> RunOptions {
    RunOptions::new().run_id("r").cancellation(token)
}

#[tokio::test(start_paused = true)]
async fn what_runs_is_dropped_and_what_has_not_begun_is_skipped() {
    let told = Told::default();
    let token = CancellationToken::new();
    let stop = token.clone();
    let nodes = functions(&told)
        .with("hang", |_| async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            Ok(())
        })
        .with("stop", move |call: NodeCall| {
            let stop = stop.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                stop.cancel("the battery is low");
                assert!(call.cancellation.is_cancelled());
                std::future::pending::<()>().await;
                Ok(())
            }
        });
    let dag = built(
        of_nodes([work("a"), Node::function("h", "hang"), Node::function("s", "stop"), work("z")])
            .edge("a", "h")
            .edge("a", "s")
            .edge("h", "z"),
    );
    let disk = SimDisk::new();
    let executor = DagExecutor::new(nodes).context_persistence(keeping(&disk));
    let result = executor.run_with(&dag, Context::new(), options(&token)).await;
    assert_eq!(result.status, RunStatus::Cancelled);
    assert_eq!(result.error.as_deref(), Some("cancelled: the battery is low"));
    let expected = [("a", Some(true)), ("h", Some(false)), ("s", Some(false)), ("z", None)];
    assert_eq!(ends(&result), expected);
    assert_eq!(result.node("h").unwrap().error.as_deref(), Some("cancelled before it ended"));
    assert!(result.final_context.to_value().get("a").is_some());
    // It does not go on, and what it came to is kept.
    assert_eq!(keeping(&disk).recover_run(Recovery::any()).unwrap(), None);
    assert_eq!(
        keeping(&disk).recover_latest().unwrap().unwrap().to_value(),
        result.final_context.to_value()
    );
    let error = executor.resume(&dag, "r").await.unwrap_err();
    assert!(
        matches!(&error, ResumeError::Persistence(error) if error.kind() == PersistenceErrorKind::NotResumable),
        "{error}"
    );
}

#[tokio::test]
async fn a_run_that_is_cancelled_before_it_begins_does_nothing() {
    let told = Told::default();
    let token = CancellationToken::new();
    token.cancel("");
    let executor = DagExecutor::new(functions(&told));
    let result =
        executor.run_with(&built(chain(&["a", "b"])), Context::new(), options(&token)).await;
    assert_eq!(result.error.as_deref(), Some("cancelled"));
    assert_eq!(ends(&result), [("a", None), ("b", None)]);
    assert!(told.all().is_empty());
}

#[tokio::test]
async fn a_chain_that_never_waits_is_cancelled_between_two_nodes() {
    let token = CancellationToken::new();
    let stop = token.clone();
    let nodes = FunctionNodes::new()
        .with_plain("nothing", |_| ())
        .with_plain("stop", move |_| stop.cancel("enough"));
    let ids: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let nodes_of = ids
        .iter()
        .enumerate()
        .map(|(n, id)| Node::function(id, if n == 40 { "stop" } else { "nothing" }));
    let dag = ids.windows(2).fold(of_nodes(nodes_of), |dag, pair| dag.edge(&pair[0], &pair[1]));
    let executor = DagExecutor::new(nodes);
    let result = executor.run_with(&built(dag), Context::new(), options(&token)).await;
    let run = result.node_results.iter().filter(|node| node.success == Some(true)).count();
    assert_eq!((result.status, run), (RunStatus::Cancelled, 41));
}
