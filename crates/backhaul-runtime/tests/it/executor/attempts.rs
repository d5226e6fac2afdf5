//! Attempts: how many, how long, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use backhaul_runtime::dag::Node;
use backhaul_runtime::executor::{DagExecutor, FunctionNodes, NodeCall, NodeError};
use tokio::time::Instant;

use super::support::{Told, built, functions, of_nodes, run, work};

/// Fails `failures` times, then gives the attempt.
fn flaky(failures: u32) -> FunctionNodes {
    FunctionNodes::new().with("flaky", move |call: NodeCall| async move {
        if call.attempt <= failures {
            return Err(NodeError::new(format!("attempt {}", call.attempt)));
        }
        Ok(call.attempt)
    })
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_is_followed_by_another_after_a_wait_that_grows() {
    let dag = built(of_nodes([Node::function("a", "flaky").output_key("n").max_attempts(4)]));
    let begun = Instant::now();
    let result = run(&DagExecutor::new(flaky(3)), &dag).await;
    assert_eq!(begun.elapsed().as_millis() / 10, 60);
    assert_eq!(result.final_context.to_value()["n"], 4);
    assert_eq!(result.node("a").unwrap().attempts, 4);
    assert_eq!(result.node("a").unwrap().error, None);

    let result = run(&DagExecutor::new(flaky(4)), &dag).await;
    assert_eq!(result.error.as_deref(), Some("the node `a` failed: attempt 4"));
    assert_eq!(result.node("a").unwrap().attempts, 4);
}

#[tokio::test(start_paused = true)]
async fn a_final_error_is_not_tried_again() {
    let nodes = FunctionNodes::new()
        .with("no", |_| async { Err::<(), _>(NodeError::fatal("no such sensor")) });
    let result = run(&DagExecutor::new(nodes), &built(of_nodes([Node::function("a", "no")]))).await;
    assert_eq!(result.node("a").unwrap().attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_given_up_and_the_next_one_knows() {
    let nodes = FunctionNodes::new().with("slow", |call: NodeCall| async move {
        if call.attempt == 1 {
            assert!(!call.may_have_happened);
            tokio::time::sleep(Duration::from_secs(3_600)).await;
        }
        Ok(call.may_have_happened)
    });
    let node = Node::function("a", "slow").timeout(Duration::from_secs(5)).output_key("n");
    let executor = DagExecutor::new(nodes);
    let begun = Instant::now();
    let result = run(&executor, &built(of_nodes([node.clone()]))).await;
    assert_eq!(result.final_context.to_value()["n"], true);
    assert_eq!(begun.elapsed().as_millis() / 10, 510);
    assert!((5_000.0..5_010.0).contains(&result.node("a").unwrap().duration_ms));

    let result = run(&executor, &built(of_nodes([node.max_attempts(1)]))).await;
    assert_eq!(result.error.as_deref(), Some("the node `a` failed: timed out after 5 s"));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_waits_for_its_next_attempt_does_not_hold_up_the_others() {
    let told = Told::default();
    let failed = Arc::new(AtomicU32::new(0));
    let nodes = functions(&told).with("flaky", move |_| {
        let count = failed.fetch_add(1, Ordering::SeqCst);
        async move { if count == 0 { Err(NodeError::new("once")) } else { Ok(()) } }
    });
    let dag = built(of_nodes([Node::function("a", "flaky"), work("b"), work("c")]).edge("b", "c"));
    let result = run(&DagExecutor::new(nodes), &dag).await;
    assert!(result.success());
    assert_eq!(result.node_results.last().unwrap().node_id, "a");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_of_its_node_alone() {
    let nodes = FunctionNodes::new()
        .with("late", |call: NodeCall| async move {
            if call.attempt < 3 {
                tokio::task::yield_now().await;
                panic!("attempt {} went wrong", call.attempt);
            }
            Ok(())
        })
        .with_plain("early", |_| -> () { panic!("at once") });
    let dag = built(
        of_nodes([Node::function("a", "late"), Node::function("b", "early").max_attempts(1)])
            .edge("a", "b"),
    );
    let result = run(&DagExecutor::new(nodes), &dag).await;
    assert_eq!(result.node("a").unwrap().attempts, 3);
    assert_eq!(result.error.as_deref(), Some("the node `b` failed: panicked: at once"));
}
