//! Refills: what proves one, and what does not.

use std::time::Duration;

use backhaul_store::{Clock as _, Timestamp};
use backhaul_sync::{BandwidthOptions, Refill};

use super::support::{Device, HOUR, MB, MINUTE, send, send_all, used};

/// A little more than a day: what a clock that nobody corrects has to run to prove one.
const A_DAY_PROVED: Duration = Duration::from_secs(24 * 3600 + 44);

#[test]
fn a_known_clock_refills_at_the_refill_time_to_the_second() {
    let device = Device::with_cap(1, 0);
    let budget = device.start();
    assert_eq!(send_all(&budget, 100_000), MB);
    device.sleep(12 * HOUR - Duration::from_secs(1));
    assert!(!budget.can_send(1));
    device.sleep(Duration::from_secs(1));
    assert_eq!(used(&budget), 0);
    assert_eq!(send_all(&budget, 100_000), MB);
}

#[test]
fn the_refill_time_can_be_set() {
    let at = 18 * HOUR;
    let device = Device::with_cap(1, 0);
    let options = BandwidthOptions { refill: Refill::Daily { at }, ..device.options };
    let device = Device { options, ..device };
    let budget = device.start();
    send(&budget, MB).unwrap();
    device.sleep(6 * HOUR - MINUTE);
    assert!(!budget.can_send(1));
    device.sleep(MINUTE);
    assert!(budget.can_send(1_000));
}

#[test]
fn a_monthly_allowance_lasts_until_the_billing_day() {
    let refill = Refill::Monthly { day: 15, at: Duration::ZERO };
    let device = Device::with_cap(100, 0);
    let device = Device { options: BandwidthOptions { refill, ..device.options }, ..device };
    let budget = device.start();
    for day in 10..15 {
        let sent = send_all(&budget, MB);
        assert_eq!(sent, if day == 10 { 100 * MB } else { 0 }, "March {day}");
        device.sleep(if day == 10 { 12 * HOUR } else { 24 * HOUR });
    }
    assert_eq!(budget.status().next_refill_at.unwrap().to_string(), "2026-04-15T00:00:00Z");
    assert_eq!(send_all(&budget, MB), 100 * MB);
}

#[test]
fn jumps_of_a_clock_that_is_not_known_refill_nothing() {
    let device = Device::with_unknown_clock(1);
    let budget = device.start();
    send(&budget, MB).unwrap();
    for days in [1, 3650, -7300, 3650, -1, 40] {
        device.jump(days);
        assert!(!budget.can_send(1), "after a jump of {days} days");
        assert!(!device.start().can_send(1), "after a jump of {days} days and a start");
    }
    device.set_wall("1970-01-01T00:00:00Z");
    assert!(!budget.can_send(1));
}

#[test]
fn jumps_of_a_clock_that_is_not_known_delay_nothing() {
    let device = Device::with_unknown_clock(1);
    let budget = device.start();
    send(&budget, MB).unwrap();
    for days in [3650, -20_000, 10_000, -1] {
        device.pass(6 * HOUR, &budget);
        device.jump(days);
    }
    assert!(!budget.can_send(1));
    device.sleep(A_DAY_PROVED - 24 * HOUR);
    assert!(budget.can_send(1_000));
}

#[test]
fn an_unknown_clock_gives_bytes_back_a_day_of_power_on_time_after_they_were_counted() {
    let device = Device::with_unknown_clock(3);
    let budget = device.start();
    send(&budget, MB).unwrap();
    device.pass(20 * HOUR, &budget);
    send(&budget, 2 * MB).unwrap();
    device.pass(4 * HOUR, &budget);
    assert_eq!(used(&budget), 3 * MB);
    device.pass(MINUTE, &budget);
    assert_eq!(used(&budget), 2 * MB);
    device.pass(20 * HOUR, &budget);
    assert_eq!(used(&budget), 0);
}

