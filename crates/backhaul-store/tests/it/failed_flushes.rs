//! A flush that fails: what it should have saved can be read until the power goes, and
//! a later flush that succeeds does not save it. Each with the least that shows it.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use backhaul_store::{Flush, Limits, Options, Settled, Spool, State};
use backhaul_testkit::errno::EIO;
use backhaul_testkit::{Call, CrashStyle, Fault, Faults, FaultyDisk, ManualClock, Prng, SimDisk};

use crate::hooked::hooked_on;
use crate::support::{
    LAYOUTS, Layout, deliver_all, number_of, numbered, numbers, open_at, options,
};

/// A device: its disk, and the processes on it.
struct Device {
    disk: SimDisk,
    faults: Faults,
    clock: ManualClock,
    options: Options,
}

impl Device {
    fn new(layout: Layout, flush: Flush) -> Self {
        let options = Options { flush, ..options(layout) };
        Self { disk: SimDisk::new(), faults: Faults::new(), clock: ManualClock::new(), options }
    }

    fn open(&self) -> Spool {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> backhaul_store::Result<Spool> {
        let disk = FaultyDisk::new(self.disk.clone(), self.faults.clone());
        open_at(Arc::new(disk), self.options.clone(), &self.clock)
    }

    /// The next so many flushes fail.
    fn fail_flushes(&self, count: u64) {
        self.faults.add(Fault::new(Call::Flush, EIO).times(count));
    }

    /// The process is gone, without a word.
    fn kill(&self, spools: impl IntoIterator<Item = Spool>) {
        self.disk.kill_process();
        spools.into_iter().for_each(std::mem::forget);
    }

    fn cut(&self, spools: impl IntoIterator<Item = Spool>) {
        self.disk.power_cut(&mut Prng::new(1), &CrashStyle::DROP_ALL);
        spools.into_iter().for_each(std::mem::forget);
        self.clock.reboot();
    }
}

fn offered(spool: &Spool) -> Vec<(String, u64)> {
    let Ok(Some(batch)) = spool.take(&Limits::default()) else { return Vec::new() };
    let names = batch.records.iter();
    names.map(|offer| (offer.record.id.to_string(), number_of(&offer.record.body))).collect()
}

/// The next process offers the one record that waits, and no power cut frees its name.
fn the_offered_one_keeps_its_name(device: &Device) {
    let next = device.open();
    let offered = offered(&next);
    assert_eq!(offered.len(), 1, "{:?}", device.options);
    device.cut([next]);
    names_stay(device, &offered);
}

/// After the power cut: what was offered keeps its name, and no other record gets it.
fn names_stay(device: &Device, offered: &[(String, u64)]) {
    device.faults.clear();
    let courier = device.open();
    let again = self::offered(&courier);
    courier.maintain().unwrap();
    // Its number may be that of one that is gone.
    for spool in [&courier, &device.open()] {
        for number in 101..=103 {
            let id = spool.append(numbered(number, 300)).unwrap().to_string();
            let other = offered.iter().find(|(name, _)| *name == id);
            assert_eq!(other, None, "{id} is given to record {number} too");
        }
        let books = spool.status().unwrap().books;
        assert!(books.balance(), "{books:?}");
    }
    for (name, number) in again {
        let before = offered.iter().find(|(_, before)| *before == number);
        assert!(before.is_none_or(|(before, _)| *before == name), "{number} is {name} now");
    }
}

#[test]
fn relaxed_records_whose_flush_failed_are_durable_before_they_are_offered() {
    for layout in LAYOUTS {
        let device = Device::new(layout, Flush::Never);
        let spool = device.open();
        spool.append(numbered(1, 300)).unwrap();
        device.fail_flushes(1);
        let _ = spool.flush();
        let offered = offered(&spool);
        device.cut([spool]);
        names_stay(&device, &offered);
        assert_eq!(
            numbers(&device.open())[0],
            1,
            "{layout:?}: it was flushed before it was offered"
        );
    }
}

#[test]
fn a_flush_that_says_yes_after_one_that_failed_means_it() {
    for layout in LAYOUTS {
        for failing in 1..4 {
            let device = Device::new(layout, Flush::Never);
            let spool = device.open();
            spool.append(numbered(1, 300)).unwrap();
            device.fail_flushes(failing);
            while spool.flush().is_err() {}
            device.cut([spool]);
            assert_eq!(numbers(&device.open()), [1], "{layout:?}, {failing} failures");
        }
    }
}

#[test]
fn a_commit_whose_flush_failed_takes_no_relaxed_record_with_it() {
    for layout in LAYOUTS {
        let device = Device::new(layout, Flush::Always);
        let spool = device.open();
        spool.submit_with(numbered(1, 300), Flush::Never).unwrap().wait().unwrap();
        device.fail_flushes(1);
        spool.append(numbered(2, 300)).unwrap_err();
        spool.flush().unwrap();
        let offered = offered(&spool);
        device.cut([spool]);
        names_stay(&device, &offered);
        assert_eq!(numbers(&device.open())[0], 1, "{layout:?}");
    }
}

#[test]
fn free_pages_whose_flush_failed_take_no_relaxed_record_with_them() {
    let device = Device::new(Layout::Segments, Flush::Never);
    let spool = device.open();
    spool.append(numbered(1, 3_000)).unwrap();
    spool.append(numbered(2, 3_000)).unwrap();
    device.fail_flushes(1);
    let _ = spool.maintain();
    assert_eq!(device.faults.failures(Call::Flush), 1, "no free pages were written");
    let offered = offered(&spool);
    assert_eq!(offered.len(), 2);
    device.cut([spool]);
    names_stay(&device, &offered);
    assert_eq!(numbers(&device.open())[..2], [1, 2]);
}

#[test]
fn free_pages_whose_flush_failed_take_no_acknowledged_record_with_them() {
    let mut device = Device::new(Layout::Segments, Flush::Always);
    device.options.first_extent_bytes = 16 << 10;
    let disk = Arc::new(FaultyDisk::new(device.disk.clone(), device.faults.clone()));
    let (spool, hook) = hooked_on(disk, device.options.clone(), &device.clock);
    // One free page is left: time to write more of them.
    for number in 1..=3 {
        spool.append(numbered(number, 3_000)).unwrap();
    }
    device.fail_flushes(1);
    let (appending, faults, of_hook) = (spool.clone(), device.faults.clone(), Arc::clone(&hook));
    let (told, result) = mpsc::channel();
    let mut begin = Some(move || told.send(appending.append(numbered(4, 300))));
    // Before they are flushed, another thread writes a record, and gets as far as its own
    // flush, which waits until theirs has failed.
    hook.set(Box::new(move |what, _| {
        if let Some(append) = begin.take_if(|_| what == "flush") {
            let (faults, (is_written, written)) = (faults.clone(), mpsc::channel());
            of_hook.set(Box::new(move |_, _| {
                let _ = is_written.send(());
                while faults.failures(Call::Flush) == 0 {
                    std::thread::yield_now();
                }
                Ok(())
            }));
            std::thread::spawn(append);
            written.recv_timeout(Duration::from_secs(30)).expect("the record is written");
        }
        Ok(())
    }));
    let _ = spool.maintain();
    let appended = result.recv_timeout(Duration::from_secs(30)).expect("the append ends");
    let expected: &[u64] = if appended.is_ok() { &[1, 2, 3, 4] } else { &[1, 2, 3] };
    device.cut([spool]);
    assert_eq!(numbers(&device.open()), expected, "{appended:?}");
}

#[test]
fn what_another_process_could_not_flush_keeps_its_name_when_it_is_offered() {
    let device = Device::new(Layout::Segments, Flush::Always);
    let (courier, second) = (device.open(), device.open());
    second.append(numbered(1, 300)).unwrap();
    assert_eq!(deliver_all(&courier), [1]);
    device.fail_flushes(1);
    second.append(numbered(2, 300)).unwrap_err();
    device.clock.advance(Duration::from_secs(1));
    let offered = offered(&courier);
    assert_eq!(offered.len(), 1);
    device.cut([courier, second]);
    names_stay(&device, &offered);
}

#[test]
fn what_a_process_could_not_flush_keeps_its_name_when_the_next_one_offers_it() {
    for layout in LAYOUTS {
        for is_killed in [true, false] {
            let device = Device::new(layout, Flush::Never);
            let spool = device.open();
            spool.append(numbered(1, 300)).unwrap();
            device.faults.add(Fault::new(Call::Flush, EIO));
            let _ = spool.flush();
            if is_killed {
                device.kill([spool])
            } else {
                drop(spool)
            }
            device.faults.clear();
            the_offered_one_keeps_its_name(&device);
        }
    }
}

#[test]
fn a_segment_that_could_not_be_flushed_when_it_was_taken_over_keeps_its_names() {
    let device = Device::new(Layout::Segments, Flush::Never);
    let spool = device.open();
    spool.append(numbered(1, 300)).unwrap();
    device.kill([spool]);
    device.fail_flushes(1);
    device.try_open().unwrap_err();
    the_offered_one_keeps_its_name(&device);
}

#[test]
fn a_record_whose_process_was_killed_before_its_folder_was_synced_keeps_its_name() {
    let device = Device::new(Layout::Folder, Flush::Always);
    let spool = device.open();
    // Stands for: killed in that moment.
    device.faults.add(Fault::any(&[Call::SyncDir, Call::Remove], EIO).on_path("pending"));
    spool.append(numbered(1, 300)).unwrap_err();
    device.faults.clear();
    device.kill([spool]);
    the_offered_one_keeps_its_name(&device);
}

#[test]
fn a_record_whose_folder_could_not_be_synced_keeps_its_name_when_its_process_delivers() {
    let device = Device::new(Layout::Folder, Flush::Always);
    let (courier, second) = (device.open(), device.open());
    device.faults.add(Fault::new(Call::SyncDir, EIO).on_path("pending"));
    second.append(numbered(1, 300)).unwrap_err();
    drop(courier);
    device.faults.clear();
    let offered = offered(&second);
    assert_eq!(offered.len(), 1);
    device.cut([second]);
    names_stay(&device, &offered);
}

#[test]
fn a_ledger_that_could_not_be_flushed_is_written_anew_by_the_next_process() {
    for layout in LAYOUTS {
        let device = Device::new(layout, Flush::Always);
        let spool = device.open();
        let id = spool.append(numbered(1, 300)).unwrap();
        spool.append(numbered(2, 300)).unwrap();
        drop(spool);
        let spool = device.open();
        let batch = spool.take(&Limits { records: 1, ..Limits::default() }).unwrap().unwrap();
        device.faults.add(Fault::new(Call::Flush, EIO).on_path("ledger"));
        let started = [(id.position, Settled::new(State::Started))];
        spool.settle(&started).unwrap();
        drop(batch);
        drop(spool);
        device.faults.clear();
        let next = device.open();
        // Whatever makes it flush its ledger.
        let other = [(
            backhaul_store::Position { sequence: backhaul_store::Sequence(2), ..id.position },
            Settled::new(State::Started),
        )];
        next.settle(&other).unwrap();
        device.cut([next]);
        let mut attempts = Vec::new();
        device
            .open()
            .each(None, &mut |entry| {
                attempts.push(entry.attempts);
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(attempts, [1, 1], "{layout:?}");
    }
}

#[test]
fn a_ledger_that_has_no_room_to_be_written_anew_gets_its_lines() {
    let device = Device::new(Layout::Segments, Flush::Always);
    let spool = device.open();
    let ids: Vec<_> = (1..=60).map(|number| spool.append(numbered(number, 300)).unwrap()).collect();
    let rejected = |reason: String| Settled::new(State::Rejected).reason(reason);
    let of_all: Vec<_> =
        ids[1..].iter().map(|id| (id.position, rejected("x".repeat(1_000)))).collect();
    spool.settle(&of_all).unwrap();
    device.clock.advance(Duration::from_secs(20));
    spool.maintain().unwrap();
    drop(spool);
    let held = device.disk.total_bytes();
    device.disk.set_capacity(held + 5_000, u64::MAX);
    let spool = device.open();
    assert_eq!(offered(&spool).len(), 1);
    spool.settle(&[(ids[0].position, rejected("422".to_owned()))]).unwrap();
    device.disk.set_capacity(1 << 30, u64::MAX);
    device.cut([spool]);
    let books = device.open().status().unwrap().books;
    assert_eq!((books.rejected, books.pending), (60, 0), "{books:?}");
}

#[test]
fn a_foreign_file_whose_flush_failed_is_whole_when_it_is_a_record() {
    let device = Device::new(Layout::Folder, Flush::Always);
    drop(device.open());
    let disk = &device.disk;
    use backhaul_store::{Disk, Open};
    let path = std::path::Path::new("/spool/pending/copied.json");
    let file = disk.open(path, Open::CreateNew).unwrap();
    file.write_all_at(numbered(7, 300).body(), 0).unwrap();
    drop(file);
    device.fail_flushes(1);
    let _ = device.try_open();
    let spool = device.open();
    let offered = offered(&spool);
    assert_eq!(offered.len(), 1);
    device.cut([spool]);
    assert_eq!(numbers(&device.open()), [7]);
    names_stay(&device, &offered);
}

#[test]
fn folders_whose_names_could_not_be_made_durable_are_made_so_by_the_next_opening() {
    for layout in LAYOUTS {
        let mut refused = 0;
        // Each sync of the first opening, one after the other; then there are no more.
        for passed in 0.. {
            let (disk, faults) = (SimDisk::new(), Faults::new());
            let open = || {
                let disk = Arc::new(FaultyDisk::new(disk.clone(), faults.clone()));
                let clock = Arc::new(ManualClock::new());
                Spool::open_on("/deep/down/spool", options(layout), disk, clock)
            };
            faults.add(Fault::new(Call::SyncDir, EIO).after(passed).times(1));
            let first = open();
            if first.is_ok() && faults.calls(Call::SyncDir) <= passed {
                break;
            }
            refused += u32::from(first.is_err());
            drop(first);
            let spool = open().unwrap();
            spool.append(numbered(1, 300)).unwrap();
            disk.power_cut(&mut Prng::new(1), &CrashStyle::DROP_ALL);
            std::mem::forget(spool);
            assert_eq!(numbers(&open().unwrap()), [1], "{layout:?}, after {passed} syncs");
        }
        assert!(refused >= 4, "{layout:?}: {refused}");
    }
}
