//! Starting, stopping, and being told of new records.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backhaul_sync::{LinkError, SyncManager, SyncOptions};

use crate::support::{Device, append, later, pass, plain, takes_all};

#[tokio::test(start_paused = true)]
async fn a_record_goes_at_once_when_the_courier_is_told() {
    let device = Device::new();
    let courier = device.courier(plain());
    courier.start().await;
    pass(10).await;
    append(&courier, "told");
    courier.notify();
    pass(1).await;
    assert_eq!(device.hub.seconds(), [10]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_nobody_told_of_goes_at_the_interval() {
    let device = Device::new();
    let courier = device.courier(plain());
    courier.start().await;
    pass(10).await;
    append(&courier, "not told");
    pass(49).await;
    assert_eq!(device.hub.requests(), 0);
    pass(2).await;
    assert_eq!(device.hub.seconds(), [60]);
}

#[tokio::test(start_paused = true)]
async fn the_interval_counts_from_the_end_of_a_sync() {
    let device = Device::new();
    let courier = device.courier_of(1);
    device.hub.takes(Duration::from_secs(30));
    courier.start().await;
    pass(31).await;
    append(&courier, "next");
    pass(100).await;
    assert_eq!(device.hub.seconds(), [0, 90]);
}

#[tokio::test(start_paused = true)]
async fn starting_twice_is_harmless() {
    let device = Device::new();
    let courier = device.courier_of(1);
    device.hub.takes(Duration::from_secs(1));
    for _ in 0..3 {
        courier.start().await;
    }
    pass(300).await;
    assert_eq!(device.hub.requests(), 1);
    assert!(courier.status().is_running);
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_the_batch_under_way_and_begins_no_other() {
    let device = Device::new();
    let courier = device.courier_of(120);
    device.hub.takes(Duration::from_secs(5));
    courier.start().await;
    pass(1).await;
    courier.stop().await;
    assert_eq!(device.hub.requests(), 1);
    let status = courier.status();
    assert_eq!((status.pending_count, status.is_running, status.is_syncing), (70, false, false));
    pass(300).await;
    assert_eq!(device.hub.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn stopping_gives_up_on_a_batch_that_takes_too_long() {
    let device = Device::new();
    let courier = device.courier_of(1);
    device.hub.takes(Duration::from_secs(3600));
    courier.start().await;
    pass(1).await;
    let began = tokio::time::Instant::now();
    courier.stop().await;
    assert_eq!(began.elapsed(), SyncOptions::default().stop_timeout);
    // Its record waits again, and a courier that is started anew takes it.
    assert_eq!(courier.status().pending_count, 1);
    device.hub.takes(Duration::ZERO);
    courier.start().await;
    pass(1).await;
    assert_eq!(courier.status().pending_count, 0);
}

#[tokio::test(start_paused = true)]
async fn several_couriers_are_stopped_in_the_time_of_one() {
    let devices = [Device::new(), Device::new(), Device::new()];
    let couriers = devices.each_ref().map(|device| device.courier_of(1));
    for (device, courier) in devices.iter().zip(&couriers) {
        device.hub.takes(Duration::from_secs(3600));
        courier.start().await;
    }
    pass(1).await;
    let began = tokio::time::Instant::now();
    SyncManager::stop_all(&couriers).await;
    assert_eq!(began.elapsed(), SyncOptions::default().stop_timeout);
    assert!(couriers.iter().all(|courier| !courier.status().is_running));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_courier_still_syncs_when_it_is_asked() {
    let device = Device::new();
    let courier = device.courier_of(1);
    courier.start().await;
    courier.stop().await;
    append(&courier, "x");
    assert_eq!(courier.sync_now().await.remaining, 0);
    assert!(!courier.status().is_running);
}

#[tokio::test(start_paused = true)]
async fn a_courier_stops_when_its_last_handle_is_dropped() {
    let device = Device::new();
    let courier = device.courier(plain());
    let spool = courier.spool().clone();
    courier.start().await;
    let clone = courier.clone();
    drop(courier);
    pass(1).await;
    assert!(clone.status().is_running);
    drop(clone);
    pass(1).await;
    spool.append(crate::support::record("x")).unwrap();
    pass(300).await;
    assert_eq!(device.hub.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_hook_runs_before_each_sync() {
    let device = Device::new();
    let courier = device.courier(plain());
    let spool = courier.spool().clone();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    courier.before_each_sync(move || {
        if counter.fetch_add(1, Ordering::SeqCst) == 0 {
            spool.append(crate::support::record("from the hook")).unwrap();
        }
    });
    assert_eq!(courier.sync_now().await.synced, 1);
    courier.sync_now().await;
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn options_without_sense_are_refused_when_a_courier_is_made() {
    let device = Device::new();
    let options = SyncOptions { sync_interval_seconds: 0, ..plain() };
    let error = SyncManager::new(device.open(), device.hub.clone(), options).unwrap_err();
    assert_eq!(error.to_string(), "sync_interval_seconds is 0: expected at least 1");
    device.hub.answers(takes_all);
}

#[tokio::test(start_paused = true)]
async fn a_new_interval_holds_from_the_moment_that_it_is_set() {
    let device = Device::new();
    let courier = device.courier(plain());
    courier.start().await;
    pass(10).await;
    append(&courier, "first");
    courier.set_options(SyncOptions { sync_interval_seconds: 5, ..plain() }).unwrap();
    pass(6).await;
    append(&courier, "second");
    pass(6).await;
    assert_eq!(device.hub.seconds(), [15, 20]);
    // A longer one does not put off the look that is due.
    courier.set_options(plain()).unwrap();
    append(&courier, "third");
    pass(100).await;
    assert_eq!(device.hub.seconds(), [15, 20, 25]);
}

#[tokio::test(start_paused = true)]
async fn new_options_hold_for_the_next_batch_and_the_next_retry() {
    let device = Device::new();
    let courier = device.courier_of(100);
    courier.set_options(SyncOptions { batch_size: Some(20), ..plain() }).unwrap();
    device.hub.takes(Duration::from_secs(10));
    courier.start().await;
    pass(15).await;
    courier.set_options(SyncOptions { batch_size: Some(60), ..plain() }).unwrap();
    pass(100).await;
    // One of the old size was under way; from there it doubles up to the new one.
    assert_eq!(device.hub.sizes(), [20, 20, 40, 20]);

    device.hub.answers(|bodies| Ok(vec![later(true); bodies.len()]));
    append(&courier, "bad");
    let options = SyncOptions { max_retries: 1, batch_size: None, ..plain() };
    courier.set_options(options).unwrap();
    assert_eq!(courier.options().batch_size, Some(60));
    pass(300).await;
    assert_eq!(device.hub.bodies().iter().filter(|body| *body == "bad").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn new_options_do_not_cut_a_failing_links_wait_short() {
    let device = Device::new();
    device
        .hub
        .answers(|_| Err(LinkError::busy("later").with_retry_after(Duration::from_secs(500))));
    let courier = device.courier_of(1);
    courier.start().await;
    pass(10).await;
    courier.set_options(SyncOptions { sync_interval_seconds: 1, ..plain() }).unwrap();
    pass(480).await;
    assert_eq!(device.hub.seconds(), [0]);
}

#[tokio::test(start_paused = true)]
async fn new_options_without_sense_change_nothing() {
    let device = Device::new();
    let courier = device.courier(plain());
    let options = SyncOptions { max_retries: 9, batch_bytes: 0, ..plain() };
    let error = courier.set_options(options).unwrap_err();
    assert_eq!(error.to_string(), "batch_bytes is 0: expected at least 1");
    assert_eq!(courier.options(), plain());
}