#[test]
fn no_refill_comes_sooner_than_a_day_proved_after_the_last_with_an_unknown_clock() {
    let device = Device::with_cap(1, 0);
    let budget = device.start();
    device.sleep(12 * HOUR);
    send(&budget, MB).unwrap();
    // The clock is lost with the reboot, and jumps over the next refill.
    drop(budget);
    device.kernel.set(false);
    device.clock.reboot();
    let budget = device.start();
    budget.maintain();
    device.jump(1);
    for hour in 0..23 {
        device.pass(HOUR, &budget);
        assert!(!budget.can_send(1), "after {hour} hours");
    }
    device.pass(HOUR + MINUTE, &budget);
    assert!(budget.can_send(1_000));
}

#[test]
fn reboots_every_ten_minutes_refill_nothing_early_and_the_day_comes_all_the_same() {
    let device = Device::with_unknown_clock(1);
    send(&device.start(), MB).unwrap();
    let mut boots = 0;
    loop {
        let budget = device.start();
        device.pass(10 * MINUTE, &budget);
        if budget.can_send(1) {
            break;
        }
        budget.kill();
        device.clock.reboot();
        device.set_wall("1970-01-01T00:00:00Z");
        boots += 1;
    }
    // Of ten minutes eight are written down.
    assert!((144..=181).contains(&boots), "{boots}");
}

#[test]
fn boots_too_short_to_be_written_down_prove_nothing() {
    let device = Device::with_unknown_clock(1);
    send(&device.start(), MB).unwrap();
    for _ in 0..3_000 {
        let budget = device.start();
        device.pass(Duration::from_secs(50), &budget);
        budget.kill();
        device.clock.reboot();
    }
    assert!(!device.start().can_send(1));
}

#[test]
fn time_between_boots_is_never_proved() {
    let device = Device::with_unknown_clock(1);
    send(&device.start(), MB).unwrap();
    for _ in 0..23 {
        let budget = device.start();
        device.pass(HOUR, &budget);
        drop(budget);
        // A month off. The wall clock says so, and nobody believes it.
        device.clock.reboot();
        device.jump(30);
    }
    assert!(!device.start().can_send(1));
}

#[test]
fn a_process_that_starts_late_in_a_boot_proves_nothing_of_it() {
    let device = Device::with_unknown_clock(1);
    drop(send(&device.start(), MB));
    device.clock.reboot();
    device.sleep(30 * 24 * HOUR);
    let budget = device.start();
    assert!(!budget.can_send(1));
    device.pass(A_DAY_PROVED, &budget);
    assert!(budget.can_send(1));
}

#[test]
fn suspended_time_counts() {
    // The boot clock goes on while the device sleeps.
    let device = Device::with_unknown_clock(1);
    let budget = device.start();
    send(&budget, MB).unwrap();
    device.sleep(A_DAY_PROVED);
    assert!(budget.can_send(1));
}

#[test]
fn once_known_the_time_is_known_until_the_reboot_however_the_wall_clock_jumps() {
    let device = Device::with_cap(1, 0);
    let budget = device.start();
    send(&budget, MB).unwrap();
    device.kernel.set(false);
    device.jump(3650);
    assert!(!budget.can_send(1));
    device.sleep(12 * HOUR - MINUTE);
    device.jump(-7300);
    assert!(!budget.can_send(1));
    // Of twelve hours a clock that nobody corrects may be off by 22 seconds.
    device.sleep(2 * MINUTE);
    assert!(budget.can_send(1_000));
    let at = budget.status().next_refill_at.unwrap().to_string();
    assert_eq!(at, "2026-03-12T00:00:00Z");
}

#[test]
fn what_was_known_before_a_reboot_proves_the_refill_when_the_rest_of_the_day_has_passed() {
    let device = Device::with_cap(1, 0);
    let budget = device.start();
    device.sleep(8 * HOUR);
    send(&budget, MB).unwrap();
    drop(budget);
    device.kernel.set(false);
    device.clock.reboot();
    device.set_wall("1970-01-01T00:00:00Z");
    // It was 20:00; four hours later it is surely another day.
    let budget = device.start();
    budget.maintain();
    device.pass(4 * HOUR - MINUTE, &budget);
    assert!(!budget.can_send(1));
    device.pass(2 * MINUTE, &budget);
    assert!(budget.can_send(1_000));
}

