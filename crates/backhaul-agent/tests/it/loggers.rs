//! One current run, runs in parallel, interrupted runs, delivery.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_agent::{
    Context, ContextPatch, DeliverError, DeliverErrorKind, InMemoryRunLogger, LlmCall,
    NoOpRunLogger, ProvenanceLink, RunEnd, RunLogger, RunLoggerError, RunRecord, RunStart,
    ToolCall,
};
use backhaul_store::Clock;
use serde_json::json;

use crate::support::{Foreign, TestClock};

fn logger() -> (InMemoryRunLogger, Arc<TestClock>) {
    let clock = Arc::new(TestClock::new());
    (InMemoryRunLogger::new().with_clock(clock.clone()), clock)
}

fn record_one_of_each(logger: &dyn RunLogger) {
    logger.record_tool_call(ToolCall::new("t", json!({}), json!({})));
    logger.record_llm_call(LlmCall::new("m", vec![], "out").tokens(3, 4));
    logger.record_patch(ContextPatch::set("a", 1));
    logger.record_provenance_link(ProvenanceLink::new("l").cost_usd(0.5));
}

#[test]
fn a_run_is_recorded_from_start_to_end() {
    let (logger, clock) = logger();
    let initial = Context::new().set("site", "roof");
    logger.start_run(
        RunStart::new("run_001").dag_name("dag").initial_context(initial.clone()).critical(true),
    );
    record_one_of_each(&logger);
    clock.advance(Duration::from_millis(1500));
    assert_eq!(logger.get_current_record().unwrap().total_tool_calls(), 1);
    let end = RunEnd::new().final_context(initial.set("a", 1)).metadata("k", "v");
    let record = logger.end_run(end).unwrap();

    assert_eq!(record.initial_context, Some(initial));
    assert_eq!(record.duration_ms(), 1500.0);
    assert_eq!(record.total_tokens(), 7);
    assert_eq!(record.total_cost_usd, 0.5);
    assert_eq!(json!(record.metadata), json!({"critical": true, "k": "v"}));
    assert_eq!(logger.get_current_record(), None);
    assert_eq!(*logger.get_record("run_001").unwrap(), record);
}

#[test]
fn end_without_start_is_an_error() {
    for logger in [&logger().0 as &dyn RunLogger, &NoOpRunLogger::new()] {
        let error = logger.end_run(RunEnd::new()).unwrap_err();
        assert_eq!(error, RunLoggerError::NoRunInProgress);
        assert_eq!(error.to_string(), "No run in progress");
    }
}

#[test]
fn events_without_a_run_are_ignored() {
    let (logger, _) = logger();
    record_one_of_each(&logger);
    logger.start_run("r".into());
    assert_eq!(logger.end_run(RunEnd::new()).unwrap().total_tool_calls(), 0);
}

#[test]
fn a_second_start_closes_the_first_run_as_interrupted_and_keeps_it() {
    let (logger, clock) = logger();
    logger.start_run("first".into());
    record_one_of_each(&logger);
    clock.advance(Duration::from_secs(2));
    logger.start_run("second".into());

    let first = logger.get_record("first").unwrap();
    assert!(!first.success);
    assert!(first.error.as_deref().unwrap().starts_with("interrupted"));
    assert_eq!(json!(first.metadata), json!({"interrupted": true}));
    assert_eq!((first.total_patches(), first.duration_ms()), (1, 2000.0));
    assert_eq!(logger.end_run(RunEnd::new()).unwrap().run_id, "second");
    assert_eq!(logger.get_history().len(), 2);
}

#[test]
fn history_is_bounded_and_counts_what_it_drops() {
    let logger = InMemoryRunLogger::with_capacity(3);
    for number in 0..10 {
        logger.start_run(format!("run_{number}").into());
        logger.end_run(RunEnd::new()).unwrap();
    }
    let kept: Vec<_> = logger.get_history().iter().map(|record| record.run_id.clone()).collect();
    assert_eq!(kept, ["run_7", "run_8", "run_9"]);
    assert_eq!(logger.dropped(), 7);
    logger.clear_history();
    assert!(logger.get_history().is_empty());
    assert_eq!(logger.dropped(), 7);
}

#[test]
fn get_record_gives_the_first_of_equal_ids() {
    let (logger, _) = logger();
    for dag in ["one", "two"] {
        logger.start_run(RunStart::new("same").dag_name(dag));
        logger.end_run(RunEnd::new()).unwrap();
    }
    assert_eq!(logger.get_record("same").unwrap().dag_name, "one");
}

#[test]
fn parallel_runs_never_mix() {
    let (logger, _) = logger();
    logger.start_run("current".into());
    std::thread::scope(|scope| {
        for number in 0..8 {
            let logger = logger.clone();
            scope.spawn(move || {
                let run = logger.begin(format!("run_{number}"));
                for index in 0..200 {
                    run.record_patch(ContextPatch::set(format!("{number}.{index}"), index));
                }
                run.end(RunEnd::new().metadata("number", number));
            });
        }
    });
    assert_eq!(logger.end_run(RunEnd::new()).unwrap().total_patches(), 0);
    for number in 0..8 {
        let record = logger.get_record(&format!("run_{number}")).unwrap();
        assert_eq!(record.metadata["number"], json!(number));
        let expected = (0..200).map(|index| format!("{number}.{index}"));
        assert!(record.patches.iter().map(|patch| patch.path.clone()).eq(expected));
    }
}

