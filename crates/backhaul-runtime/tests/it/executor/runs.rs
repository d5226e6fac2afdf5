//! What runs when, and what is made of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backhaul_agent::{Context, PatchSource};
use backhaul_runtime::RunStatus;
use backhaul_runtime::dag::{Condition, Dag, Node};
use backhaul_runtime::executor::{
    DagExecutor, FunctionNodes, NodeCall, NodeError, NodeExecutor, NodeExecutors, NodeOutput,
    RunOptions,
};
use backhaul_testkit::SimDisk;
use serde_json::json;

use super::support::{
    Told, built, chain, diamond, ends, fail, functions, keeping, of_nodes, run, work,
};

#[tokio::test]
async fn a_node_runs_after_those_it_waits_for_and_sees_what_they_gave() {
    let told = Told::default();
    let executor = DagExecutor::new(functions(&told));
    let result = run(&executor, &built(diamond())).await;
    assert_eq!((result.status, result.error), (RunStatus::Completed, None));
    assert!(told.place("begin ddd") < told.place("end b"), "they run at the same time");
    for id in ["b", "cc", "ddd"] {
        assert!(told.place("end a") < told.place(&format!("begin {id}")));
        assert!(told.place(&format!("end {id}")) < told.place("begin e"));
    }
    let seen = |id: &str| result.final_context.to_value()[id]["seen"].clone();
    assert_eq!(seen("a"), json!([]));
    assert_eq!(seen("ddd"), json!(["a"]));
    assert_eq!(seen("e"), json!(["a", "b", "cc", "ddd"]));
    assert_eq!(result.node_results.len(), 6);
    assert_eq!(result.node_results[5].attempts, 1);
}

#[tokio::test]
async fn no_more_nodes_than_allowed_run_at_the_same_time() {
    for most in [1, 3, 8] {
        let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let highest = Arc::clone(&peak);
        let nodes = FunctionNodes::new().with("count", move |_| {
            let (now, peak) = (Arc::clone(&now), Arc::clone(&peak));
            async move {
                peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            }
        });
        let dag = built(of_nodes((0..20).map(|n| Node::function(n.to_string(), "count"))));
        let result = run(&DagExecutor::new(nodes).max_parallel(most), &dag).await;
        assert!(result.success());
        assert_eq!(highest.load(Ordering::SeqCst), most);
    }
}

#[tokio::test]
async fn edges_are_taken_as_their_conditions_say() {
    let told = Told::default();
    let dag = built(
        of_nodes(["read", "hot", "cold", "after"].map(work))
            .edge_when("read", "hot", Condition::equals("read.id", "read"))
            .edge_when("read", "cold", Condition::is_none("read"))
            .edge("cold", "after"),
    );
    let result = run(&DagExecutor::new(functions(&told)), &dag).await;
    assert!(result.success());
    let expected = [("read", Some(true)), ("cold", None), ("after", None), ("hot", Some(true))];
    assert_eq!(ends(&result), expected);
}

#[tokio::test]
async fn a_failure_that_nobody_handles_ends_the_run_and_the_rest_is_skipped() {
    let told = Told::default();
    let dag =
        built(of_nodes([fail("a"), work("bbbb"), work("c")]).edge("a", "c").edge("bbbb", "c"));
    let result = run(&DagExecutor::new(functions(&told)), &dag).await;
    assert_eq!(result.status, RunStatus::Failed);
    assert_eq!(result.error.as_deref(), Some("the node `a` failed: no answer"));
    // What runs then is awaited, and counts.
    assert_eq!(ends(&result), [("a", Some(false)), ("c", None), ("bbbb", Some(true))]);
    assert!(result.final_context.to_value().get("bbbb").is_some());
}

