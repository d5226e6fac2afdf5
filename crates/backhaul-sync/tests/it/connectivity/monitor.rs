//! When it looks, what it concludes, and what it says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_sync::{
    BandwidthManager, BandwidthOptions, CheckRule, Connectivity, ConnectivityMonitor,
    ConnectivityOptions, LinkChange, ProbeError, ProbeErrorKind,
};
use backhaul_testkit::SimDisk;
use tokio::time::Instant;

use super::support::{COST, World, becomes, of, pass, plain, refused};
use crate::bandwidth::support::Kernel;
use crate::support::TokioClock;
use Connectivity::{Offline, Online, Unknown};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A monitor that runs in a world, and came to a state.
async fn running(world: &Arc<World>, state: Connectivity) -> ConnectivityMonitor {
    let monitor = world.monitor(plain());
    monitor.start().await;
    becomes(&monitor, state).await;
    monitor
}

async fn online() -> (Arc<World>, ConnectivityMonitor) {
    let world = Arc::new(World::new());
    world.up();
    let monitor = running(&world, Online).await;
    (world, monitor)
}

async fn offline() -> (Arc<World>, ConnectivityMonitor) {
    let world = Arc::new(World::new());
    let monitor = running(&world, Offline).await;
    (world, monitor)
}

// --- Checks ------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn nothing_is_known_before_the_first_check_which_comes_at_once() {
    let world = Arc::new(World::new());
    world.up();
    let monitor = world.monitor(plain());
    assert_eq!((monitor.state(), monitor.is_online()), (Unknown, false));
    pass(seconds(100)).await;
    assert_eq!(world.probes(), 0);
    let began = Instant::now();
    monitor.start().await;
    becomes(&monitor, Online).await;
    assert!(monitor.is_online());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_stable_link_is_probed_less_and_less_often() {
    let (world, _monitor) = online().await;
    pass(seconds(1100)).await;
    assert_eq!(world.seconds(), [0.0, 30.0, 90.0, 210.0, 450.0, 750.0, 1050.0]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_confirmed_within_a_second_and_then_probed_up_to_the_interval() {
    let (world, monitor) = online().await;
    pass(seconds(29)).await;
    world.down();
    becomes(&monitor, Offline).await;
    assert_eq!(world.seconds(), [0.0, 30.0, 31.0]);
    pass(seconds(99)).await;
    assert_eq!(world.seconds()[3..], [33.0, 37.0, 45.0, 61.0, 91.0, 121.0]);
}

#[tokio::test(start_paused = true)]
async fn one_failure_among_successes_is_no_outage() {
    let (world, monitor) = online().await;
    let mut states = monitor.subscribe();
    pass(seconds(29)).await;
    world.down();
    pass(Duration::from_millis(1500)).await;
    world.up();
    pass(seconds(100)).await;
    assert!(!states.has_changed().unwrap());
    assert_eq!(*states.borrow_and_update(), Online);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_holds_for_an_answer_that_never_comes() {
    let world = Arc::new(World::new());
    world.silent();
    let monitor = running(&world, Offline).await;
    assert_eq!(world.seconds(), [0.0, 6.0]);
    let error = monitor.status().last_error.unwrap();
    assert_eq!(error.kind(), ProbeErrorKind::Timeout);
    assert_eq!(error.reason(), "https://a/ within 5 s");
}

#[tokio::test(start_paused = true)]
async fn any_stops_at_the_first_answer_and_all_at_the_first_failure() {
    let world = Arc::new(World::new());
    let ok = || Ok(());
    for (rule, a, b, c, asked, expected) in [
        (CheckRule::Any, ok(), ok(), ok(), "a", Online),
        (CheckRule::Any, refused(), ok(), ok(), "ab", Online),
        (CheckRule::Any, refused(), refused(), refused(), "abc", Offline),
        (CheckRule::All, ok(), ok(), ok(), "abc", Online),
        (CheckRule::All, ok(), refused(), ok(), "ab", Offline),
        (CheckRule::All, refused(), ok(), ok(), "a", Offline),
    ] {
        for (host, answer) in [("a", a), ("b", b), ("c", c)] {
            world.set(host, Duration::ZERO, answer);
        }
        let options = ConnectivityOptions { rule, failures_to_go_offline: 1, ..of("abc") };
        let monitor = world.monitor(options);
        monitor.start().await;
        becomes(&monitor, expected).await;
        assert_eq!(world.hosts(), asked, "{rule:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_is_the_first_ones_and_goes_when_a_check_goes_well() {
    let world = Arc::new(World::new());
    let error = |kind| Err(ProbeError::new(kind, "x"));
    world.set("a", Duration::ZERO, error(ProbeErrorKind::ClockNotSet));
    world.set("b", Duration::ZERO, error(ProbeErrorKind::Dns));
    let monitor = world.monitor(of("ab"));
    monitor.start().await;
    becomes(&monitor, Offline).await;
    assert_eq!(monitor.status().last_error.unwrap().kind(), ProbeErrorKind::ClockNotSet);
    world.up();
    becomes(&monitor, Online).await;
    assert_eq!(monitor.status().last_error, None);
}

#[tokio::test(start_paused = true)]
async fn waits_vary_so_that_a_fleet_does_not_probe_in_step() {
    let world = Arc::new(World::new());
    world.up();
    let monitor = world.monitor(ConnectivityOptions { jitter: true, ..plain() });
    monitor.start().await;
    pass(seconds(3000)).await;
    let times = world.seconds();
    let waits: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.iter().all(|wait| (27.0..=330.0).contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|wait| wait.fract() > 0.01), "{waits:?}");
}

// --- Flapping ----------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_link_that_flaps_changes_the_state_at_most_twice_in_the_least_time() {
    let (world, monitor) = online().await;
    let mut states = monitor.subscribe();
    let changes = Arc::new(Mutex::new(Vec::new()));
    let (log, start) = (changes.clone(), Instant::now());
    let watching = tokio::spawn(async move {
        while states.changed().await.is_ok() {
            log.lock().unwrap().push((start.elapsed(), *states.borrow_and_update()));
        }
    });
    for _ in 0..300 {
        world.down();
        world.change(LinkChange::Down);
        pass(Duration::from_millis(1300)).await;
        world.up();
        world.change(LinkChange::Up);
        pass(Duration::from_millis(700)).await;
    }
    watching.abort();
    let changes = changes.lock().unwrap();
    // 600 s: at most one round in each 5 s.
    assert!((2..=240).contains(&changes.len()), "{}", changes.len());
    for pair in changes.windows(2) {
        if pair[0].1 == Online {
            assert!(pair[1].0 - pair[0].0 >= seconds(5), "{pair:?}");
        }
    }
}

// --- Changes of the network -----------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_link_that_comes_up_is_online_within_half_a_second() {
    let (world, monitor) = offline().await;
    pass(seconds(10_000)).await;
    // In the middle of a wait of 30 s. Carrier, address and route come one by one, and
    // nothing gets through before the last.
    pass(seconds(7)).await;
    let up = Instant::now();
    world.change(LinkChange::Up);
    pass(Duration::from_millis(100)).await;
    world.change(LinkChange::Up);
    pass(Duration::from_millis(100)).await;
    world.up();
    world.change(LinkChange::Up);
    becomes(&monitor, Online).await;
    assert!(up.elapsed() <= Duration::from_millis(500), "{:?}", up.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_stuck_in_the_old_network_is_given_up_when_another_comes() {
    let world = Arc::new(World::new());
    world.silent();
    let monitor = running(&world, Offline).await;
    pass(seconds(100)).await;
    while monitor.status().next_probe_at.is_some() {
        pass(Duration::from_millis(100)).await;
    }
    let up = Instant::now();
    world.up();
    world.change(LinkChange::Up);
    becomes(&monitor, Online).await;
    assert!(up.elapsed() <= Duration::from_millis(100), "{:?}", up.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_link_that_goes_down_is_found_out_without_waiting_for_the_interval() {
    let (world, monitor) = online().await;
    pass(seconds(1000)).await;
    world.down();
    let down = Instant::now();
    world.change(LinkChange::Down);
    becomes(&monitor, Offline).await;
    assert!(down.elapsed() <= seconds(2), "{:?}", down.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_tells_nothing_is_watched_by_checks_alone() {
    let world = Arc::new(World::deaf());
    let monitor = running(&world, Offline).await;
    world.up();
    becomes(&monitor, Online).await;
    assert!(monitor.status().is_running);
}

// --- Traffic -----------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_busy_link_is_not_probed() {
    let (world, monitor) = online().await;
    let evidence = monitor.evidence();
    for _ in 0..1000 {
        pass(seconds(10)).await;
        evidence.report_success();
    }
    assert_eq!(world.probes(), 1);
    pass(seconds(31)).await;
    assert_eq!(world.probes(), 2, "an idle one is");
}

#[tokio::test(start_paused = true)]
async fn traffic_that_gets_through_brings_it_online_without_a_probe() {
    let (world, monitor) = offline().await;
    let probes = world.probes();
    monitor.evidence().report_success();
    assert!(monitor.is_online());
    pass(seconds(25)).await;
    assert_eq!(world.probes(), probes);
}

#[tokio::test(start_paused = true)]
async fn traffic_that_fails_has_the_link_probed_which_decides() {
    let (world, monitor) = online().await;
    pass(seconds(1000)).await;
    let probes = world.probes();
    let evidence = monitor.evidence();
    for _ in 0..100 {
        evidence.report_failure();
    }
    pass(Duration::from_millis(60)).await;
    assert_eq!((world.probes(), monitor.state()), (probes + 1, Online));

    pass(seconds(5)).await;
    world.down();
    let down = Instant::now();
    evidence.report_failure();
    becomes(&monitor, Offline).await;
    assert!(down.elapsed() <= seconds(3), "{:?}", down.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_is_down_does_not_have_the_link_probed_all_the_time() {
    let (world, monitor) = online().await;
    let evidence = monitor.evidence();
    for _ in 0..6000 {
        evidence.report_failure();
        pass(Duration::from_millis(100)).await;
    }
    // In ten minutes: once in half a minute, and some more at first.
    assert!((20..=36).contains(&world.probes()), "{}", world.probes());
    assert_eq!(monitor.state(), Online);
}

#[tokio::test(start_paused = true)]
async fn where_all_have_to_answer_traffic_only_has_them_asked() {
    let world = Arc::new(World::new());
    let monitor = world.monitor(ConnectivityOptions { rule: CheckRule::All, ..plain() });
    monitor.start().await;
    becomes(&monitor, Offline).await;
    pass(seconds(1000)).await;
    let probes = world.probes();
    world.up();
    monitor.evidence().report_success();
    assert_eq!(monitor.state(), Offline);
    let told = Instant::now();
    becomes(&monitor, Online).await;
    assert!(told.elapsed() <= Duration::from_millis(60), "{:?}", told.elapsed());
    assert_eq!(world.probes(), probes + 1);
    pass(seconds(29)).await;
    monitor.evidence().report_success();
    pass(seconds(2)).await;
    assert_eq!(world.probes(), probes + 2, "it does not stand for an answer");
}

#[tokio::test(start_paused = true)]
async fn without_addresses_traffic_alone_decides() {
    let world = Arc::new(World::new());
    let monitor = world.monitor(of(""));
    let evidence = monitor.evidence();
    evidence.report_success();
    assert_eq!(monitor.state(), Unknown, "it does not run");
    monitor.start().await;
    evidence.report_failure();
    evidence.report_failure();
    assert_eq!(monitor.state(), Offline);
    pass(seconds(1)).await;
    world.change(LinkChange::Up);
    becomes(&monitor, Unknown).await;
    evidence.report_success();
    assert_eq!(monitor.state(), Online);
    evidence.report_failure();
    evidence.report_failure();
    assert_eq!(monitor.state(), Online, "the least time is not over");
    pass(seconds(6)).await;
    assert_eq!(monitor.state(), Offline);
    assert_eq!(world.probes(), 0);
}

// --- By hand -----------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn what_is_set_by_hand_holds_and_costs_no_probe() {
    let (world, monitor) = online().await;
    monitor.set_offline();
    assert_eq!((monitor.state(), monitor.status().is_forced), (Offline, true));
    monitor.evidence().report_success();
    world.change(LinkChange::Up);
    pass(seconds(1000)).await;
    assert_eq!((monitor.state(), world.probes()), (Offline, 1));

    monitor.clear_override();
    assert_eq!((monitor.state(), monitor.status().is_forced), (Offline, false));
    becomes(&monitor, Online).await;
    assert_eq!(world.probes(), 2);

    world.down();
    monitor.set_online();
    pass(seconds(1000)).await;
    assert_eq!((monitor.state(), world.probes()), (Online, 2));
    monitor.clear_override();
    becomes(&monitor, Offline).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_set_by_hand_gives_up_the_probe_under_way() {
    let world = Arc::new(World::new());
    world.silent();
    let monitor = world.monitor(plain());
    monitor.start().await;
    pass(seconds(1)).await;
    monitor.set_online();
    pass(seconds(100)).await;
    let status = monitor.status();
    assert_eq!((status.state, status.probes, status.last_error), (Online, 0, None));
}

#[tokio::test(start_paused = true)]
async fn a_monitor_that_does_not_run_can_be_set_by_hand() {
    let world = Arc::new(World::new());
    let monitor = world.monitor(plain());
    monitor.set_online();
    assert!(monitor.is_online());
    monitor.start().await;
    pass(seconds(100)).await;
    assert!(monitor.is_online());
    assert_eq!(world.probes(), 0);
    monitor.stop().await;
    assert!(monitor.is_online());
    monitor.clear_override();
    monitor.start().await;
    becomes(&monitor, Offline).await;
}

// --- Life ----------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn stopping_forgets_and_starting_looks_anew() {
    let (world, monitor) = online().await;
    monitor.stop().await;
    assert_eq!((monitor.state(), monitor.status().is_running), (Unknown, false));
    world.down();
    monitor.evidence().report_success();
    pass(seconds(1000)).await;
    assert_eq!((monitor.state(), world.probes()), (Unknown, 1));
    monitor.start().await;
    becomes(&monitor, Offline).await;
}

#[tokio::test(start_paused = true)]
async fn starting_twice_and_stopping_twice_is_harmless() {
    let (world, monitor) = online().await;
    monitor.start().await;
    pass(seconds(10)).await;
    assert_eq!(world.probes(), 1);
    monitor.stop().await;
    monitor.stop().await;
    assert!(!monitor.status().is_running);
}

#[tokio::test(start_paused = true)]
async fn a_monitor_stops_when_its_last_handle_is_dropped() {
    let (world, monitor) = online().await;
    let (clone, evidence, states) = (monitor.clone(), monitor.evidence(), monitor.subscribe());
    drop(monitor);
    pass(seconds(31)).await;
    assert_eq!((world.probes(), clone.state()), (2, Online));
    drop(clone);
    pass(seconds(1000)).await;
    evidence.report_success();
    assert_eq!((world.probes(), *states.borrow()), (2, Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_monitor_that_breaks_off_knows_nothing_and_can_be_started_again() {
    let world = Arc::new(World::new());
    let check_urls = vec!["https://panic/".parse().unwrap()];
    let monitor = world.monitor(ConnectivityOptions { check_urls, ..plain() });
    for round in 1..=2 {
        monitor.start().await;
        pass(seconds(1)).await;
        assert_eq!((monitor.state(), monitor.status().is_running), (Unknown, false));
        assert_eq!(world.probes(), round);
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_says_since_when_and_what_is_next() {
    let (world, monitor) = online().await;
    pass(seconds(20)).await;
    let status = monitor.status();
    let time = |time: Option<backhaul_store::Timestamp>| time.unwrap().to_string();
    assert_eq!(time(status.since), "2026-01-01T00:00:00Z");
    assert_eq!(time(status.last_probe_at), "2026-01-01T00:00:00Z");
    assert_eq!(time(status.next_probe_at), "2026-01-01T00:00:30Z");
    assert_eq!((status.probes, status.bytes), (1, COST));
    world.down();
    becomes(&monitor, Offline).await;
    assert_eq!(time(monitor.status().since), "2026-01-01T00:00:31Z");
}

/// A data cap of so many MB on a disk of its own.
fn budget(daily_limit_mb: u64) -> BandwidthManager {
    let options =
        BandwidthOptions { daily_limit_mb: Some(daily_limit_mb), ..BandwidthOptions::default() };
    let (disk, clock) = (Arc::new(SimDisk::new()), TokioClock::new());
    BandwidthManager::new_on("/cap", options, disk, clock, Arc::new(Kernel::default())).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_byte_is_charged_once_those_of_probes_that_were_given_up_too() {
    let world = Arc::new(World::new());
    world.silent();
    let (monitor, budget) = (world.monitor(plain()), budget(1));
    monitor.charge(&budget);
    monitor.start().await;
    pass(seconds(1)).await;
    monitor.set_offline();
    pass(seconds(1)).await;
    world.up();
    monitor.clear_override();
    pass(seconds(100)).await;
    assert_eq!(monitor.status().bytes, world.probes() as u64 * COST);
    assert_eq!(budget.status().used_bytes, monitor.status().bytes);
    assert!(world.probes() > 3);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_the_data_cap_has_no_room_for_is_not_made_and_says_nothing() {
    let world = Arc::new(World::new());
    world.up();
    let (monitor, budget) = (world.monitor(plain()), budget(1));
    monitor.charge(&budget);
    monitor.start().await;
    becomes(&monitor, Online).await;
    let checks = world.probes();
    budget.record_sent(950_000);
    world.down();
    pass(seconds(3600)).await;
    assert_eq!(world.probes(), checks);
    assert!(monitor.is_online());
    assert!(budget.status().used_bytes <= 1_000_000);
    let error = monitor.status().last_error.unwrap();
    assert_eq!(error.kind(), ProbeErrorKind::Cap);
    assert!(error.to_string().starts_with("the data cap leaves no room for a check: "), "{error}");
}

#[tokio::test(start_paused = true)]
async fn options_without_sense_are_refused_when_a_monitor_is_made() {
    let options = ConnectivityOptions { timeout_seconds: 0, ..plain() };
    let error = ConnectivityMonitor::new(options).unwrap_err();
    assert_eq!(error.to_string(), "timeout_seconds is 0: expected at least 1");
}
