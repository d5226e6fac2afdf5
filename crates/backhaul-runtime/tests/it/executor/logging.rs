//! What the logger of a run is told.

use std::sync::Arc;

use backhaul_agent::{
    Context, InMemoryRunLogger, OfflineQueue, OfflineRunLogger, RunRecord, SharedRunLogger,
    ToolCall,
};
use backhaul_runtime::dag::Node;
use backhaul_runtime::executor::{
    CancellationToken, DagExecutor, FunctionNodes, NodeCall, NodeError, RunOptions,
};
use backhaul_testkit::SimDisk;
use serde_json::json;

use super::support::{Told, built, chain, diamond, fail, functions, keeping, of_nodes, run};

fn only(logger: &InMemoryRunLogger) -> Arc<RunRecord> {
    let history = logger.get_history();
    assert_eq!(history.len(), 1);
    Arc::clone(&history[0])
}

#[tokio::test]
async fn a_run_has_one_record_with_all_that_changed() {
    let logger = InMemoryRunLogger::new();
    let executor = DagExecutor::new(functions(&Told::default())).run_logger(logger.clone());
    let options = RunOptions::new().run_id("r").metadata("critical", true);
    let initial = Context::new().set("site", "roof");
    let result = executor.run_with(&built(diamond()), initial.clone(), options).await;
    let record = only(&logger);
    assert_eq!((&*record.run_id, &*record.dag_name, record.success), ("r", "d", true));
    assert_eq!(record.initial_context, Some(initial));
    assert_eq!(record.final_context.as_ref(), Some(&result.final_context));
    assert_eq!(record.total_patches(), 6);
    assert!(record.is_critical());
    assert_eq!(result.metadata["critical"], json!(true));
}

#[tokio::test]
async fn every_way_out_has_exactly_one_end() {
    let logger = InMemoryRunLogger::new();
    let told = Told::default();
    let hangs = told.clone();
    let nodes = functions(&told).with("hang", move |_| {
        hangs.tell("begin h");
        std::future::pending::<Result<(), NodeError>>()
    });
    let executor = DagExecutor::new(nodes).run_logger(logger.clone());
    run(&executor, &built(of_nodes([fail("a")]))).await;
    let token = CancellationToken::new();
    token.cancel("enough");
    let options = RunOptions::new().cancellation(&token);
    executor.run_with(&built(chain(&["a"])), Context::new(), options).await;
    run(&executor, &built(of_nodes([Node::llm("l").prompt("?")]))).await;
    let errors =
        || logger.get_history().iter().map(|it| it.error.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(errors()[..2], ["the node `a` failed: no answer", "cancelled: enough"]);
    assert!(errors()[2].contains("cannot be run"));
    // A run whose future is dropped is interrupted.
    let dag = built(of_nodes([Node::function("h", "hang")]));
    let running = tokio::spawn(async move { run(&executor, &dag).await });
    while !told.all().contains(&"begin h".to_owned()) {
        tokio::task::yield_now().await;
    }
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_eq!(errors()[3..], ["interrupted: the run was dropped before its end"]);
    assert!(logger.get_history().iter().all(|record| !record.success));
}

#[tokio::test]
async fn runs_at_the_same_time_are_not_mixed() {
    let dir = tempfile::tempdir().unwrap();
    let behind = InMemoryRunLogger::new();
    let queue = OfflineQueue::builder(dir.path()).maintenance_thread(false).open().unwrap();
    let offline =
        OfflineRunLogger::builder().fallback(behind.clone()).queue(queue).build().unwrap();
    let shared = InMemoryRunLogger::new();
    let dag = built(diamond());
    let loggers = [
        (DagExecutor::new(functions(&Told::default())).run_logger(offline.clone()), behind),
        (
            DagExecutor::new(functions(&Told::default()))
                .run_logger(SharedRunLogger::new(shared.clone())),
            shared,
        ),
    ];
    for (executor, behind) in &loggers {
        let runs = tokio::join!(run(executor, &dag), run(executor, &dag), run(executor, &dag));
        for result in [runs.0, runs.1, runs.2] {
            let record = behind.get_record(&result.run_id).unwrap();
            assert!(record.success);
            let of_run = |id: &Option<String>| id.as_deref() == Some(&*result.run_id);
            assert!(record.patches.iter().all(|patch| of_run(&patch.correlation_id)));
            assert_eq!(record.total_patches(), 6);
        }
        assert_eq!(behind.get_history().len(), 3);
    }
    assert_eq!(offline.offline_queue().stats().unwrap().pending, 3);
}

#[tokio::test]
async fn nodes_tell_the_logger_themselves_and_not_after_the_end() {
    let logger = InMemoryRunLogger::new();
    let left = Arc::new(std::sync::Mutex::new(None));
    let kept = Arc::clone(&left);
    let nodes = FunctionNodes::new().with_plain("tell", move |call: &NodeCall| {
        call.recorder().record_tool_call(ToolCall::new("pump", json!({}), json!({})));
        *kept.lock().unwrap() = Some(call.recorder().clone());
    });
    let executor = DagExecutor::new(nodes).run_logger(logger.clone());
    run(&executor, &built(of_nodes([Node::function("a", "tell")]))).await;
    let recorder = left.lock().unwrap().take().unwrap();
    assert!(!recorder.is_recording());
    recorder.record_tool_call(ToolCall::new("pump", json!({}), json!({})));
    assert_eq!(only(&logger).total_tool_calls(), 1);
}

#[tokio::test]
async fn a_run_that_goes_on_is_another_record_and_both_have_everything_once() {
    let (told, logger, disk) = (Told::default(), InMemoryRunLogger::new(), SimDisk::new());
    let is_fixed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let fixed = Arc::clone(&is_fixed);
    let nodes =
        functions(&told).with("mended", move |_| {
            let is_fixed = fixed.load(std::sync::atomic::Ordering::SeqCst);
            async move {
                if is_fixed { Ok("well") } else { Err(std::io::Error::other("broken").into()) }
            }
        });
    let executor =
        DagExecutor::new(nodes).run_logger(logger.clone()).context_persistence(keeping(&disk));
    let mended = Node::function("b", "mended").output_key("b").max_attempts(2);
    let dag = built(of_nodes([super::support::work("a"), mended]).edge("a", "b"));
    let failed = run(&executor, &dag).await;
    assert!(!failed.success());
    is_fixed.store(true, std::sync::atomic::Ordering::SeqCst);
    let resumed = executor.resume(&dag, &failed.run_id).await.unwrap();
    assert!(resumed.success());
    assert_eq!(resumed.node("b").unwrap().attempts, 3);
    let history = logger.get_history();
    let [first, second] = &history[..] else { panic!("{history:?}") };
    assert_eq!((&first.run_id, first.total_patches()), (&second.run_id, 1));
    assert_eq!(second.metadata["resumed"], json!(true));
    assert_eq!(second.metadata["finished_before"], json!(["a"]));
    assert_eq!(second.total_patches(), 1);
    assert_eq!(second.patches[0].path, "b");
    assert_eq!(
        second.initial_context.as_ref().unwrap().to_value(),
        failed.final_context.to_value()
    );
}
