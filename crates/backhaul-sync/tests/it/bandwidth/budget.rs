//! Reserving, committing, counting.

use std::time::Duration;

use backhaul_sync::{BandwidthManager, BandwidthOptions, Criticality, Denied};

use super::support::{Device, HOUR, MB, send, send_all, send_as, used};

#[test]
fn normal_traffic_stops_at_the_reserve_and_critical_traffic_at_the_cap() {
    let device = Device::with_cap(100, 20);
    let budget = device.start();
    assert_eq!(send_all(&budget, MB / 2), 80 * MB);
    let left = |denied| match denied {
        Denied::Reserve { left, refill_in } => (left, refill_in),
        other => panic!("{other}"),
    };
    assert_eq!(left(send(&budget, 1).unwrap_err()), (0, Some(12 * HOUR)));
    assert!(!budget.can_send(1) && budget.can_send_as(20 * MB, Criticality::Critical));
    send_as(&budget, 20 * MB, Criticality::Critical).unwrap();
    for kind in [Criticality::Normal, Criticality::Critical] {
        let denied = send_as(&budget, 1, kind).unwrap_err();
        assert_eq!(denied, Denied::Cap { left: 0, refill_in: Some(12 * HOUR) });
    }
    let status = budget.status();
    assert_eq!((status.left_bytes, status.left_critical_bytes), (Some(0), Some(0)));
    assert_eq!(status.used_bytes, 100 * MB);
}

#[test]
fn kilobytes_are_a_thousand_bytes() {
    let device = Device::with_cap(1, 0);
    let budget = device.start();
    assert!(budget.can_send(1_000) && !budget.can_send(1_001));
    assert!(!budget.can_send(u64::MAX));
}

#[test]
fn a_denial_changes_nothing_and_tells_what_is_left() {
    let device = Device::with_cap(1, 0);
    let budget = device.start();
    send(&budget, 700_000).unwrap();
    let denied = budget.reserve(400_000, Criticality::Normal).unwrap_err();
    assert_eq!(denied, Denied::Cap { left: 300_000, refill_in: Some(12 * HOUR) });
    assert_eq!(
        denied.to_string(),
        "the data cap is reached: 300000 bytes are left, more may be there in 720 minutes"
    );
    send(&budget, 300_000).unwrap();
}

#[test]
fn what_is_larger_than_any_allowance_is_told_apart() {
    let device = Device::with_cap(100, 20);
    let budget = device.start();
    let reserve = |bytes, kind| budget.reserve(bytes, kind).unwrap_err();
    assert_eq!(
        reserve(80 * MB + 1, Criticality::Normal),
        Denied::NeverFits { most: 80 * MB, fits_as: Some(Criticality::Critical) }
    );
    let most = 100 * MB;
    for kind in [Criticality::Normal, Criticality::Critical] {
        let denied = reserve(most + 1, kind);
        assert!(matches!(denied, Denied::NeverFits { fits_as: None, .. }), "{denied}");
        assert_eq!(denied.refill_in(), None);
    }
    budget.reserve(most, Criticality::Critical).unwrap().commit(0);
}

#[test]
fn an_open_reservation_is_out_of_reach_for_others() {
    let device = Device::with_cap(1, 0);
    let budget = device.start();
    let reservation = budget.reserve(600_000, Criticality::Normal).unwrap();
    assert_eq!(used(&budget), 600_000);
    assert!(!budget.can_send(401) && budget.can_send(400));
    reservation.commit(100_000);
    assert_eq!(used(&budget), 100_000);
    assert!(budget.can_send(900));
}

#[test]
fn a_dropped_reservation_gives_back_what_was_not_sent() {
    let device = Device::with_cap(1, 0);
    let budget = device.start();
    drop(budget.reserve(600_000, Criticality::Normal).unwrap());
    assert_eq!(used(&budget), 0);
    let mut failed = budget.reserve(600_000, Criticality::Normal).unwrap();
    failed.sent(50_000);
    failed.sent(50_000);
    assert_eq!(failed.left(), 500_000);
    drop(failed);
    assert_eq!(used(&budget), 100_000);
    let mut reservation = budget.reserve(600_000, Criticality::Normal).unwrap();
    reservation.sent(200_000);
    reservation.commit(250_000);
    assert_eq!(used(&budget), 350_000);
}

#[test]
fn more_than_was_reserved_is_counted_all_the_same() {
    let device = Device::with_cap(1, 0);
    let budget = device.start();
    budget.reserve(100_000, Criticality::Normal).unwrap().commit(700_000);
    assert_eq!(used(&budget), 700_000);
    budget.reserve(100_000, Criticality::Normal).unwrap().sent(900_000);
    assert_eq!(used(&budget), 1_600_000);
    budget.kill();
    // It stands on disk too.
    let denied = send(&device.start(), 1).unwrap_err();
    assert!(matches!(denied, Denied::Cap { left: 0, .. }), "{denied}");
}

