//! How a courier comes back, so that a fleet does not come back as one.

use std::time::Duration;

use backhaul_store::Lane;
use backhaul_sync::{BlockedKind, LinkError, SyncManager, SyncOptions};

use crate::support::{Answer, Device, append, pass, plain, record, takes_all};

fn down() -> Answer {
    Err(LinkError::unreachable("no route to host"))
}

fn busy(seconds: u64) -> Answer {
    let error = LinkError::busy("others are before you").with_status(429);
    Err(error.with_retry_after(Duration::from_secs(seconds)))
}

/// A courier in the tenth minute of an outage.
async fn in_an_outage(device: &Device, options: SyncOptions, records: usize) -> SyncManager {
    device.hub.answers(|_| down());
    let courier = device.courier(options);
    for number in 0..records {
        append(&courier, &number.to_string());
    }
    courier.start().await;
    pass(600).await;
    courier
}

#[tokio::test(start_paused = true)]
async fn after_a_long_outage_batches_begin_small_and_grow() {
    let device = Device::new();
    let courier = in_an_outage(&device, plain(), 200).await;
    let failed = device.hub.requests();
    device.hub.answers(takes_all);
    pass(61).await;
    assert_eq!(courier.status().pending_count, 0);
    assert_eq!(device.hub.sizes()[failed..], [1, 2, 4, 8, 16, 32, 50, 50, 37]);
}

#[tokio::test(start_paused = true)]
async fn a_hiccup_makes_no_batch_smaller() {
    let device = Device::new();
    device.hub.answers(|_| down());
    let courier = device.courier_of(100);
    courier.start().await;
    pass(20).await;
    device.hub.answers(takes_all);
    pass(20).await;
    assert_eq!(device.hub.sizes(), [50, 50, 50, 50, 50, 50, 50]);
}

#[tokio::test(start_paused = true)]
async fn a_courier_that_is_told_of_the_link_sends_at_once() {
    let device = Device::new();
    let courier = in_an_outage(&device, plain(), 3).await;
    device.hub.answers(takes_all);
    let before = device.hub.requests();
    courier.link_is_up();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(device.hub.requests() > before);
    assert_eq!(courier.status().pending_count, 0);
}

#[tokio::test(start_paused = true)]
async fn with_a_spread_the_device_waits_for_its_turn_whatever_happens_meanwhile() {
    let device = Device::new();
    let options = SyncOptions { fleet_spread_seconds: 10_000, ..plain() };
    let courier = in_an_outage(&device, options, 3).await;
    device.hub.answers(takes_all);
    let before = device.hub.requests();
    courier.link_is_up();
    pass(1).await;
    let turn = courier.status().next_attempt_at.unwrap();
    append(&courier, "new");
    courier.notify();
    courier.link_is_up();
    pass(1).await;
    assert_eq!(device.hub.requests(), before);
    assert_eq!(courier.status().next_attempt_at.unwrap(), turn);
    // What is critical does not wait.
    courier.spool().append(record("alarm").lane(Lane::Critical)).unwrap();
    courier.notify();
    pass(1).await;
    assert_eq!(device.hub.bodies().last().unwrap(), "alarm");
    assert_eq!(courier.status().pending_count, 4);
    assert_eq!(courier.status().next_attempt_at.unwrap(), turn);
    pass(10_000).await;
    assert_eq!(courier.status().pending_count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_spread_that_nobody_announced_begins_after_the_first_record() {
    let device = Device::new();
    let options = SyncOptions { fleet_spread_seconds: 10_000, ..plain() };
    let courier = in_an_outage(&device, options, 100).await;
    device.hub.answers(takes_all);
    pass(61).await;
    assert_eq!(courier.status().pending_count, 99);
    pass(10_001).await;
    assert_eq!(courier.status().pending_count, 0);
}

#[tokio::test(start_paused = true)]
async fn an_operator_waits_for_no_spread() {
    let device = Device::new();
    let options = SyncOptions { fleet_spread_seconds: 10_000, ..plain() };
    let courier = in_an_outage(&device, options, 100).await;
    device.hub.answers(takes_all);
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.blocked_by.unwrap().kind), (1, BlockedKind::Spread));
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.remaining, report.blocked_by), (99, 0, None));
}

#[tokio::test(start_paused = true)]
async fn a_time_that_was_asked_for_is_kept_whatever_is_said_of_the_link() {
    let device = Device::new();
    device.hub.answers(|_| busy(100));
    let courier = device.courier_of(3);
    courier.start().await;
    pass(1).await;
    device.hub.answers(takes_all);
    courier.link_is_up();
    append(&courier, "new");
    courier.notify();
    pass(98).await;
    assert_eq!(device.hub.seconds(), [0]);
    courier.spool().append(record("alarm").lane(Lane::Critical)).unwrap();
    courier.notify();
    pass(0).await;
    pass(2).await;
    assert_eq!(device.hub.bodies()[3..], ["alarm", "0", "1", "2", "new"]);
    assert_eq!(device.hub.seconds(), [0, 99, 100]);
}

#[tokio::test(start_paused = true)]
async fn who_asks_again_and_again_is_not_left_alone_longer_than_it_asks() {
    let device = Device::new();
    device.hub.answers(|_| busy(5));
    let courier = device.courier_of(1);
    courier.start().await;
    pass(31).await;
    assert_eq!(device.hub.seconds(), [0, 5, 10, 15, 20, 25, 30]);
}

#[tokio::test(start_paused = true)]
async fn devices_that_were_told_the_same_time_do_not_come_together_and_none_comes_early() {
    let mut waits = Vec::new();
    for _ in 0..20 {
        let device = Device::new();
        device.hub.answers(|_| busy(5));
        let courier = device.courier(SyncOptions::default());
        append(&courier, "x");
        courier.start().await;
        pass(1).await;
        assert_eq!(device.hub.requests(), 1);
        let began = tokio::time::Instant::now();
        while device.hub.requests() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        waits.push(began.elapsed());
    }
    let range = Duration::from_secs(4)..=Duration::from_millis(5_020);
    assert!(waits.iter().all(|wait| range.contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
}
