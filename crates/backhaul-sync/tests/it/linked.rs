//! A courier that a connectivity monitor tells of the link.

use std::time::{Duration, Instant};

use backhaul_sync::{BlockedKind, ConnectivityMonitor, ConnectivityOptions, LinkError};

use crate::support::{Device, append, pass, takes_all};

/// One that knows what it is told by hand and by traffic.
fn monitor() -> ConnectivityMonitor {
    ConnectivityMonitor::new(ConnectivityOptions::default()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn offline_a_sync_returns_at_once_and_nothing_is_tried() {
    let device = Device::new();
    let (courier, monitor) = (device.courier_of(3), monitor());
    courier.watch(&monitor);
    monitor.set_offline();
    let begun = Instant::now();
    let report = courier.sync_now().await;
    assert_eq!((report.synced, report.remaining), (0, 3));
    assert_eq!(report.blocked_by.unwrap().kind, BlockedKind::Offline);
    assert!(begun.elapsed() < Duration::from_secs(1));
    courier.start().await;
    append(&courier, "more");
    courier.notify();
    pass(3600).await;
    assert_eq!(device.hub.requests(), 0);
    let status = courier.status();
    assert_eq!(status.is_online, Some(false));
    assert_eq!(status.blocked_by.unwrap().kind, BlockedKind::Offline);
    courier.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_back_ends_the_backoff_at_once() {
    let device = Device::new();
    let (courier, monitor) = (device.courier_of(3), monitor());
    courier.watch(&monitor);
    device.hub.answers(|_| Err(LinkError::unreachable("no route")));
    courier.start().await;
    pass(1000).await;
    monitor.set_offline();
    pass(1000).await;
    let tries = device.hub.requests();
    pass(1000).await;
    assert_eq!(device.hub.requests(), tries);
    device.hub.answers(takes_all);
    monitor.set_online();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(courier.status().pending_count, 0);
    courier.stop().await;
}

#[tokio::test]
async fn what_becomes_of_requests_is_told_to_the_monitor() {
    let device = Device::new();
    let (courier, monitor) = (device.courier_of(2), monitor());
    courier.watch(&monitor);
    monitor.start().await;
    assert!(!monitor.is_online());
    assert_eq!(courier.sync_now().await.synced, 2);
    let mut state = monitor.subscribe();
    state.wait_for(|state| state.is_online()).await.unwrap();
    monitor.stop().await;
}
