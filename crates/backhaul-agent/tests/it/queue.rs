//! The queue's own promises: what goes in, in which order, and what can be done to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_agent::{DeliverError, Enqueued, OfflineQueue, QueueErrorKind, RunLoggerDestination};
use backhaul_store::{
    Lane, Layout, Limits, Options, Settled, Spool, Standing, State, Timestamp, WhenFull,
};
use backhaul_sync::SyncOptions;
use backhaul_testkit::Call;
use serde_json::json;

use crate::device::{Device, PATH, Told, all_records, large_record, record, run_id, run_ids};

/// Settles the waiting records as a courier would.
fn settle(queue: &OfflineQueue, state: State) -> usize {
    let mut settled = 0;
    while let Some(batch) = queue.spool().take(&Limits::default()).unwrap() {
        for offer in &batch.records {
            let settlement = Settled::new(state).reason("told so").status(422);
            queue.spool().settle(&[(offer.record.id.position, settlement)]).unwrap();
            settled += 1;
        }
    }
    settled
}

#[test]
fn sizes_of_zero_are_refused_by_name_when_a_queue_is_made() {
    let device = Device::new();
    for (name, builder) in [
        ("max_queue_size_mb", device.builder().max_queue_size_mb(0)),
        ("max_queue_size_mb", device.builder().max_queue_size_mb(u64::MAX)),
        ("sync_batch_size", device.builder().sync_batch_size(0)),
    ] {
        let error = builder.open().unwrap_err();
        assert_eq!(error.kind(), QueueErrorKind::InvalidOption);
        assert!(error.to_string().starts_with(name), "{error}");
        assert!(!error.is_transient());
    }
    assert_eq!(device.disk.paths().len(), 0, "nothing was made");
}

#[test]
fn the_defaults_are_those_of_the_document() {
    let queue = Device::new().queue();
    assert_eq!(queue.sync_batch_size(), 50);
    assert_eq!(queue.stats().unwrap().max_bytes, 100_000_000);
}

#[test]
fn a_record_comes_back_as_it_was() {
    let queue = Device::new().queue();
    let mut written = record("run_001");
    written.metadata.insert("nan".into(), backhaul_agent::json::float(f64::NAN));
    written.metadata.insert("text".into(), json!("ü \u{1F600} \" \\ \n"));
    let id = queue.enqueue(&written).unwrap();
    let (entry, read) = queue.get(id.into()).unwrap();
    assert_eq!(read.to_json(), written.to_json());
    assert_eq!((run_id(&entry), entry.standing), ("run_001", Standing::Pending));
    assert_eq!((entry.facts.kind.as_str(), entry.attempts), ("run", 0));
    assert_eq!(entry.size_bytes, written.to_json().len());
}

#[test]
fn a_record_that_is_larger_than_the_queue_takes_is_refused_and_costs_no_other() {
    let device = Device::new();
    let queue = device.builder().max_queue_size_mb(1).when_full(WhenFull::DropOldest).open();
    let queue = queue.unwrap();
    queue.enqueue(&record("small")).unwrap();
    let error = queue.enqueue(&large_record("large", 2_000_000)).unwrap_err();
    assert_eq!(error.kind(), QueueErrorKind::TooLarge);
    assert!(error.to_string().contains("raise the cap"), "{error}");
    assert_eq!(run_ids(&queue, Standing::Pending), ["small"]);
    assert_eq!(queue.stats().unwrap().books.evicted, 0);
}

#[test]
fn of_a_record_that_is_too_large_a_summary_is_kept_where_one_must_be() {
    let device = Device::new();
    let queue = device.builder().max_queue_size_mb(1).open().unwrap();
    let mut large = large_record("large", 2_000_000);
    large.metadata.insert("critical".into(), json!(true));
    large.error = Some("no".into());
    let Enqueued::Abridged(id) = queue.enqueue_or_hold(&large) else { panic!() };
    assert_eq!(id.position.chain.lane, Lane::Critical);
    let (_, summary) = queue.get(id.into()).unwrap();
    assert_eq!((summary.run_id.as_str(), summary.error.as_deref()), ("large", Some("no")));
    assert_eq!(summary.started_at, large.started_at);
    assert_eq!(summary.metadata["abridged"]["tool_calls"], json!(1));
    assert_eq!(queue.stats().unwrap().abridged, 1);
}