#[tokio::test]
async fn a_failure_that_an_edge_handles_does_not_end_the_run() {
    let told = Told::default();
    let dag = built(
        of_nodes([fail("a"), work("repair"), work("fine")])
            .edge_on_failure("a", "repair")
            .edge("a", "fine"),
    );
    let result = run(&DagExecutor::new(functions(&told)), &dag).await;
    assert!(result.success());
    assert_eq!(ends(&result), [("a", Some(false)), ("fine", None), ("repair", Some(true))]);
}

#[tokio::test]
async fn arguments_come_from_the_context_and_a_missing_one_is_named() {
    let nodes = FunctionNodes::new().with_plain("sum", |call: &NodeCall| {
        let number = |name| call.input(name).and_then(|value| value.as_i64());
        number("left").zip(number("right")).map(|(left, right)| left + right)
    });
    let node = || Node::function("add", "sum").input_value("right", 2).output_key("sum");
    let dag = built(of_nodes([node().input("left", "site.n")]));
    let executor = DagExecutor::new(nodes);
    let result = executor.run(&dag, Context::new().set("site.n", 40)).await;
    assert_eq!(result.final_context.to_value()["sum"], 42);
    let result = run(&executor, &dag).await;
    assert_eq!(
        result.error.as_deref(),
        Some(
            "the node `add` failed: the argument `left` of the node `add` is taken from `site.n`, \
             which the context does not have"
        ),
    );
    assert_eq!(result.node("add").unwrap().attempts, 0);
}

#[tokio::test]
async fn patches_say_who_made_them_and_in_which_run() {
    let nodes = FunctionNodes::new().with("both", |_| async {
        Ok(NodeOutput::from(1).patch(backhaul_agent::ContextPatch::append("seen", "x")))
    });
    struct Any;
    impl NodeExecutor for Any {
        fn execute_node<'a>(
            &'a self,
            _: &'a NodeCall,
        ) -> backhaul_runtime::executor::NodeFuture<'a> {
            Box::pin(async { Ok(NodeOutput::from(2)) })
        }
    }
    let executor = DagExecutor::new(NodeExecutors::new().functions(nodes).tools(Any).llm(Any));
    let dag = built(of_nodes([
        Node::function("f", "both").output_key("f"),
        Node::tool("t", "x").output_key("t"),
        Node::llm("l").prompt("?").output_key("l"),
    ]));
    let options = RunOptions::new().run_id("run_7");
    let result = executor.run_with(&dag, Context::new(), options).await;
    let made: Vec<_> = result
        .final_context
        .get_timeline()
        .map(|patch| (patch.path.as_str(), patch.source, patch.source_id.as_str()))
        .collect();
    let expected = [
        ("seen", PatchSource::System, "f"),
        ("f", PatchSource::Agent, "f"),
        ("t", PatchSource::Tool, "t"),
        ("l", PatchSource::Llm, "l"),
    ];
    assert_eq!(made, expected);
    let ids = result.final_context.get_timeline();
    assert!(ids.map(|patch| patch.correlation_id.as_deref()).all(|id| id == Some("run_7")));
}

#[tokio::test]
async fn a_null_is_put_nowhere_and_a_patch_that_cannot_be_applied_changes_nothing() {
    let nodes = FunctionNodes::new().with_plain("nothing", |_| ()).with("bad", |_| async {
        let merge = backhaul_agent::ContextPatch::merge("x", 7);
        Ok(NodeOutput::from(1).patch(backhaul_agent::ContextPatch::set("y", 1)).patch(merge))
    });
    let dag = built(
        of_nodes([
            Node::function("a", "nothing").output_key("a"),
            Node::function("b", "bad").output_key("b"),
        ])
        .edge("a", "b"),
    );
    let result = run(&DagExecutor::new(nodes), &dag).await;
    assert_eq!(result.final_context, Context::new());
    let failed = result.node("b").unwrap();
    assert_eq!(failed.attempts, 1);
    assert!(failed.error.as_deref().unwrap().contains("not an object"), "{failed:?}");
}

