//! Storage trouble never costs the agent a run while there is memory left.

use backhaul_agent::{Enqueued, InMemoryRunLogger, QueueErrorKind, RunEnd, RunLogger, ToolCall};
use backhaul_store::Standing;
use backhaul_sync::SyncOptions;
use backhaul_testkit::{Call, Fault, errno};
use serde_json::json;

use crate::device::{Device, large_record, record, run_ids};

fn troubles() -> [(&'static str, Fault, QueueErrorKind); 4] {
    [
        ("disk full", Fault::full(), QueueErrorKind::Full),
        ("read-only", Fault::read_only(), QueueErrorKind::Storage),
        ("I/O error", Fault::any(&Call::CHANGES, errno::EIO), QueueErrorKind::Storage),
        ("flush fails", Fault::new(Call::Flush, errno::EIO), QueueErrorKind::Storage),
    ]
}

#[test]
fn enqueue_says_what_the_disk_says_and_stores_nothing() {
    for (name, fault, kind) in troubles() {
        let device = Device::new();
        let queue = device.queue();
        queue.enqueue(&record("before")).unwrap();
        device.faults.add(fault);
        let error = queue.enqueue(&record("meanwhile")).unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.is_transient());
        device.faults.clear();
        assert_eq!(run_ids(&queue, Standing::Pending), ["before"], "{name}");
        queue.enqueue(&record("after")).unwrap();
        assert_eq!(run_ids(&queue, Standing::Pending), ["before", "after"], "{name}");
        assert_eq!(queue.stats().unwrap().trouble, None);
    }
}

#[test]
fn records_are_held_in_memory_and_stored_in_order_when_the_disk_recovers() {
    for (name, fault, _) in troubles() {
        let device = Device::new();
        let queue = device.queue();
        device.faults.add(fault);
        for run_id in ["a", "b", "c"] {
            assert_eq!(queue.enqueue_or_hold(&record(run_id)), Enqueued::Held, "{name}");
        }
        let stats = queue.stats().unwrap();
        assert_eq!((stats.held_in_memory, stats.pending), (3, 0));
        assert!(stats.held_bytes > 0 && stats.trouble.is_some(), "{name}");
        device.faults.clear();
        // The next record brings them along, before itself.
        let outcome = queue.enqueue_or_hold(&record("d"));
        assert!(matches!(outcome, Enqueued::Stored(_)), "{name}");
        assert_eq!(run_ids(&queue, Standing::Pending), ["a", "b", "c", "d"], "{name}");
        let stats = queue.stats().unwrap();
        assert_eq!((stats.held_in_memory, stats.held_bytes, stats.trouble), (0, 0, None));
    }
}

#[test]
fn held_records_are_stored_without_a_new_one_too() {
    let device = Device::new();
    let queue = device.queue();
    device.faults.add(Fault::full());
    queue.enqueue_or_hold(&record("a"));
    assert_eq!(queue.retry_held().unwrap_err().kind(), QueueErrorKind::Full);
    device.faults.clear();
    queue.retry_held().unwrap();
    assert_eq!(run_ids(&queue, Standing::Pending), ["a"]);
}

#[test]
fn enqueue_does_not_overtake_what_is_held() {
    let device = Device::new();
    let queue = device.queue();
    device.faults.add(Fault::full());
    queue.enqueue_or_hold(&record("a"));
    queue.enqueue(&record("b")).unwrap_err();
    device.faults.clear();
    queue.enqueue(&record("c")).unwrap();
    assert_eq!(run_ids(&queue, Standing::Pending), ["a", "c"]);
}

#[test]
fn memory_is_bounded_and_the_newest_record_is_lost_and_counted() {
    let device = Device::new();
    let queue = device.builder().hold_in_memory_bytes(25_000).open().unwrap();
    device.faults.add(Fault::read_only());
    let outcomes: Vec<Enqueued> = ["a", "b", "c", "d"]
        .map(|run_id| queue.enqueue_or_hold(&large_record(run_id, 10_000)))
        .into();
    use Enqueued::{Dropped, Held};
    assert_eq!(outcomes, [Held, Held, Dropped, Dropped]);
    // A smaller one still fits.
    assert_eq!(queue.enqueue_or_hold(&record("small")), Held);
    let stats = queue.stats().unwrap();
    assert_eq!((stats.held_in_memory, stats.dropped_from_memory), (3, 2));
    device.faults.clear();
    queue.retry_held().unwrap();
    assert_eq!(run_ids(&queue, Standing::Pending), ["a", "b", "small"]);
    assert_eq!(queue.stats().unwrap().dropped_from_memory, 2);
}