#[test]
fn a_full_queue_refuses_new_records_unless_told_otherwise() {
    let device = Device::new();
    let queue = device.builder().max_queue_size_mb(1).open().unwrap();
    let error = (0..20)
        .find_map(|n| queue.enqueue(&large_record(&format!("run_{n}"), 90_000)).err())
        .unwrap();
    assert_eq!(error.kind(), QueueErrorKind::Full);
    assert!(error.is_transient());
    let stats = queue.stats().unwrap();
    assert_eq!(run_ids(&queue, Standing::Pending)[0], "run_0");
    assert_eq!(stats.books.evicted, 0);
    assert!(stats.bytes <= stats.max_bytes, "{} of {}", stats.bytes, stats.max_bytes);
    assert!(stats.trouble.is_some());
}

#[test]
fn a_full_queue_drops_its_oldest_records_where_it_was_told_to_and_counts_them() {
    let device = Device::new();
    let queue = device.builder().max_queue_size_mb(1).when_full(WhenFull::DropOldest);
    let queue = queue.open().unwrap();
    let mut critical = large_record("critical", 90_000);
    critical.metadata.insert("critical".into(), json!(true));
    queue.enqueue(&critical).unwrap();
    for n in 0..20 {
        queue.enqueue(&large_record(&format!("run_{n}"), 90_000)).unwrap();
    }
    let stats = queue.stats().unwrap();
    let left = run_ids(&queue, Standing::Pending);
    assert_eq!(stats.books.evicted + stats.pending, 21);
    assert!(stats.books.evicted > 0 && stats.books.balance());
    assert_eq!(left[0], "critical");
    assert_eq!(left.last().unwrap(), "run_19");
    assert!(stats.bytes <= stats.max_bytes);
}

#[test]
fn critical_records_come_first_and_streams_are_kept() {
    let device = Device::new();
    let queue = device.queue();
    for (run_id, critical, stream) in
        [("a", None, Some("s")), ("b", Some(true), None), ("c", Some(false), Some("s"))]
    {
        let mut record = record(run_id);
        record.metadata.extend(critical.map(|critical| ("critical".into(), json!(critical))));
        record.metadata.extend(stream.map(|stream| ("stream".into(), json!(stream))));
        queue.enqueue(&record).unwrap();
    }
    let entries = queue.list(Some(Standing::Pending)).unwrap();
    let told: Vec<_> =
        entries.iter().map(|entry| (run_id(entry), entry.facts.stream.as_deref())).collect();
    assert_eq!(told, [("b", None), ("a", Some("s")), ("c", Some("s"))]);
    assert_eq!(run_id(&queue.peek().unwrap().unwrap()), "b");
    // `c` waits for `a`, which is of its stream.
    queue.spool().take(&Limits::default()).unwrap().unwrap();
    drop(queue);
    let queue = device.queue();
    let critical = queue.spool().take(&Limits::default()).unwrap().unwrap();
    let normal = queue.spool().take(&Limits::default()).unwrap().unwrap();
    assert_eq!((critical.records.len(), normal.records.len()), (1, 1));
}

#[test]
fn equal_run_ids_in_one_second_are_two_records_with_names_of_their_own() {
    let device = Device::new();
    let queue = device.queue();
    let first = queue.enqueue(&record("run_001")).unwrap();
    let second = queue.enqueue(&record("run_001")).unwrap();
    assert_ne!(first, second);
    assert_eq!(run_ids(&queue, Standing::Pending), ["run_001", "run_001"]);
    assert_eq!(device.files("pending").len(), 2);
}

