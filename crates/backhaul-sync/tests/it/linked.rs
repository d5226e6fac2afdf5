//! A courier that a connectivity monitor tells of the link.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backhaul_sync::{
    BlockedKind, ConnectivityMonitor, ConnectivityOptions, HttpProbe, LinkChange, LinkError,
    LinkEvents, Listen, SyncOptions,
};
use tokio::sync::Notify;

use crate::support::{Device, append, pass, plain, takes_all};

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

#[tokio::test(start_paused = true)]
async fn a_request_under_way_is_given_up_when_the_link_goes_and_goes_again_when_it_is_back() {
    let device = Device::new();
    let (courier, monitor) = (device.courier_of(3), monitor());
    courier.watch(&monitor);
    device.hub.takes(Duration::from_secs(50));
    courier.start().await;
    pass(10).await;
    assert_eq!(courier.status().blocked_by, None);
    monitor.set_offline();
    pass(1).await;
    let status = courier.status();
    assert_eq!(
        status.last_error.unwrap(),
        "the destination cannot be reached: the link went away during the request"
    );
    pass(30).await;
    device.hub.takes(Duration::ZERO);
    monitor.set_online();
    pass(1).await;
    assert_eq!(device.hub.seconds(), [0, 41]);
    assert_eq!(courier.status().pending_count, 0);
    courier.stop().await;
}

/// A network that changes when it is told to.
#[derive(Default)]
struct Network(Notify);

impl LinkEvents for Network {
    fn listen<'a>(&'a self, tell: &'a (dyn Fn(LinkChange) + Send + Sync)) -> Listen<'a> {
        Box::pin(async move {
            loop {
                self.0.notified().await;
                tell(LinkChange::Up);
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_went_another_way_is_given_up_and_goes_again_at_once_on_the_new_one() {
    const NOWHERE: &str = "255.255.255.255";
    let device = Device::new();
    let courier = device.courier_of(3);
    let (network, clock) = (Arc::new(Network::default()), device.clock.clone());
    let probe = Arc::new(HttpProbe::new(clock.clone()));
    let options = ConnectivityOptions::default();
    let monitor = ConnectivityMonitor::new_on(options, probe, network.clone(), clock).unwrap();
    courier.watch(&monitor);
    monitor.start().await;
    device.hub.is_at("127.0.0.1");
    device.hub.takes(Duration::from_secs(50));
    courier.start().await;
    pass(10).await;
    network.0.notify_one();
    pass(1).await;
    assert_eq!(courier.status().last_error, None, "it is the same way");
    device.hub.is_at(NOWHERE);
    network.0.notify_one();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let error = courier.status().last_error.unwrap();
    assert!(error.ends_with("the network changed during the request"), "{error}");
    network.0.notify_one();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(device.hub.seconds(), [0], "there is no way");
    device.hub.takes(Duration::ZERO);
    device.hub.is_at("127.0.0.1");
    network.0.notify_one();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(device.hub.seconds(), [0, 11]);
    assert_eq!(courier.status().pending_count, 0);
    courier.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_had_nothing_to_send_comes_back_in_its_turn_too() {
    for (outage, is_spread) in [(59, false), (61, true)] {
        let device = Device::new();
        let options = SyncOptions { fleet_spread_seconds: 10_000, ..plain() };
        let (courier, monitor) = (device.courier(options), monitor());
        courier.watch(&monitor);
        monitor.set_online();
        courier.start().await;
        pass(10).await;
        monitor.set_offline();
        append(&courier, "x");
        pass(outage).await;
        monitor.set_online();
        pass(5).await;
        assert_eq!(device.hub.requests() == 0, is_spread, "{outage}");
        pass(10_001).await;
        assert_eq!(courier.status().pending_count, 0);
        courier.stop().await;
    }
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