#[test]
fn a_disk_that_is_full_holds_until_there_is_room() {
    let device = Device::new();
    let queue = device.queue();
    let used = device.disk.total_bytes();
    device.disk.set_capacity(used + 10_000_000, u64::MAX);
    assert_eq!(queue.enqueue_or_hold(&large_record("a", 50_000)), Enqueued::Held);
    let trouble = queue.stats().unwrap().trouble.unwrap();
    assert!(trouble.contains("bytes free"), "{trouble}");
    device.disk.set_capacity(u64::MAX, u64::MAX);
    queue.retry_held().unwrap();
    assert_eq!(run_ids(&queue, Standing::Pending), ["a"]);
}

#[test]
fn end_run_gives_the_whole_record_whatever_the_disk_says() {
    for (name, fault, _) in troubles() {
        let device = Device::new();
        let (logger, fallback) = device.logger();
        logger.start_run("run_001".into());
        logger.record_tool_call(ToolCall::new("pump", json!({}), json!({})));
        device.faults.add(fault);
        logger.record_tool_call(ToolCall::new("pump", json!({}), json!({})));
        let record = logger.end_run(RunEnd::new()).unwrap();
        assert_eq!((record.total_tool_calls(), record.success), (2, true), "{name}");
        assert_eq!(logger.last_enqueued(), Some(Enqueued::Held), "{name}");
        assert_eq!(fallback.get_record("run_001").unwrap().total_tool_calls(), 2);
        // The next run begins and ends as if nothing were wrong.
        logger.start_run("run_002".into());
        device.faults.clear();
        logger.end_run(RunEnd::new()).unwrap();
        let queue = logger.offline_queue();
        assert_eq!(run_ids(queue, Standing::Pending), ["run_001", "run_002"], "{name}");
        assert_eq!(device.files("running"), [""; 0], "{name}");
    }
}

#[test]
fn a_record_that_is_held_survives_the_end_of_the_process_in_its_journal() {
    let device = Device::new();
    let (logger, _) = device.logger();
    logger.start_run("run_001".into());
    logger.record_tool_call(ToolCall::new("pump", json!({}), json!({})));
    // Only the queue is in trouble: the journal takes the end.
    device.faults.add(Fault::any(&Call::CHANGES, errno::EIO).on_path("pending"));
    let ended = logger.end_run(RunEnd::failed("no water").metadata("k", 1)).unwrap();
    assert_eq!(logger.last_enqueued(), Some(Enqueued::Held));
    device.kill(logger);
    device.faults.clear();
    let queue = device.queue();
    let records = crate::device::all_records(&queue);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].to_json(), ended.to_json());
    assert_eq!(device.files("running"), [""; 0]);
}

#[test]
fn a_journal_that_could_not_be_written_catches_up() {
    let device = Device::new();
    let (logger, _) = device.logger();
    device.faults.add(Fault::full());
    logger.start_run("run_001".into());
    logger.record_tool_call(ToolCall::new("one", json!({}), json!({})));
    device.faults.clear();
    logger.record_tool_call(ToolCall::new("two", json!({}), json!({})));
    device.faults.add(Fault::new(Call::Write, errno::ENOSPC).short());
    logger.record_tool_call(ToolCall::new("three", json!({}), json!({})));
    device.faults.clear();
    logger.record_tool_call(ToolCall::new("four", json!({}), json!({})));
    device.kill(logger);
    let records = crate::device::all_records(&device.queue());
    let tools: Vec<&str> = records[0].tool_calls.iter().map(|call| &*call.tool_id).collect();
    assert_eq!(tools, ["one", "two", "three", "four"]);
}

#[tokio::test]
async fn a_sync_stores_what_is_held_and_delivers_it() {
    let device = Device::new();
    let queue = device.queue();
    let hub = InMemoryRunLogger::new();
    queue.bind(std::sync::Arc::new(backhaul_agent::RunLoggerDestination::new(
        std::sync::Arc::new(hub.clone()),
    )));
    let courier = queue.sync_manager(SyncOptions::default()).unwrap();
    device.faults.add(Fault::full());
    queue.enqueue_or_hold(&record("run_001"));
    device.faults.clear();
    let report = courier.sync_now().await;
    assert_eq!((report.synced, queue.held_in_memory()), (1, 0));
    assert!(hub.get_record("run_001").is_some());
}
