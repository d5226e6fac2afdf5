//! What a hub keeps of each device that sends to it, in memory and on disk. Measured from
//! outside, beside a hub that gets the same requests from one device: so many devices that
//! what a process takes for itself is little beside them.

use std::path::Path;

use tempfile::tempdir;

use crate::support::{Hub, origin, run};

/// Devices that send to one hub. Each has one chain: a lane of one epoch.
const DEVICES: u64 = 2_000;
const SENDERS: usize = 4;

/// What the hub may keep of a device.
const MOST_RESIDENT_BYTES: u64 = 1024;
const MOST_BYTES_ON_DISK: u64 = 2048;

/// What a hub has when the same requests have come from so many devices.
struct State {
    resident_bytes: u64,
    bytes_on_disk: u64,
}

/// As many requests of one record each.
fn of(devices: u64, data_dir: &Path) -> State {
    let hub = Hub::start(data_dir);
    std::thread::scope(|scope| {
        for sender in 0..SENDERS as u64 {
            let hub = &hub;
            scope.spawn(move || {
                for number in (sender..DEVICES).step_by(SENDERS) {
                    let device = number % devices + 1;
                    let source = format!("{device:032x}/0000beef/normal");
                    let sequence = number / devices + 1;
                    // What is above it is told apart one by one, up to a limit.
                    let floor = sequence.saturating_sub(1_000).max(1);
                    let headers = origin(&source, floor, &sequence.to_string());
                    let reply = hub.send(&headers, run(number).as_bytes());
                    assert_eq!(reply.receipt(), (1, 0), "{number}");
                }
            });
        }
    });
    let resident_bytes = hub.own_resident_kb() * 1024;
    assert!(hub.terminate().1);
    let file = data_dir.join("hub/seen.redb").metadata().unwrap();
    State { resident_bytes, bytes_on_disk: file.len() }
}

#[test]
fn a_device_costs_a_hub_no_more_than_a_kilobyte_of_memory_and_two_on_disk() {
    let dir = tempdir().unwrap();
    let one = of(1, &dir.path().join("one"));
    let many = of(DEVICES, &dir.path().join("many"));
    let of_each = |one: u64, many: u64| many.saturating_sub(one) / (DEVICES - 1);
    let resident = of_each(one.resident_bytes, many.resident_bytes);
    let on_disk = of_each(one.bytes_on_disk, many.bytes_on_disk);
    println!(
        "{resident} bytes resident and {on_disk} on disk of each device; {} and {} of one",
        one.resident_bytes, one.bytes_on_disk
    );
    assert!(resident <= MOST_RESIDENT_BYTES, "{resident} bytes resident of each device");
    assert!(on_disk <= MOST_BYTES_ON_DISK, "{on_disk} bytes on disk of each device");
}
