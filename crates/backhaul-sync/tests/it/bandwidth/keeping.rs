//! What is kept on disk, how often it is written, and what a crash wastes.

use std::sync::{Arc, Mutex};

use backhaul_sync::Criticality;
use backhaul_testkit::{CrashStyle, Prng, SimDisk, SimSnapshot};

use super::support::{Device, HOUR, MB, MINUTE, send, send_all, used};

#[test]
fn usage_survives_a_restart_to_the_byte() {
    let device = Device::with_cap(100, 20);
    let budget = device.start();
    send(&budget, 12_345_678).unwrap();
    budget.record_received(22);
    drop(budget);
    assert_eq!(used(&device.start()), 12_345_700);
}

#[test]
fn a_kill_wastes_no_more_than_what_was_taken_ahead() {
    let device = Device::with_cap(100, 0);
    let budget = device.start();
    send(&budget, 1_000).unwrap();
    budget.kill();
    let counted = used(&device.start());
    assert!((1_000..=1_000 + 64_000).contains(&counted), "{counted}");
}

#[test]
fn what_kills_and_power_cuts_waste_is_bounded_by_what_was_sent() {
    const CRASHES: u64 = 60;
    let device = Device::with_cap(100, 0);
    let mut random = Prng::new(1);
    let mut sent = 0;
    for crash in 0..CRASHES {
        let budget = device.start();
        for _ in 0..random.below(40) {
            let bytes = random.below(20_000);
            send(&budget, bytes).unwrap();
            sent += bytes;
        }
        if crash % 2 == 0 {
            budget.kill();
        } else {
            device.disk.power_cut(&mut random, &CrashStyle::DROP_ALL);
            drop(budget);
            device.clock.reboot();
        }
    }
    let wasted = used(&device.start()) - sent;
    println!("{CRASHES} crashes: {sent} bytes sent, {wasted} wasted");
    assert!(wasted <= CRASHES * 64_000 + sent, "{wasted}");
}

#[test]
fn an_open_reservation_counts_as_sent_when_its_process_is_killed() {
    let device = Device::with_cap(10, 0);
    let budget = device.start();
    let reservation = budget.reserve(3 * MB, Criticality::Normal).unwrap();
    budget.kill();
    drop(reservation);
    let counted = used(&device.start());
    assert!((3 * MB..=3 * MB + 64_000).contains(&counted), "{counted}");
}

#[test]
fn another_process_finds_out_who_died() {
    let device = Device::with_cap(10, 0);
    let (one, two) = (device.start(), device.start());
    send(&one, 100_000).unwrap();
    send(&two, 100_000).unwrap();
    one.kill();
    // What the dead one had is of the day in which that is noticed, and no longer.
    send(&two, MB).unwrap();
    device.sleep(12 * HOUR);
    assert_eq!(send_all(&two, 100_000), 10 * MB);
}

#[test]
fn a_hundred_megabytes_cost_about_a_hundred_updates() {
    let device = Device::with_cap(100, 0);
    let budget = device.start();
    send(&budget, 1).unwrap();
    let before = device.disk.flush_count();
    let sent = send_all(&budget, 2_000);
    assert!(sent > 99_990_000, "{sent}");
    let updates = (device.disk.flush_count() - before) / 2;
    println!("{updates} updates for {sent} bytes");
    assert!(updates <= 130, "{updates}");
}

#[test]
fn an_idle_budget_writes_nothing() {
    let device = Device::with_cap(100, 0);
    let budget = device.start();
    send(&budget, 1_000_000).unwrap();
    device.pass(6 * MINUTE, &budget);
    let before = device.disk.flush_count();
    device.pass(24 * HOUR, &budget);
    assert_eq!(device.disk.flush_count() - before, 0);
    budget.status();
    assert!(budget.can_send(1) && device.start().can_send(1));
    assert_eq!(device.disk.flush_count() - before, 0);
}

#[test]
fn an_unknown_clock_costs_about_a_hundred_updates_a_day() {
    let device = Device::with_unknown_clock(100);
    let budget = device.start();
    send(&budget, 1_000_000).unwrap();
    let before = device.disk.flush_count();
    device.pass(24 * HOUR, &budget);
    let updates = (device.disk.flush_count() - before) / 2;
    assert!((90..=102).contains(&updates), "{updates}");
    // Nothing is counted any more: no refill depends on the time.
    device.pass(2 * HOUR, &budget);
    let before = device.disk.flush_count();
    device.pass(24 * HOUR, &budget);
    assert_eq!(device.disk.flush_count(), before);
}

#[test]
fn what_is_not_needed_is_given_back_after_five_minutes() {
    let device = Device::with_cap(1, 0);
    let (one, two) = (device.start(), device.start());
    send(&one, 1).unwrap();
    assert!(!two.can_send(995));
    device.pass(6 * MINUTE, &one);
    assert!(two.can_send(999));
    assert_eq!(used(&two), 1);
}

#[test]
fn a_refill_finds_what_is_open_and_nothing_else() {
    let device = Device::with_cap(10, 0);
    let budget = device.start();
    for day in 0..5 {
        let sent = send_all(&budget, 50_000);
        assert_eq!(sent, 10 * MB, "day {day}");
        device.sleep(24 * HOUR);
    }
}

/// Does something, and answers with the disk before each of its flushes.
fn at_each_flush(disk: &SimDisk, act: impl FnOnce()) -> Vec<SimSnapshot> {
    let snapshots: Arc<Mutex<Vec<SimSnapshot>>> = Arc::default();
    let of_hook = Arc::clone(&snapshots);
    disk.on_flush(Box::new(move |snapshot| of_hook.lock().unwrap().push(snapshot.clone())));
    act();
    disk.clear_on_flush();
    std::mem::take(&mut *snapshots.lock().unwrap())
}

#[test]
fn no_two_power_cuts_in_a_row_lose_the_file() {
    let mut random = Prng::new(1);
    let mut images = 0;
    let device = Device::with_cap(100, 0);
    // The first piece, and others when the files are there.
    for sent in [0, MB] {
        let first = at_each_flush(&device.disk, || send(&device.start(), MB).unwrap());
        assert!(first.len() >= 4);
        for cut in first.iter().cycle().take(300) {
            let disk = cut.crash_image(&mut random, &CrashStyle::WORST);
            let again = Device { disk, clock: device.clock.clone(), ..Device::with_cap(100, 0) };
            let second = at_each_flush(&again.disk, || send(&again.start(), MB).unwrap());
            for cut in second {
                images += 1;
                let disk = cut.crash_image(&mut random, &CrashStyle::WORST);
                let last = Device { disk, clock: device.clock.clone(), ..Device::with_cap(100, 0) };
                let counted = used(&last.start());
                // What was being written when the power went may count, or may not.
                let most = sent + 2 * (MB + 64_000);
                assert!((sent..=most).contains(&counted), "{counted} of {sent} counted");
            }
        }
    }
    println!("{images} images of two cuts in a row");
}
