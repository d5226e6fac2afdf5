//! Disk calls that fail.

use backhaul_sync::Denied;
use backhaul_testkit::{Call, CrashStyle, Fault, Prng, errno};

use super::support::{COPIES, Device, MB, send, used};

/// Sends until the disk refuses or the cap is reached. How many bytes went.
fn send_what_goes(device: &Device, fault: Option<Fault>) -> u64 {
    let budget = device.start();
    fault.into_iter().for_each(|fault| budget.faults.add(fault));
    let mut sent = 0;
    for _ in 0..60 {
        sent += if send(&budget, 20_000).is_ok() { 20_000 } else { 0 };
    }
    budget.kill();
    sent
}

#[test]
fn whatever_call_fails_no_more_is_sent_than_the_disk_knows_of() {
    let mut random = Prng::new(1);
    let mut failed = 0;
    for call in Call::ALL {
        for code in [errno::EIO, errno::ENOSPC, errno::EROFS] {
            for after in 0..25 {
                let device = Device::with_cap(1, 0);
                let fault = Fault::new(call, code).after(after).times(1 + after % 3).short();
                let sent = send_what_goes(&device, Some(fault));
                failed += u64::from(sent < MB);
                device.disk.power_cut(&mut random, &CrashStyle::WORST);
                device.clock.reboot();
                let all = sent + send_what_goes(&device, None);
                assert!(all <= MB, "{call:?} {code} after {after}: {all}");
            }
        }
    }
    assert!(failed > 100, "{failed}");
}

#[test]
fn while_the_disk_refuses_nothing_is_sent_and_afterwards_all_is_well() {
    let device = Device::with_cap(1, 0);
    let budget = device.start();
    for fault in [Fault::read_only(), Fault::any(&Call::ALL, errno::EIO)] {
        budget.faults.add(fault);
        let denied = send(&budget, 900_000).unwrap_err();
        assert!(matches!(denied, Denied::Storage { .. }), "{denied}");
        assert!(denied.to_string().starts_with("the data cap cannot be counted: cannot "));
        assert!(budget.status().trouble.is_some());
        budget.faults.clear();
    }
    send(&budget, 900_000).unwrap();
    assert_eq!(budget.status().trouble, None);
}

#[test]
fn a_trouble_is_told_until_the_disk_takes_what_it_refused() {
    let device = Device::with_cap(1, 0);
    let budget = device.start();
    send(&budget, 1_000).unwrap();
    budget.faults.add(Fault::read_only());
    budget.record_sent(500_000);
    for _ in 0..3 {
        let status = budget.status();
        assert!(status.trouble.is_some());
        assert_eq!(status.used_bytes, 501_000);
    }
    budget.faults.clear();
    budget.maintain();
    assert_eq!(budget.status().trouble, None);
    budget.kill();
    assert_eq!(used(&device.start()), 501_000);
}

#[test]
fn a_full_disk_can_still_count() {
    let device = Device::with_cap(1, 0);
    let budget = device.start();
    send(&budget, 1_000).unwrap();
    device.disk.set_capacity(device.disk.total_bytes(), u64::MAX);
    send(&budget, 900_000).unwrap();
    drop(budget);
    assert_eq!(used(&device.start()), 901_000);
}

#[test]
fn a_copy_that_cannot_be_read_is_replaced() {
    let device = Device::with_cap(1, 0);
    send(&device.start(), 500_000).unwrap();
    for path in COPIES {
        let budget = device.start();
        budget.faults.add(Fault::new(Call::Read, errno::EIO).on_path(path).times(4));
        send(&budget, 1_000).unwrap();
        assert!(budget.faults.failures(Call::Read) > 0);
    }
    assert_eq!(used(&device.start()), 502_000);
}

#[test]
fn recorded_traffic_is_counted_when_the_disk_takes_it_again() {
    let device = Device::with_cap(1, 0);
    let budget = device.start();
    budget.faults.add(Fault::any(&Call::ALL, errno::EIO));
    budget.record_sent(100_000);
    budget.record_sent(200_000);
    budget.faults.clear();
    budget.record_sent(1);
    assert_eq!(used(&budget), 300_001);
    budget.kill();
    assert!(used(&device.start()) >= 300_001);
}
