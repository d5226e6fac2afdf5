//! The logger in use: one run, runs in parallel, and what the other loggers see.

use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use backhaul_agent::{
    Context, ContextPatch, DeliverError, Enqueued, InMemoryRunLogger, LlmCall, OfflineRunLogger,
    ProvenanceLink, QueueErrorKind, RunEnd, RunEvent, RunLogger, RunLoggerError, RunRecord,
    RunStart, ToolCall,
};
use backhaul_store::{Lane, Standing};
use backhaul_sync::SyncOptions;
use serde_json::json;

use crate::device::{Device, all_records, record, run_ids};
use crate::support::Foreign;

fn call(tool: &str) -> ToolCall {
    ToolCall::new(tool, json!({}), json!({}))
}

#[test]
fn a_run_is_stored_whole_when_it_ends() {
    let device = Device::new();
    let (logger, _) = device.logger();
    let initial = Context::new().set("site", "roof");
    logger.start_run(RunStart::new("run_001").dag_name("sensor_dag").initial_context(initial));
    logger.record_tool_call(call("thermometer"));
    logger.record_llm_call(LlmCall::new("m", vec![], "out").tokens(3, 4));
    logger.record_patch(ContextPatch::set("a", 1));
    logger.record_provenance_link(ProvenanceLink::new("l").cost_usd(0.5));
    device.clock.advance(Duration::from_millis(1500));
    assert_eq!(logger.get_current_record().unwrap().total_tool_calls(), 1);
    let end = RunEnd::new().final_context(Context::new().set("a", 1)).success(true);
    let record = logger.end_run(end).unwrap();

    assert_eq!(logger.get_current_record(), None);
    assert_eq!((record.duration_ms(), record.total_cost_usd), (1500.0, 0.5));
    let stored = all_records(logger.offline_queue());
    assert_eq!(stored, [record]);
    assert!(matches!(logger.last_enqueued(), Some(Enqueued::Stored(_))));
    assert_eq!(device.files("running"), [""; 0]);
}

#[test]
fn end_without_start_is_upstreams_error() {
    let (logger, _) = Device::new().logger();
    let error = logger.end_run(RunEnd::new()).unwrap_err();
    assert_eq!(error, RunLoggerError::NoRunInProgress);
    logger.record_tool_call(call("ignored"));
    assert_eq!(logger.get_current_record(), None);
    assert_eq!(logger.offline_queue().stats().unwrap().books.accepted, 0);
}

#[test]
fn a_second_start_closes_the_first_run_as_interrupted_and_keeps_it() {
    let device = Device::new();
    let (logger, fallback) = device.logger();
    logger.start_run("first".into());
    logger.record_tool_call(call("pump"));
    logger.start_run("second".into());
    logger.end_run(RunEnd::new()).unwrap();
    let records = all_records(logger.offline_queue());
    assert_eq!(records.len(), 2);
    assert_eq!((records[0].run_id.as_str(), records[0].total_tool_calls()), ("first", 1));
    let error = records[0].error.as_deref().unwrap();
    assert_eq!(error, "interrupted: another run was started before its end");
    assert_eq!(records[0].metadata["interrupted"], json!(true));
    assert!(records[1].success);
    assert_eq!(fallback.get_history().len(), 2);
}

#[test]
fn metadata_and_criticality_are_taken_at_the_start_and_at_the_end() {
    let device = Device::new();
    let (logger, _) = device.logger();
    logger.start_run(RunStart::new("a").metadata("site", "roof").critical(true));
    logger.end_run(RunEnd::new()).unwrap();
    logger.start_run("b".into());
    logger.end_run(RunEnd::new().critical(true).metadata("why", "smoke")).unwrap();
    logger.start_run(RunStart::new("c").critical(true).metadata("stream", "weather"));
    logger.end_run(RunEnd::new().critical(false)).unwrap();
    let entries = logger.offline_queue().list(Some(Standing::Pending)).unwrap();
    let lanes: Vec<Lane> = entries.iter().map(|entry| entry.id.position.chain.lane).collect();
    assert_eq!(lanes, [Lane::Critical, Lane::Critical, Lane::Normal]);
    assert_eq!(entries[2].facts.stream.as_deref(), Some("weather"));
    let records = all_records(logger.offline_queue());
    assert_eq!(json!(records[0].metadata), json!({"site": "roof", "critical": true}));
    assert_eq!(json!(records[1].metadata), json!({"critical": true, "why": "smoke"}));
}

#[test]
fn the_fallback_sees_every_event_as_it_happens() {
    let (logger, fallback) = Device::new().logger();
    logger.start_run(RunStart::new("run_001").metadata("k", 1));
    logger.record_tool_call(call("pump"));
    let live = fallback.get_current_record().unwrap();
    assert_eq!((live.run_id.as_str(), live.total_tool_calls()), ("run_001", 1));
    let record = logger.end_run(RunEnd::new()).unwrap();
    assert_eq!(*fallback.get_record("run_001").unwrap(), record);
}

