//! A usage file that is damaged, missing, or of another time.

use std::path::Path;

use backhaul_store::Disk as _;
use backhaul_sync::Denied;
use backhaul_testkit::SimDisk;

use super::support::{COPIES, DIR, Device, HOUR, MB, send, used};

/// A device that has used 60 of 100 MB.
fn used_60() -> Device {
    let device = Device::with_cap(100, 0);
    send(&device.start(), 60 * MB).unwrap();
    device
}

/// The files as they are now, on a disk of their own.
fn copy_of(device: &Device) -> Device {
    let disk = SimDisk::new();
    for path in COPIES {
        disk.write_file(path, &device.disk.read_file(path).unwrap()).unwrap();
    }
    Device { disk, clock: device.clock.clone(), kernel: device.kernel.clone(), ..*device }
}

#[test]
fn any_flipped_byte_in_one_copy_changes_nothing() {
    let device = used_60();
    for path in COPIES {
        for offset in 0..4096 {
            let copy = copy_of(&device);
            copy.disk.flip_bit(path, offset, 0x11).unwrap();
            assert_eq!(used(&copy.start()), 60 * MB, "{path} at {offset}");
        }
    }
}

#[test]
fn any_cut_or_missing_copy_changes_nothing_and_is_mended() {
    let device = used_60();
    for path in COPIES {
        for len in [0, 1, 100, 200] {
            let copy = copy_of(&device);
            let bytes = copy.disk.read_file(path).unwrap();
            copy.disk.write_file(path, &bytes[..len]).unwrap();
            assert_eq!(used(&copy.start()), 60 * MB, "{path} cut to {len}");
            assert_eq!(copy.disk.read_file(path).unwrap().len(), 4096, "{path} cut to {len}");
        }
        let copy = copy_of(&device);
        copy.disk.remove(Path::new(path)).unwrap();
        assert_eq!(used(&copy.start()), 60 * MB, "{path} removed");
        assert!(copy.disk.read_file(path).is_ok(), "{path} removed");
    }
}

#[test]
fn damage_in_both_copies_exhausts_the_allowance_until_the_next_refill() {
    let device = used_60();
    let spoil = |path, bytes: &[u8]| device.disk.write_file(path, bytes).unwrap();
    spoil(COPIES[0], &[0xff; 4096]);
    spoil(COPIES[1], b"");
    let budget = device.start();
    let denied = send(&budget, 1).unwrap_err();
    assert!(matches!(denied, Denied::Cap { left: 0, .. }), "{denied}");
    drop(budget);
    device.clock.reboot();
    assert!(!device.start().can_send(1));
    device.sleep(12 * HOUR);
    assert_eq!(used(&device.start()), 0);
}

#[test]
fn one_copy_damaged_and_the_other_missing_exhausts_the_allowance_too() {
    for (damaged, missing) in [(0, 1), (1, 0)] {
        let device = used_60();
        device.disk.write_file(COPIES[damaged], &[0; 4096]).unwrap();
        device.disk.remove(Path::new(COPIES[missing])).unwrap();
        assert!(!device.start().can_send(1));
        assert!(!device.start().can_send(1));
    }
}

#[test]
fn a_process_that_runs_notices_that_the_files_went_back_in_time() {
    let device = used_60();
    let backup = copy_of(&device);
    let budget = device.start();
    send(&budget, 30 * MB).unwrap();
    for path in COPIES {
        device.disk.write_file(path, &backup.disk.read_file(path).unwrap()).unwrap();
    }
    assert_eq!(used(&budget), 90 * MB);
    for path in COPIES {
        device.disk.remove(Path::new(path)).unwrap();
    }
    assert_eq!(used(&budget), 90 * MB);
    drop(budget);
    assert_eq!(used(&device.start()), 90 * MB);
}

#[test]
fn a_backup_put_back_while_nothing_runs_forgets_only_what_came_after_it() {
    let device = used_60();
    let backup = copy_of(&device);
    send(&device.start(), 30 * MB).unwrap();
    // Nothing on the device tells; this is what docs/guarantees.md says of it.
    let device = backup;
    device.clock.reboot();
    assert_eq!(used(&device.start()), 60 * MB);
}

#[test]
fn a_file_of_a_newer_format_is_not_touched() {
    let device = used_60();
    let text = device.disk.read_file(COPIES[0]).unwrap();
    let text = String::from_utf8(text).unwrap().replace("\"format\":1", "\"format\":2");
    let (content, _) = text.rsplit_once(",\"crc\"").unwrap();
    let newer = format!("{content},\"crc\":\"{:08x}\"}}\n", crc32(content.as_bytes()));
    for path in COPIES {
        device.disk.write_file(path, newer.as_bytes()).unwrap();
    }
    let budget = device.start();
    match send(&budget, 1).unwrap_err() {
        Denied::Storage { reason } => assert!(reason.contains("use a newer backhaul"), "{reason}"),
        denied => panic!("{denied}"),
    }
    assert!(budget.status().trouble.unwrap().contains("newer format"));
    assert_eq!(device.disk.read_file(COPIES[0]).unwrap(), newer.as_bytes());
}

/// The checksum, worked out by itself.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn the_files_are_as_the_format_page_says() {
    let device = used_60();
    let mut names: Vec<String> =
        device.disk.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    assert_eq!(names, ["slot-0.lock", "usage.copy.json", "usage.json", "usage.lock"]);
    let text = String::from_utf8(device.disk.read_file(COPIES[0]).unwrap()).unwrap();
    assert_eq!(text.len(), 4096);
    assert_eq!(
        text.trim_end(),
        "{\"format\":1,\"generation\":2,\"time\":{\"boot\":\"boot-1\",\"since_boot_ms\":0,\"proven\":0,\
         \"boot_seen_at\":0,\"anchor\":{\"proven\":0,\"not_before\":1773144000000,\
         \"not_after\":1773144000000,\"unbroken\":true}},\"counted\":[{\"first\":0,\"last\":0,\
         \"not_after\":1773144000000,\"bytes\":{\"normal\":60000000,\"critical\":0}}],\
         \"leases\":{},\"crc\":\"6b92d052\"}"
    );
    assert_eq!(device.disk.read_file(COPIES[1]).unwrap(), text.as_bytes());
}