#[test]
fn order_comes_from_the_sequence_when_the_clock_starts_in_1970_and_jumps() {
    let device = Device::new();
    let queue = device.queue();
    let at = |text| backhaul_store::Timestamp::parse(text).unwrap();
    for (run_id, wall) in [
        ("first", "1970-01-01T00:00:07Z"),
        ("second", "2031-01-01T00:00:00Z"),
        ("third", "2024-01-15T10:30:00Z"),
        ("fourth", "1970-01-01T00:00:01Z"),
    ] {
        device.clock.set_wall(at(wall));
        queue.enqueue(&record(run_id)).unwrap();
    }
    let order = ["first", "second", "third", "fourth"];
    assert_eq!(run_ids(&queue, Standing::Pending), order);
    drop(queue);
    let queue = device.queue();
    assert_eq!(run_ids(&queue, Standing::Pending), order);
    assert_eq!(settle(&queue, State::Delivered), 4);
    assert_eq!(queue.stats().unwrap().synced, 4);
}

#[test]
fn failed_records_can_be_looked_at_requeued_and_dropped() {
    let device = Device::new();
    let queue = device.queue();
    for run_id in ["a", "b", "c", "d"] {
        queue.enqueue(&record(run_id)).unwrap();
    }
    assert_eq!(settle(&queue, State::Rejected), 4);
    let failed = queue.list(Some(Standing::Failed)).unwrap();
    assert_eq!((failed.len(), queue.stats().unwrap().failed), (4, 4));
    assert_eq!(failed[0].last_error.as_deref(), Some("told so"));
    assert_eq!(failed[0].attempts, 1);

    assert!(queue.requeue(failed[0].id.into()).unwrap());
    assert!(!queue.requeue(failed[0].id.into()).unwrap(), "it waits already");
    assert!(queue.drop_record(failed[1].id.into()).unwrap());
    assert_eq!(queue.requeue_all().unwrap(), 2);
    assert_eq!(run_ids(&queue, Standing::Pending), ["a", "c", "d"]);
    assert_eq!(queue.purge(Standing::Pending).unwrap(), 3);
    let stats = queue.stats().unwrap();
    assert_eq!((stats.pending, stats.failed, stats.books.dropped), (0, 0, 4));
    assert!(stats.books.balance());
    assert_eq!(device.files("pending").len() + device.files("failed").len(), 0);
}

#[test]
fn many_records_are_requeued_and_purged_with_few_flushes_of_the_ledger() {
    let device = Device::new();
    let queue = device.queue();
    for n in 0..300 {
        queue.enqueue(&record(&format!("run_{n}"))).unwrap();
    }
    assert_eq!(settle(&queue, State::Rejected), 300);
    let flushes_of = |act: &dyn Fn() -> u64| {
        let before = device.faults.calls(Call::Flush);
        assert_eq!(act(), 300);
        device.faults.calls(Call::Flush) - before
    };
    // Each file that goes back to `pending/` is written and flushed anew.
    let requeueing = flushes_of(&|| queue.requeue_all().unwrap());
    assert!((300..310).contains(&requeueing), "{requeueing}");
    let purging = flushes_of(&|| queue.purge(Standing::Pending).unwrap());
    assert!(purging < 10, "{purging}");
    assert_eq!(queue.purge(Standing::Settled).unwrap(), 0);
    let stats = queue.stats().unwrap();
    assert_eq!((stats.pending, stats.failed, stats.books.dropped), (0, 0, 300));
}

#[test]
fn a_record_that_was_delivered_is_not_dropped() {
    let device = Device::new();
    let queue = device.queue();
    let id = queue.enqueue(&record("a")).unwrap();
    settle(&queue, State::Delivered);
    assert!(!queue.drop_record(id.into()).unwrap());
    let error = queue.get("normal/99".parse().unwrap()).unwrap_err();
    assert_eq!(error.kind(), QueueErrorKind::NotFound);
}

