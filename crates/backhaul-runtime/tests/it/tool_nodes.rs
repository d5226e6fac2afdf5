//! Nodes that call tools.

use std::sync::Arc;

use backhaul_agent::{Context, InMemoryRunLogger};
use backhaul_runtime::RunStatus;
use backhaul_runtime::dag::{Condition, Dag, Node};
use backhaul_runtime::executor::{DagExecutor, FunctionNodes, NodeExecutors};
use backhaul_runtime::persistence::{ContextPersistence, RunState, RunStep};
use backhaul_runtime::tools::{OfflinePolicy, OnUnknown, ToolRegistry, ToolRunner};
use backhaul_weave as weave;
use serde_json::json;

use crate::tool_queue::support::{Actuator, Device, Weather, World};

fn dag() -> Arc<Dag> {
    let dag = Dag::new("valve_dag")
        .node(Node::function("measure", "measure").output_key("n"))
        .node(Node::tool("open", "act").input("n", "n").output_key("opened"))
        .edge_when("measure", "open", Condition::greater_than("n", 30));
    Arc::new(dag.build().unwrap())
}

fn tools(world: &World, policy: OfflinePolicy, on_unknown: OnUnknown) -> ToolRegistry {
    let tool = Actuator::new(world, "act", on_unknown);
    ToolRegistry::new().with(tool.with(|options| options.offline_policy(policy))).unwrap()
}

fn executor(runner: ToolRunner) -> DagExecutor {
    let functions = FunctionNodes::new().with_plain("measure", |_| 31);
    DagExecutor::new(NodeExecutors::new().functions(functions).tools(runner))
}

#[tokio::test]
async fn a_node_gives_what_its_tool_gave_and_the_call_is_in_the_record() {
    let world = World::default();
    let runner = ToolRunner::new(tools(&world, OfflinePolicy::Fail, OnUnknown::Repeat));
    let logger = Arc::new(InMemoryRunLogger::new());
    let executor = executor(runner).run_logger(Arc::clone(&logger));
    let result = executor.run(&dag(), Context::new()).await;
    assert_eq!(result.status, RunStatus::Completed, "{:?}", result.error);
    assert_eq!(result.final_context.to_value()["opened"], json!({"done": {"n": 31}}));
    let record = &logger.get_history()[0];
    assert_eq!(record.tool_calls.len(), 1);
    let call = &record.tool_calls[0];
    assert_eq!((call.tool_id.as_str(), call.node_id.as_deref()), ("act", Some("open")));
    assert_eq!(call.correlation_id, result.run_id);
}

#[tokio::test]
async fn a_call_that_waits_leaves_the_run_to_go_on_and_is_done_once() {
    let (device, world) = (Device::new(), World::default());
    let tools = tools(&world, OfflinePolicy::Queue, OnUnknown::Repeat);
    let queue = device.open(tools.clone());
    let executor = executor(ToolRunner::new(tools).queue(queue.clone()));
    world.forecast(&[Weather::NoNetwork]);
    let result = executor.run(&dag(), Context::new()).await;
    assert_eq!(result.status, RunStatus::Completed, "{:?}", result.error);
    assert_eq!(result.final_context.to_value(), json!({"n": 31}));
    assert_eq!(queue.status().unwrap().pending, 1);
    device.clock.advance(std::time::Duration::from_secs(5));
    assert_eq!(queue.drain().await.done, 1);
    assert_eq!(world.done(), [json!({"n": 31})]);
}

/// A run that was killed while its tool was at work, and whose tool had done it.
async fn goes_on(on_unknown: OnUnknown) -> (World, RunStatus) {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::default());
    let dag = dag();
    let persistence = ContextPersistence::new(dir.path()).unwrap();
    let state = RunState::new("run_1", "valve_dag", Context::new()).dag_digest(dag.digest());
    let mut run = persistence.begin(state).unwrap();
    let step = |node_id: &str| RunStep::NodeStarted { node_id: node_id.into(), attempt: 1 };
    run.take(&[step("measure")]).unwrap();
    drop(run);
    let runner = ToolRunner::new(tools(&world, OfflinePolicy::Fail, on_unknown));
    let executor = executor(runner).context_persistence(persistence.clone());
    // The answer is lost with the process: it is done, and the run does not hear of it.
    world.forecast(&[Weather::AnswerLost; 9]);
    let interrupted = executor.resume(&dag, "run_1");
    let _ = tokio::time::timeout(std::time::Duration::from_millis(50), interrupted).await;
    world.forecast(&[]);
    let result = executor.resume(&dag, "run_1").await.unwrap();
    (world, result.status)
}

#[tokio::test]
async fn after_a_crash_a_tool_that_looks_first_is_not_done_twice() {
    let (world, status) = goes_on(OnUnknown::CheckFirst).await;
    assert_eq!((world.done().len(), status), (1, RunStatus::Completed));
}

#[tokio::test]
async fn after_a_crash_a_tool_that_may_be_done_once_at_most_fails_its_node() {
    let (world, status) = goes_on(OnUnknown::Abandon).await;
    assert_eq!((world.done().len(), status), (1, RunStatus::Failed));
}

#[tokio::test]
async fn a_node_of_no_tool_and_one_with_arguments_it_lacks_are_found_before_the_run() {
    let world = World::default();
    let runner = ToolRunner::new(tools(&world, OfflinePolicy::Fail, OnUnknown::Repeat));
    let executor = executor(runner);
    for (node, said) in [
        (Node::tool("x", "atc"), "there is no tool `atc`; registered are: act"),
        (
            Node::tool("x", "act").input_value("m", 1),
            "the tool `act` has no argument `m`; it takes: n, place",
        ),
    ] {
        let dag = Arc::new(Dag::new("d").node(node).build().unwrap());
        let result = executor.run(&dag, Context::new()).await;
        assert_eq!(result.status, RunStatus::Failed);
        assert!(result.error.as_deref().unwrap_or_default().contains(said), "{:?}", result.error);
        assert_eq!(world.tries(), 0);
    }
}

#[tokio::test]
async fn runs_nodes_and_tools_are_calls_of_weave_below_each_other() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::default());
    let client = weave::init("me/mine").offline(true).offline_dir(dir.path()).start().unwrap();
    let runner = ToolRunner::new(tools(&world, OfflinePolicy::Fail, OnUnknown::Repeat));
    let executor = executor(runner);
    let result = executor.run(&dag(), Context::new()).await;
    assert!(result.success());
    world.forecast(&[Weather::Refused; 3]);
    assert!(!executor.run(&dag(), Context::new()).await.success());
    client.finish().unwrap();
    let calls = || weave::calls_in(dir.path(), "me/mine").unwrap();
    let runs = calls().op("valve_dag").list().unwrap();
    assert_eq!(runs.len(), 2);
    let run = runs.iter().find(|run| run.inputs()["run_id"] == result.run_id.as_str()).unwrap();
    assert_eq!(run.output()["opened"], json!({"done": {"n": 31}}));
    let failed = runs.iter().filter(|run| run.status() == weave::CallStatus::Error).count();
    assert_eq!(failed, 1);
    let nodes = calls().op("open").list().unwrap();
    // The one that was refused was tried three times.
    assert_eq!(nodes.len(), 4);
    let node = nodes.iter().find(|node| node.parent_id() == Some(run.id())).unwrap();
    assert_eq!(node.inputs(), &json!({"n": 31}));
    let tools = calls().op("act").list().unwrap();
    assert_eq!(tools.iter().filter(|tool| tool.parent_id() == Some(node.id())).count(), 1);
}