#[test]
fn a_clock_that_becomes_known_does_not_refill_what_may_be_of_this_day() {
    let device = Device::with_unknown_clock(1);
    device.set_wall("1970-01-01T00:00:00Z");
    let budget = device.start();
    send(&budget, 600_000).unwrap();
    device.sleep(2 * HOUR);
    send(&budget, 400_000).unwrap();
    // Now it is known to be 01:30: the first bytes are of yesterday, the others are not.
    device.sleep(HOUR);
    device.set_wall("2026-03-10T01:30:00Z");
    device.kernel.set(true);
    assert_eq!(used(&budget), 400_000);
    device.sleep(23 * HOUR);
    assert_eq!(used(&budget), 0);
}

#[test]
fn a_reboot_into_a_known_clock_refills_if_the_refill_time_has_passed_meanwhile() {
    let device = Device::with_cap(1, 0);
    send(&device.start(), MB).unwrap();
    device.clock.reboot();
    device.set_wall("2026-03-10T23:59:00Z");
    assert!(!device.start().can_send(1));
    device.clock.reboot();
    device.set_wall("2026-03-11T00:01:00Z");
    assert!(device.start().can_send(1_000));
}

#[test]
fn a_servers_date_that_agrees_makes_the_clock_known() {
    let device = Device::with_unknown_clock(1);
    let budget = device.start();
    send(&budget, MB).unwrap();
    // The wall clock is three minutes slow, and the server says so.
    let date = Timestamp::parse("2026-03-10T12:03:00Z").unwrap();
    assert!(budget.note_server_date(date));
    assert!(budget.status().clock_is_known);
    device.sleep(12 * HOUR - MINUTE);
    assert!(!budget.can_send(1));
    // By both of them it is another day.
    device.sleep(2 * MINUTE);
    assert!(budget.can_send(1_000));
    // Other processes know it too.
    assert!(device.start().status().clock_is_known);
}

#[test]
fn a_servers_date_that_does_not_agree_changes_nothing() {
    let device = Device::with_unknown_clock(1);
    let budget = device.start();
    send(&budget, MB).unwrap();
    for date in ["2026-03-11T12:00:00Z", "2036-03-10T12:00:00Z", "1970-01-01T00:00:00Z"] {
        assert!(!budget.note_server_date(Timestamp::parse(date).unwrap()), "{date}");
        assert!(!budget.can_send(1) && !budget.status().clock_is_known, "{date}");
    }
    // A clock that was set back and agrees by itself is as good as ever.
    let now = device.clock.now().wall;
    assert!(budget.note_server_date(now));
}

#[test]
fn a_servers_date_is_of_its_boot() {
    let device = Device::with_unknown_clock(1);
    let budget = device.start();
    send(&budget, MB).unwrap();
    assert!(budget.note_server_date(device.clock.now().wall));
    assert!(budget.status().clock_is_known);
    drop(budget);
    device.clock.reboot();
    device.jump(3650);
    let budget = device.start();
    assert!(!budget.status().clock_is_known && !budget.can_send(1));
}

#[test]
fn a_reservation_that_is_open_over_the_refill_is_of_the_new_allowance() {
    let device = Device::with_cap(1, 0);
    let budget = device.start();
    device.sleep(12 * HOUR - MINUTE);
    let reservation = budget.reserve(600_000, backhaul_sync::Criticality::Normal).unwrap();
    send(&budget, 400_000).unwrap();
    device.sleep(2 * MINUTE);
    assert_eq!(used(&budget), 600_000);
    reservation.commit(500_000);
    assert_eq!(used(&budget), 500_000);
}

#[test]
fn a_clock_that_was_known_and_wrong_is_corrected_by_the_next_that_is_known() {
    let device = Device::with_cap(1, 0);
    device.set_wall("2036-03-10T12:00:00Z");
    let budget = device.start();
    send(&budget, MB).unwrap();
    device.set_wall("2026-03-10T12:00:00Z");
    assert!(!budget.can_send(1));
    device.sleep(12 * HOUR);
    assert!(budget.can_send(1_000));
}