#[test]
fn recorded_traffic_counts_and_is_not_stopped_and_leaves_the_reserve() {
    let device = Device::with_cap(100, 20);
    let budget = device.start();
    budget.record_sent(70 * MB);
    budget.record_received(15 * MB);
    let status = budget.status();
    assert_eq!(status.used_bytes, 85 * MB);
    assert_eq!((status.left_bytes, status.left_critical_bytes), (Some(0), Some(15 * MB)));
    budget.record_sent(100 * MB);
    assert_eq!(used(&budget), 185 * MB);
    assert!(!budget.can_send_as(1, Criticality::Critical));
}

#[test]
fn without_a_cap_everything_passes_and_nothing_is_written() {
    let device = Device::with_cap(1, 0);
    let device = Device { options: BandwidthOptions::default(), ..device };
    let budget = device.start();
    budget.reserve(1 << 40, Criticality::Normal).unwrap().commit(3 << 40);
    budget.record_sent(1);
    budget.maintain();
    assert!(budget.can_send(u64::MAX));
    let status = budget.status();
    assert_eq!((status.limit_bytes, status.left_bytes, status.trouble), (None, None, None));
    assert_eq!(status.used_bytes, (3 << 40) + 1);
    drop(budget);
    assert!(device.disk.paths().is_empty());
}

#[test]
fn options_without_sense_are_refused_when_a_budget_is_made() {
    let options = BandwidthOptions { daily_limit_mb: Some(0), ..BandwidthOptions::default() };
    let error = BandwidthManager::new("/nowhere", options).unwrap_err();
    assert_eq!(error.to_string(), "daily_limit_mb is 0: expected at least 1, or none for no limit");
}

#[test]
fn the_status_tells_all_there_is() {
    let device = Device::with_cap(100, 20);
    let budget = device.start();
    send(&budget, 10 * MB).unwrap();
    let held = budget.reserve(5 * MB, Criticality::Critical).unwrap();
    let status = budget.status();
    assert_eq!((status.limit_bytes, status.reserve_bytes), (Some(100 * MB), 20 * MB));
    assert_eq!((status.used_bytes, status.held_bytes), (15 * MB, 5 * MB));
    assert_eq!((status.left_bytes, status.left_critical_bytes), (Some(70 * MB), Some(85 * MB)));
    assert_eq!(status.next_refill_at.unwrap().to_string(), "2026-03-11T00:00:00Z");
    assert_eq!(status.next_refill_in, Some(12 * HOUR));
    assert!(status.clock_is_known);
    device.kernel.set(false);
    // Known once in a boot is known until its end.
    assert!(budget.status().clock_is_known);
    held.commit(0);
}

#[test]
fn with_an_unknown_clock_the_status_tells_the_power_on_time_until_bytes_come_back() {
    let device = Device::with_unknown_clock(100);
    let budget = device.start();
    assert_eq!(budget.status().next_refill_in, None);
    send(&budget, MB).unwrap();
    device.pass(20 * HOUR, &budget);
    let status = budget.status();
    assert!(!status.clock_is_known && status.next_refill_at.is_none());
    let wait = status.next_refill_in.unwrap();
    assert!(wait > 4 * HOUR && wait < 4 * HOUR + Duration::from_secs(60), "{wait:?}");
}

#[test]
fn several_processes_share_one_cap() {
    let device = Device::with_cap(10, 2);
    let (one, two) = (device.start(), device.start());
    let mut sent = 0;
    for budget in [&one, &two].into_iter().cycle().take(200) {
        sent += if send(budget, 70_000).is_ok() { 70_000 } else { 0 };
    }
    // At the end each may hold a little that the other would need.
    assert!((7_800_000..=8_000_000).contains(&sent), "{sent}");
    assert_eq!(used(&one), used(&two));
    assert!(send_as(&two, 1_900_000, Criticality::Critical).is_ok());
    assert!(send_as(&one, 200_000, Criticality::Critical).is_err());
}

#[test]
fn threads_share_one_cap() {
    let device = Device::with_cap(5, 0);
    let processes = [device.start(), device.start()];
    let sent: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|thread| {
                let budget: BandwidthManager = (*processes[thread % 2]).clone();
                scope.spawn(move || send_all(&budget, 3_000 + 100 * thread as u64))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!((4_900_000..=5_000_000).contains(&sent), "{sent}");
}