#[tokio::test]
async fn a_node_that_gives_what_could_not_be_read_again_has_failed_and_the_run_is_kept() {
    let nodes = FunctionNodes::new()
        .with_plain("deep", |_| (0..1_001).fold(json!(1), |value, _| json!([value])))
        .with_plain("other", |_| 2);
    let dag = built(
        of_nodes([
            Node::function("deep", "deep"),
            Node::function("path", "deep").output_key("a.b"),
            Node::function("other", "other").output_key("other"),
        ])
        .edge_on_failure("deep", "other")
        .edge_on_failure("path", "other"),
    );
    let disk = SimDisk::new();
    let executor = DagExecutor::new(nodes).context_persistence(keeping(&disk));
    let result = run(&executor, &dag).await;
    assert!(result.success(), "{result:?}");
    for id in ["deep", "path"] {
        let failed = result.node(id).unwrap();
        assert_eq!(failed.attempts, 1);
        let error = failed.error.as_deref().unwrap();
        assert!(error.contains("nests more than 1000 levels"), "{error}");
    }
    assert_eq!(keeping(&disk).recover_latest().unwrap(), Some(result.final_context));
}

#[tokio::test]
async fn what_cannot_be_run_is_found_before_anything_has_happened() {
    let told = Told::default();
    let dag = built(of_nodes([
        work("a"),
        Node::function("b", "wrok"),
        Node::tool("t", "notify"),
        Node::llm("l").prompt("{"),
    ]));
    let executor = DagExecutor::new(NodeExecutors::new().functions(functions(&told)));
    let result = run(&executor, &dag).await;
    assert_eq!(result.status, RunStatus::Failed);
    assert_eq!(
        result.error.as_deref().unwrap(),
        "the node `b` cannot be run: no function is called `wrok`; those that are registered: \
         `fail`, `work`; the node `t` cannot be run: nothing runs tools: give \
         `NodeExecutors::tools` an executor; the node `l` cannot be run: nothing runs models: give \
         `NodeExecutors::llm` an executor",
    );
    assert!(told.all().is_empty());
    assert!(ends(&result).iter().all(|(_, success)| success.is_none()));
}

#[tokio::test]
async fn runs_have_ids_of_their_own_and_may_share_an_executor() {
    let told = Told::default();
    let executor = DagExecutor::new(functions(&told));
    let dag = built(chain(&["a", "bb"]));
    let (one, other) = tokio::join!(run(&executor, &dag), run(&executor, &dag));
    assert!(one.success() && other.success());
    assert_ne!(one.run_id, other.run_id);
    assert!(one.run_id.starts_with("run_2") && one.run_id.len() > 40, "{}", one.run_id);
    assert!(one.duration_ms() >= 0.0);
    assert_eq!(one.dag_name, "d");
}

#[tokio::test]
async fn a_run_may_move_between_threads_and_a_long_chain_lets_others_run() {
    let nodes = FunctionNodes::new().with_plain("nothing", |_| ());
    let ids: Vec<String> = (0..3_000).map(|n| n.to_string()).collect();
    let dag = ids.iter().fold(Dag::new("d"), |dag, id| dag.node(Node::function(id, "nothing")));
    let dag = built(ids.windows(2).fold(dag, |dag, pair| dag.edge(&pair[0], &pair[1])));
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    });
    let executor = DagExecutor::new(nodes);
    let result = tokio::spawn(async move { executor.run(&dag, Context::new()).await });
    assert!(result.await.unwrap().success());
    assert!(turns.load(Ordering::SeqCst) > 10);
    other.abort();
}

#[test]
fn errors_are_made_of_any_error_with_its_causes() {
    let error: NodeError = std::io::Error::other("the wire is cut").into();
    assert_eq!((error.to_string().as_str(), error.is_final), ("the wire is cut", false));
    assert!(NodeOutput::of(&std::collections::BTreeMap::from([((1, 2), 3)])).is_err());
}
