//! Nodes that run at the same time and change the same things.

use backhaul_agent::ContextPatch;
use backhaul_runtime::dag::{DagBuilder, Node};
use backhaul_runtime::executor::{DagExecutor, FunctionNodes, MergeStrategy, NodeCall, NodeOutput};
use serde_json::json;

use super::support::{built, of_nodes, run};

/// Each makes the changes that stand in its config.
fn nodes() -> FunctionNodes {
    FunctionNodes::new().with("change", |call: NodeCall| async move {
        for _ in 0..call.node().id.len() {
            tokio::task::yield_now().await;
        }
        let changes = call.node().config["changes"].as_array().unwrap();
        let changes =
            changes.iter().map(|change| ContextPatch::from_value(change.clone()).unwrap());
        Ok(changes.fold(NodeOutput::default(), NodeOutput::patch))
    })
}

fn change(id: &str, patch: ContextPatch) -> Node {
    Node::function(id, "change").config("changes", vec![patch.to_value()])
}

fn beside(one: ContextPatch, other: ContextPatch) -> DagBuilder {
    of_nodes([change("one", one), change("other", other)])
}

async fn met(one: ContextPatch, other: ContextPatch) -> Option<String> {
    let result = run(&DagExecutor::new(nodes()), &built(beside(one, other))).await;
    assert!(result.success());
    assert!(result.conflicts.len() < 2);
    result.conflicts.first().map(|conflict| conflict.path.clone())
}

#[tokio::test]
async fn changes_of_one_place_meet_and_others_do_not() {
    let set = |path: &str| ContextPatch::set(path, 1);
    let merge = |value| ContextPatch::merge("m", value);
    assert_eq!(met(set("a.b"), set("a.b")).await.as_deref(), Some("a.b"));
    assert_eq!(met(set("a.b.c"), set("a")).await.as_deref(), Some("a.b.c"));
    assert_eq!(met(ContextPatch::delete("a"), set("a.b")).await.as_deref(), Some("a.b"));
    assert_eq!(met(set("a.b"), set("a.bc")).await, None);
    assert_eq!(met(merge(json!({"x": 1})), merge(json!({"y": 1}))).await, None);
    assert_eq!(met(merge(json!({"x": 1})), set("m.x.y")).await.as_deref(), Some("m.x.y"));
    let deep = |key: &str| merge(json!({"x": {"y": {key: 1}}}));
    assert_eq!(met(deep("k"), deep("l")).await, None);
    assert_eq!(met(deep("k"), deep("k")).await.as_deref(), Some("m.x.y.k"));
    assert_eq!(met(deep("k"), merge(json!({"x": {"y": 2}}))).await.as_deref(), Some("m.x.y.k"));
    let append = || ContextPatch::append("list", 1);
    assert_eq!(met(append(), append()).await, None);
    assert_eq!(met(append(), set("list")).await.as_deref(), Some("list"));
}

#[tokio::test]
async fn the_last_one_has_the_last_word_unless_that_is_an_error() {
    let dag = built(beside(ContextPatch::set("n", 1), ContextPatch::set("n", 2)));
    let result = run(&DagExecutor::new(nodes()), &dag).await;
    assert_eq!(result.final_context.to_value(), json!({"n": 2}));
    assert_eq!((&*result.conflicts[0].first, &*result.conflicts[0].last), ("one", "other"));

    let executor = DagExecutor::new(nodes()).merge_strategy(MergeStrategy::RaiseOnConflict);
    let result = run(&executor, &dag).await;
    assert_eq!(result.final_context.to_value(), json!({"n": 1}));
    assert_eq!(
        result.error.as_deref(),
        Some(
            "the node `other` failed: `one` and `other` ran at the same time, and both changed `n`"
        ),
    );
    assert_eq!(result.conflicts.len(), 1);
    assert_eq!(result.node("other").unwrap().attempts, 1);
}

#[tokio::test]
async fn objects_that_both_put_there_merge_where_that_is_asked_for() {
    let one = ContextPatch::set("seen", json!({"by": {"one": 1}, "last": "one"}));
    let other = ContextPatch::set("seen", json!({"by": {"other": 2}, "last": "other"}));
    let dag = built(beside(one, other));
    let executor = DagExecutor::new(nodes()).merge_strategy(MergeStrategy::DeepMerge);
    let result = run(&executor, &dag).await;
    let merged = json!({"seen": {"by": {"one": 1, "other": 2}, "last": "other"}});
    assert_eq!(result.final_context.to_value(), merged);
    assert_eq!(result.conflicts.len(), 1);
}

#[tokio::test]
async fn a_node_that_saw_the_other_one_does_not_meet_it() {
    let dag = beside(ContextPatch::set("n", 1), ContextPatch::set("n", 2)).edge("one", "other");
    let executor = DagExecutor::new(nodes()).merge_strategy(MergeStrategy::RaiseOnConflict);
    let result = run(&executor, &built(dag)).await;
    assert!(result.success() && result.conflicts.is_empty());
    // One at a time, the second one has seen the first one too.
    let dag = built(beside(ContextPatch::set("n", 1), ContextPatch::set("n", 2)));
    let result = run(&executor.max_parallel(1), &dag).await;
    assert!(result.success() && result.conflicts.is_empty());
}