#[test]
fn delivered_records_go_when_their_time_is_over() {
    for (keep, after, left) in [(7, 6, 1), (7, 9, 0), (0, 0, 0)] {
        let device = Device::new();
        let day = Duration::from_secs(24 * 3600);
        let queue = device.builder().keep_synced(day * keep).open().unwrap();
        queue.enqueue(&record("delivered")).unwrap();
        settle(&queue, State::Delivered);
        queue.enqueue(&record("waits")).unwrap();
        for _ in 0..=after * 24 {
            device.clock.advance(Duration::from_secs(3600));
            queue.spool().maintain().unwrap();
        }
        assert_eq!(device.files("synced").len(), left, "kept {keep} days, after {after}");
        assert_eq!(run_ids(&queue, Standing::Pending), ["waits"]);
    }
}

#[test]
fn two_processes_share_a_queue_and_one_of_them_delivers() {
    let device = Device::new();
    let first = device.queue();
    let second = device.queue();
    first.enqueue(&record("of the first")).unwrap();
    second.enqueue(&record("of the second")).unwrap();
    assert_eq!(first.stats().unwrap().pending, 2);
    assert_eq!(second.stats().unwrap().pending, 2);
    let error = second.spool().take(&Limits::default()).unwrap_err();
    assert!(error.to_string().contains("another process delivers"), "{error}");
    device.clock.advance(Duration::from_secs(1));
    assert_eq!(settle(&first, State::Delivered), 2);
    let failed = second.requeue("normal/1".parse().unwrap()).unwrap_err();
    assert_eq!(failed.kind(), QueueErrorKind::Busy);
    assert_eq!(all_records(&second).len(), 2);
}

#[test]
fn a_folder_with_another_kind_of_spool_is_refused() {
    let device = Device::new();
    let options = Options { maintenance_thread: false, ..Options::default() };
    assert_eq!(options.layout, Layout::Segments);
    let disk = std::sync::Arc::new(device.disk.clone());
    let clock = std::sync::Arc::new(device.clock.clone());
    drop(Spool::open_on(PATH, options, disk, clock).unwrap());
    let error = device.builder().open().unwrap_err();
    assert!(error.to_string().contains("spool of segments"), "{error}");
}

#[tokio::test]
async fn a_record_past_its_age_expires_while_there_is_no_link_and_is_never_sent() {
    let device = Device::new();
    let hour = Duration::from_secs(3600);
    let queue = device.builder().expires_after(hour * 24).open().unwrap();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let (link, taken) = (Arc::new(AtomicBool::new(false)), Arc::clone(&sent));
    let is_up = Arc::clone(&link);
    let primary = Told::new(move |record| {
        if !is_up.load(Ordering::SeqCst) {
            return Err(DeliverError::link_down("no link"));
        }
        taken.lock().unwrap().push(record.run_id.clone());
        Ok(())
    });
    queue.bind(Arc::new(RunLoggerDestination::new(Arc::new(primary))));
    let courier = queue.sync_manager(SyncOptions::default()).unwrap();
    queue.enqueue(&record("old")).unwrap();
    device.clock.advance(hour * 12);
    queue.enqueue(&record("young")).unwrap();
    // The clock says that ten years have passed.
    device.clock.set_wall(Timestamp::parse("2036-01-01T00:00:00Z").unwrap());
    assert_eq!(courier.sync_now().await.remaining, 2);
    device.clock.advance(hour * 13);
    queue.spool().maintain().unwrap();
    let (stats, status) = (queue.stats().unwrap(), courier.status());
    assert_eq!((stats.books.expired, stats.pending, status.pending_count), (1, 1, 1));
    assert_eq!(status.oldest_age, Some(hour * 13));
    link.store(true, Ordering::SeqCst);
    assert_eq!(courier.sync_now().await.synced, 1);
    assert_eq!(*sent.lock().unwrap(), ["young"]);
    assert!(queue.stats().unwrap().books.balance());
}