#[test]
fn a_handle_may_be_shared_by_the_threads_of_one_run() {
    let (logger, _) = logger();
    let run = logger.begin("r");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|_| run.record_patch(ContextPatch::delete("a"))));
        }
    });
    assert_eq!(run.current_record().total_patches(), 400);
    assert_eq!(run.end(RunEnd::new()).total_patches(), 400);
}

#[test]
fn a_dropped_handle_closes_its_run_as_interrupted() {
    let (logger, clock) = logger();
    let run = logger.begin("lost");
    run.record_tool_call(ToolCall::new("t", json!({}), json!({})));
    clock.advance(Duration::from_secs(1));
    drop(run);
    let record = logger.get_record("lost").unwrap();
    assert!(record.error.as_deref().unwrap().starts_with("interrupted"));
    assert_eq!(json!(record.metadata), json!({"interrupted": true}));
    assert!(!record.success);
    assert_eq!((record.total_tool_calls(), record.duration_ms()), (1, 1000.0));
}

#[test]
fn a_run_that_an_agent_ends_is_not_interrupted_whatever_its_error_says() {
    let (logger, _) = logger();
    let end = || RunEnd::failed("interrupted: the user pressed stop");
    logger.start_run("current".into());
    logger.begin("beside").end(end());
    logger.end_run(end()).unwrap();
    for record in logger.get_history() {
        assert!(record.metadata.is_empty(), "{record:?}");
    }
}

#[test]
fn a_panic_in_the_agent_leaves_an_interrupted_run() {
    let (logger, _) = logger();
    let in_thread = logger.clone();
    let joined = std::thread::spawn(move || {
        let _run = in_thread.begin("crashed");
        panic!("the agent fell over");
    });
    assert!(joined.join().is_err());
    assert!(!logger.get_record("crashed").unwrap().success);
}

#[test]
fn an_ended_handle_leaves_one_record() {
    let (logger, _) = logger();
    logger.begin("r").end(RunEnd::failed("no"));
    assert_eq!(logger.get_history().len(), 1);
    assert_eq!(logger.get_record("r").unwrap().error.as_deref(), Some("no"));
}

#[test]
fn no_op_logger_gives_real_ids_and_times() {
    let clock = Arc::new(TestClock::new());
    let logger = NoOpRunLogger::new().with_clock(clock.clone());
    let started_at = clock.now().wall;
    logger.start_run(RunStart::new("r").dag_name("dag"));
    record_one_of_each(&logger);
    clock.advance(Duration::from_secs(1));
    let record = logger.end_run(RunEnd::new()).unwrap();
    assert_eq!((record.run_id.as_str(), record.dag_name.as_str()), ("r", "dag"));
    assert_eq!((record.started_at, record.duration_ms()), (started_at, 1000.0));
    assert_eq!(record.total_patches(), 0);
}

fn finished_elsewhere() -> RunRecord {
    let (logger, clock) = logger();
    logger.start_run(RunStart::new("r").metadata("k", "v").initial_context(Context::new()));
    record_one_of_each(&logger);
    clock.advance(Duration::from_secs(5));
    let mut record = logger.end_run(RunEnd::failed("no").final_context(Context::new())).unwrap();
    record.extra.insert("later".into(), json!(1));
    record
}

#[test]
fn delivery_into_memory_changes_nothing_and_leaves_the_open_run() {
    let record = finished_elsewhere();
    let (logger, _) = logger();
    logger.start_run("open".into());
    logger.deliver(&record).unwrap();
    assert_eq!(*logger.get_record("r").unwrap(), record);
    assert_eq!(logger.end_run(RunEnd::new()).unwrap().run_id, "open");
}

#[test]
fn delivery_by_replay_restamps_the_times_and_keeps_the_rest() {
    let record = finished_elsewhere();
    let (inner, clock) = logger();
    clock.advance(Duration::from_secs(3600));
    let foreign: Box<dyn RunLogger> = Box::new(Foreign(inner.clone()));
    foreign.deliver(&record).unwrap();

    let delivered = inner.get_record("r").unwrap();
    let now = clock.now().wall;
    let mut expected = record;
    expected.started_at = now;
    expected.completed_at = Some(now);
    expected.extra.clear();
    assert_eq!(*delivered, expected);
}

#[test]
fn callers_can_tell_an_outage_from_a_rejection() {
    struct Cloud(Mutex<Option<DeliverError>>);
    impl Cloud {
        fn deliver(&self) -> Result<(), DeliverError> {
            self.0.lock().unwrap().take().map_or(Ok(()), Err)
        }
    }
    let outcome = |error: DeliverError| Cloud(Mutex::new(Some(error))).deliver().unwrap_err();
    let wait = Duration::from_secs(30);
    let down = outcome(DeliverError::link_down("no route"));
    assert_eq!((down.kind(), down.is_final()), (DeliverErrorKind::LinkDown, false));
    let busy = outcome(DeliverError::later("busy").with_retry_after(wait));
    assert_eq!((busy.kind(), busy.retry_after()), (DeliverErrorKind::Later, Some(wait)));
    let source = std::io::Error::other("422");
    let rejected = outcome(DeliverError::rejected("no run_id").with_source(source));
    assert!(rejected.is_final());
    assert_eq!(rejected.reason(), "no run_id");
    assert!(std::error::Error::source(&rejected).is_some());
}
