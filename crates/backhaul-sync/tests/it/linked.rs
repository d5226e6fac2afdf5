//! A courier that a connectivity monitor tells of the link.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use backhaul_store::Batch;
use backhaul_sync::{
    BandwidthManager, BandwidthOptions, BlockedKind, ConnectivityMonitor, ConnectivityOptions,
    Deliver, Destination, HttpProbe, LinkChange, LinkError, LinkEvents, Listen, PlannedOutage,
    SyncManager, SyncOptions,
};
use backhaul_testkit::SimDisk;
use tokio::sync::Notify;

use crate::bandwidth::support::Kernel;
use crate::connectivity::support::{COST, World, plain as asks_one};
use crate::support::{Device, Fake, append, pass, plain, takes_all};

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

#[tokio::test(start_paused = true)]
async fn a_courier_starts_the_monitor_and_keeps_it() {
    let device = Device::new();
    let (courier, world) = (device.courier_of(3), Arc::new(World::new()));
    courier.watch(&world.monitor(asks_one()));
    courier.start().await;
    pass(10).await;
    // The first request was under way before the first check had failed twice.
    assert_eq!(courier.status().connectivity.unwrap().state.to_string(), "online");
    world.down();
    device.hub.answers(|_| Err(LinkError::unreachable("no route")));
    append(&courier, "more");
    courier.notify();
    pass(60).await;
    let status = courier.status();
    let why = status.blocked_by.unwrap();
    assert_eq!(why.kind, BlockedKind::Offline);
    assert_eq!(why.reason, "there is no link: no connection: refused");
    assert_eq!(status.next_attempt_at, status.connectivity.unwrap().next_probe_at);
    let tries = device.hub.requests();
    pass(3600).await;
    assert_eq!(device.hub.requests(), tries);
    device.hub.answers(takes_all);
    world.up();
    pass(31).await;
    assert_eq!(courier.status().pending_count, 0);
    courier.stop().await;
}

#[tokio::test(start_paused = true)]
async fn where_the_monitor_has_nobody_to_ask_requests_go_on() {
    let device = Device::new();
    let (courier, monitor) = (device.courier_of(3), monitor());
    courier.watch(&monitor);
    device.hub.answers(|_| Err(LinkError::unreachable("no route")));
    courier.start().await;
    pass(600).await;
    assert_eq!(courier.status().is_online, Some(false));
    let tries = device.hub.requests();
    pass(600).await;
    assert!(device.hub.requests() > tries, "nobody finds out any more");
    device.hub.answers(takes_all);
    pass(120).await;
    assert_eq!(courier.status().pending_count, 0);
    courier.stop().await;
}

#[tokio::test(start_paused = true)]
async fn asking_for_a_sync_has_the_link_checked_but_not_again_and_again() {
    let device = Device::new();
    let (courier, world) = (device.courier_of(3), Arc::new(World::new()));
    courier.watch(&world.monitor(asks_one()));
    device.hub.answers(|_| Err(LinkError::unreachable("no route")));
    courier.start().await;
    pass(300).await;
    let checks = world.probes();
    world.up();
    device.hub.answers(takes_all);
    assert_eq!(courier.sync_now().await.blocked_by.unwrap().kind, BlockedKind::Offline);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!((world.probes(), courier.status().pending_count), (checks + 1, 0));

    world.down();
    courier.monitor().unwrap().set_offline();
    for _ in 0..100 {
        courier.sync_now().await;
    }
    assert_eq!(world.probes(), checks + 1, "what is set by hand is not checked");
    courier.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_planned_outage_is_one_for_the_monitor_too() {
    let device = Device::new();
    let (courier, world) = (device.courier_of(3), Arc::new(World::new()));
    world.up();
    let is_on = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&is_on);
    courier.watch(&world.monitor(asks_one()));
    courier.offline_while(move || {
        let outage = PlannedOutage { reason: "asked for".to_owned(), left: None };
        asked.load(Ordering::SeqCst).then_some(outage)
    });
    courier.start().await;
    pass(3600).await;
    assert_eq!((world.probes(), device.hub.requests()), (0, 0));
    let why = courier.status().blocked_by.unwrap();
    assert_eq!((why.kind, why.reason.as_str()), (BlockedKind::Outage, "asked for"));
    is_on.store(false, Ordering::SeqCst);
    pass(31).await;
    assert_eq!((world.probes(), courier.status().pending_count), (1, 0));
    courier.stop().await;
}

struct Capped(Arc<Fake>, BandwidthManager);

impl Destination for Capped {
    fn deliver<'a>(&'a self, batch: &'a Batch) -> Deliver<'a> {
        self.0.deliver(batch)
    }

    fn bandwidth(&self) -> Option<&BandwidthManager> {
        Some(&self.1)
    }
}

/// A courier to the device's hub within a budget.
fn within(device: &Device, options: BandwidthOptions) -> (SyncManager, BandwidthManager) {
    let (disk, clock) = (Arc::new(SimDisk::new()), device.clock.clone());
    let kernel = Arc::new(Kernel::default());
    let budget = BandwidthManager::new_on("/cap", options, disk, clock, kernel).unwrap();
    let hub = Arc::new(Capped(device.hub.clone(), budget.clone()));
    (SyncManager::new(device.open(), hub, plain()).unwrap(), budget)
}

#[tokio::test(start_paused = true)]
async fn what_checks_cost_counts_against_the_data_cap() {
    let device = Device::new();
    let options = BandwidthOptions { daily_limit_mb: Some(1), ..BandwidthOptions::default() };
    let (courier, budget) = within(&device, options);
    let world = Arc::new(World::new());
    world.up();
    courier.watch(&world.monitor(asks_one()));
    courier.start().await;
    pass(100).await;
    let checks = world.probes() as u64;
    assert!(checks > 1);
    assert_eq!(budget.status().used_bytes, checks * COST);
    courier.stop().await;
}

#[tokio::test(start_paused = true)]
async fn at_a_rate_a_batch_holds_what_goes_in_a_second() {
    let device = Device::new();
    let options = BandwidthOptions { rate_limit_kbps: Some(50), ..BandwidthOptions::default() };
    let (courier, _) = within(&device, options);
    for _ in 0..40 {
        append(&courier, &"x".repeat(1000));
    }
    append(&courier, &"y".repeat(9000));
    assert_eq!(courier.sync_now().await.synced, 41);
    let bytes: Vec<usize> =
        device.hub.log().iter().map(|sent| sent.bodies.iter().map(String::len).sum()).collect();
    // 50 kbps are 6,250 bytes a second; what is larger goes alone.
    assert_eq!((bytes[0], *bytes.last().unwrap()), (6000, 9000), "{bytes:?}");
    assert!(bytes.iter().rev().skip(1).all(|bytes| *bytes <= 6250), "{bytes:?}");
    courier.set_options(SyncOptions { batch_bytes: 2500, ..plain() }).unwrap();
    for _ in 0..4 {
        append(&courier, &"x".repeat(1000));
    }
    courier.sync_now().await;
    assert_eq!(device.hub.sizes().iter().rev().take(2).collect::<Vec<_>>(), [&2, &2]);
}