#[test]
fn runs_in_parallel_are_kept_apart() {
    let device = Device::new();
    let (logger, fallback) = device.logger();
    logger.start_run("current".into());
    let left = logger.begin(RunStart::new("left").critical(true));
    let right = logger.begin("right");
    std::thread::scope(|scope| {
        for (run, count) in [(&left, 30), (&right, 50)] {
            scope.spawn(move || (0..count).for_each(|_| run.record_tool_call(call("t"))));
        }
    });
    logger.record_tool_call(call("t"));
    assert_eq!(device.files("running").len(), 3);
    assert_eq!(right.end(RunEnd::new()).total_tool_calls(), 50);
    assert_eq!(left.end(RunEnd::new()).total_tool_calls(), 30);
    assert_eq!(logger.end_run(RunEnd::new()).unwrap().total_tool_calls(), 1);
    let queue = logger.offline_queue();
    assert_eq!(run_ids(queue, Standing::Pending), ["left", "right", "current"]);
    for record in all_records(queue) {
        assert_eq!(*fallback.get_record(&record.run_id).unwrap(), record);
    }
}

#[test]
fn a_run_that_begins_beside_a_live_one_reaches_a_plain_fallback_after_it() {
    let memory = InMemoryRunLogger::new();
    let queue = Device::new().queue();
    let logger = OfflineRunLogger::builder().fallback(Foreign(memory.clone())).queue(queue);
    let logger = logger.build().unwrap();
    logger.start_run("live".into());
    let beside = logger.begin("beside");
    beside.record_tool_call(call("t"));
    beside.end(RunEnd::new());
    assert!(memory.get_history().is_empty(), "the live run is not disturbed");
    logger.record_tool_call(call("t"));
    logger.end_run(RunEnd::new()).unwrap();
    let seen: Vec<(String, usize, bool)> = memory
        .get_history()
        .iter()
        .map(|record| (record.run_id.clone(), record.total_tool_calls(), record.success))
        .collect();
    assert_eq!(seen, [("live".into(), 1, true), ("beside".into(), 1, true)]);
}

#[test]
fn a_handle_that_is_dropped_leaves_an_interrupted_run() {
    let device = Device::new();
    let (logger, _) = device.logger();
    let run = logger.begin("lost");
    run.record_tool_call(call("t"));
    drop(run);
    let records = all_records(logger.offline_queue());
    assert_eq!((records[0].success, records[0].total_tool_calls()), (false, 1));
    assert_eq!(records[0].metadata["interrupted"], json!(true));
    assert_eq!(device.files("running"), [""; 0]);
}

#[test]
fn a_run_that_an_agent_ends_is_not_interrupted_whatever_its_error_says() {
    let device = Device::new();
    let (logger, fallback) = device.logger();
    let end = || RunEnd::failed("interrupted: the user pressed stop");
    logger.start_run("current".into());
    let beside = logger.begin("beside");
    let ended = [logger.end_run(end()).unwrap(), beside.end(end())];
    assert_eq!(all_records(logger.offline_queue()), ended);
    for record in ended {
        assert!(record.metadata.is_empty(), "{record:?}");
        assert_eq!(*fallback.get_record(&record.run_id).unwrap(), record);
    }
}

#[test]
fn a_finished_record_can_be_handed_over() {
    let (logger, _) = Device::new().logger();
    let finished = record("from elsewhere");
    logger.deliver(&finished).unwrap();
    assert_eq!(all_records(logger.offline_queue()), [finished]);
}

#[test]
fn a_logger_needs_a_queue() {
    let error = OfflineRunLogger::builder().build().unwrap_err();
    assert_eq!(error.kind(), QueueErrorKind::InvalidOption);
}

/// Notes which threads call it.
struct Witness(Arc<Mutex<Vec<ThreadId>>>);

impl Witness {
    fn note(&self) {
        self.0.lock().unwrap().push(std::thread::current().id());
    }
}

impl RunLogger for Witness {
    fn start_run(&self, _: RunStart) {
        self.note();
    }
    fn record(&self, _: RunEvent) {
        self.note();
    }
    fn end_run(&self, _: RunEnd) -> Result<RunRecord, RunLoggerError> {
        self.note();
        Ok(record("x"))
    }
    fn get_current_record(&self) -> Option<RunRecord> {
        self.note();
        None
    }
    fn deliver(&self, _: &RunRecord) -> Result<(), DeliverError> {
        self.note();
        Ok(())
    }
}

#[tokio::test]
async fn the_primary_is_called_by_the_courier_and_by_no_thread_of_the_agent() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let logger = OfflineRunLogger::builder()
        .primary(Witness(calls.clone()))
        .queue(Device::new().queue())
        .build()
        .unwrap();
    logger.start_run("run_001".into());
    logger.record_tool_call(call("t"));
    logger.get_current_record();
    logger.end_run(RunEnd::new()).unwrap();
    assert!(calls.lock().unwrap().is_empty());
    let courier = logger.offline_queue().sync_manager(SyncOptions::default()).unwrap();
    assert_eq!(courier.sync_now().await.synced, 1);
    let calls = calls.lock().unwrap();
    assert_eq!(calls.len(), 1);
    assert_ne!(calls[0], std::thread::current().id());
}
