//! From the queue to a logger, through the courier.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_agent::{
    DeliverError, InMemoryRunLogger, OfflineQueue, OfflineRunLogger, QueueErrorKind, RunEnd,
    RunLogger, RunLoggerDestination, RunRecord, RunStart,
};
use backhaul_store::Standing;
use backhaul_sync::{BlockedKind, SyncOptions};

use crate::device::{Device, Told, record, run_ids};

fn queue_to(
    answer: impl Fn(&RunRecord) -> Result<(), DeliverError> + Send + Sync + 'static,
    run_ids: &[&str],
) -> OfflineQueue {
    let queue = Device::new().queue();
    let logger = Arc::new(Told::new(answer));
    queue.bind(Arc::new(RunLoggerDestination::new(logger)));
    run_ids.iter().for_each(|run_id| drop(queue.enqueue(&record(run_id)).unwrap().to_string()));
    queue
}

fn options() -> SyncOptions {
    SyncOptions { backoff_jitter: false, ..SyncOptions::default() }
}

#[tokio::test]
async fn finished_records_reach_the_primary_whole_and_once() {
    let device = Device::new();
    let cloud = InMemoryRunLogger::new();
    let logger = OfflineRunLogger::builder().primary(cloud.clone()).queue(device.queue());
    let logger = logger.build().unwrap();
    let written: Vec<RunRecord> = (0..3)
        .map(|n| {
            logger.start_run(RunStart::new(format!("run_{n}")).metadata("n", n));
            logger.end_run(RunEnd::new()).unwrap()
        })
        .collect();
    let courier = logger.offline_queue().sync_manager(options()).unwrap();
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.remaining), (3, 0));
    courier.sync_now().await;
    let arrived: Vec<RunRecord> =
        cloud.get_history().iter().map(|record| (**record).clone()).collect();
    assert_eq!(arrived, written);
    assert_eq!(device.files("synced").len(), 3);
}

#[test]
fn a_courier_without_a_destination_fails_clearly() {
    let error = Device::new().queue().sync_manager(options()).unwrap_err();
    assert_eq!(error.kind(), QueueErrorKind::NoDestination);
    assert!(error.to_string().contains("no destination"));
}

#[test]
fn of_two_batch_sizes_the_couriers_wins() {
    let queue = queue_to(|_| Ok(()), &[]);
    let size = |queue: &OfflineQueue, options: SyncOptions| {
        queue.sync_manager(options).unwrap().options().batch_size
    };
    assert_eq!(size(&queue, options()), Some(50));
    let explicit = SyncOptions { batch_size: Some(7), ..options() };
    assert_eq!(size(&queue, explicit), Some(7));
    let device = Device::new();
    let queue = device.builder().sync_batch_size(9).open().unwrap();
    queue.bind(Arc::new(RunLoggerDestination::new(Arc::new(InMemoryRunLogger::new()))));
    assert_eq!(size(&queue, options()), Some(9));
    let zero = SyncOptions { batch_size: Some(0), ..options() };
    assert_eq!(queue.sync_manager(zero).unwrap_err().kind(), QueueErrorKind::InvalidOption);
}

#[tokio::test(start_paused = true)]
async fn a_new_record_goes_without_waiting_for_the_interval() {
    let (sender, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let queue = queue_to(
        move |record| {
            sender.send(record.run_id.clone()).unwrap();
            Ok(())
        },
        &[],
    );
    let courier = queue.sync_manager(options()).unwrap();
    courier.start().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let began = tokio::time::Instant::now();
    queue.enqueue(&record("run_001")).unwrap();
    assert_eq!(arrived.recv().await.unwrap(), "run_001");
    assert!(began.elapsed() < Duration::from_secs(1));
    courier.stop().await;
}

#[tokio::test]
async fn a_logger_that_is_out_of_reach_settles_nothing() {
    let queue = queue_to(|_| Err(DeliverError::link_down("no route")), &["a", "b"]);
    let report = queue.sync_manager(options()).unwrap().sync_now().await;
    assert_eq!((report.synced, report.failed, report.remaining), (0, 0, 2));
    assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::Offline);
    let entries = queue.list(Some(Standing::Pending)).unwrap();
    assert!(entries.iter().all(|entry| entry.attempts == 0));
}

#[tokio::test]
async fn what_got_through_before_the_link_went_is_settled() {
    let calls = AtomicUsize::new(0);
    let queue = queue_to(
        move |_| match calls.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Ok(()),
            _ => Err(DeliverError::link_down("cut")),
        },
        &["a", "b", "c", "d"],
    );
    let report = queue.sync_manager(options()).unwrap().sync_now().await;
    assert_eq!((report.synced, report.failed, report.remaining), (2, 0, 2));
    assert_eq!(run_ids(&queue, Standing::Pending), ["c", "d"]);
}

#[tokio::test]
async fn a_logger_says_of_each_record_what_becomes_of_it() {
    let queue = queue_to(
        |record| match record.run_id.as_str() {
            "bad" => Err(DeliverError::rejected("too long")),
            "later" => Err(DeliverError::later("busy")),
            "panics" => panic!("a bug of the logger"),
            _ => Ok(()),
        },
        &["a", "bad", "later", "panics", "b"],
    );
    let report = queue.sync_manager(options()).unwrap().sync_now().await;
    assert_eq!((report.synced, report.failed, report.remaining), (2, 1, 2));
    let failed = queue.list(Some(Standing::Failed)).unwrap();
    assert_eq!(failed[0].last_error.as_deref(), Some("too long"));
    let waiting = queue.list(Some(Standing::Pending)).unwrap();
    let errors: Vec<&str> =
        waiting.iter().map(|entry| entry.last_error.as_deref().unwrap()).collect();
    assert_eq!(errors, ["not taken now: busy", "the logger panicked over this record"]);
}

#[tokio::test]
async fn json_that_is_no_run_record_fails_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("pending")).unwrap();
    std::fs::write(dir.path().join("pending/x.json"), b"{\"hello\": 1}").unwrap();
    let queue = OfflineQueue::builder(dir.path()).maintenance_thread(false).open().unwrap();
    queue.bind(Arc::new(RunLoggerDestination::new(Arc::new(InMemoryRunLogger::new()))));
    let report = queue.sync_manager(options()).unwrap().sync_now().await;
    assert_eq!((report.failed, report.remaining), (1, 0));
    let failed = queue.list(Some(Standing::Failed)).unwrap();
    assert!(failed[0].last_error.as_ref().unwrap().starts_with("not a run record"));
}

#[tokio::test]
async fn a_logger_that_hangs_is_not_called_again_before_it_returned() {
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Mutex::new(blocked);
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let logger = Told::new(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        let _ = blocked.lock().unwrap().recv();
        Ok(())
    });
    let queue = Device::new().queue();
    let destination = RunLoggerDestination::new(Arc::new(logger));
    queue.bind(Arc::new(destination.timeout(Duration::from_millis(20))));
    queue.enqueue(&record("a")).unwrap();
    let courier = queue.sync_manager(options()).unwrap();
    for _ in 0..3 {
        let report = courier.sync_now().await;
        assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::Offline);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    drop(release);
}
