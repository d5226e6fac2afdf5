//! What processes leave to those that come after them, and take from those beside them:
//! each with the least that shows what the campaign of several processes found.

use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{Flush, Limits, Options, Spool};
use backhaul_testkit::{CrashStyle, ManualClock, Prng, SimDisk};

use crate::support::{LAYOUTS, Layout, number_of, numbered, open_at, options};

fn process(disk: &SimDisk, layout: Layout, clock: &ManualClock, flush: Flush) -> Spool {
    open_at(Arc::new(disk.clone()), Options { flush, ..options(layout) }, clock).unwrap()
}

fn names_of(spool: &Spool) -> Vec<(String, u64)> {
    let batch = spool.take(&Limits::default()).unwrap();
    let records = batch.iter().flat_map(|batch| &batch.records);
    records.map(|offer| (offer.record.id.to_string(), number_of(&offer.record.body))).collect()
}

/// A relaxed process is killed; its successor, which flushes always, gets its number.
fn after_a_relaxed_predecessor(layout: Layout) -> (SimDisk, ManualClock, Spool) {
    let (disk, clock) = (SimDisk::new(), ManualClock::new());
    let first = process(&disk, layout, &clock, Flush::Never);
    first.append(numbered(1, 300)).unwrap();
    disk.kill_process();
    std::mem::forget(first);
    let second = process(&disk, layout, &clock, Flush::Always);
    (disk, clock, second)
}

#[test]
fn a_relaxed_record_of_a_killed_predecessor_is_durable_before_it_is_offered() {
    for layout in LAYOUTS {
        let (disk, clock, second) = after_a_relaxed_predecessor(layout);
        let offered = names_of(&second); // sent; the answer is lost
        assert_eq!(offered.len(), 1);
        disk.power_cut(&mut Prng::new(1), &CrashStyle::DROP_ALL);
        std::mem::forget(second);
        let third = process(&disk, layout, &clock, Flush::Always);
        let next = third.append(numbered(2, 300)).unwrap();
        assert_ne!(offered[0].0, next.to_string(), "{layout:?}: one name, two records");
    }
}

#[test]
fn a_record_that_its_writer_was_killed_over_is_durable_before_its_successor_offers_it() {
    for layout in LAYOUTS {
        let (disk, clock) = (SimDisk::new(), ManualClock::new());
        let first = process(&disk, layout, &clock, Flush::Always);
        disk.ignore_flushes(true); // killed after the write, before the flush
        disk.ignore_dir_syncs(true);
        first.append(numbered(1, 300)).unwrap();
        disk.ignore_flushes(false);
        disk.ignore_dir_syncs(false);
        disk.kill_process();
        std::mem::forget(first);
        let second = process(&disk, layout, &clock, Flush::Always);
        let offered = names_of(&second); // sent; the answer is lost
        assert_eq!(offered.len(), 1);
        disk.power_cut(&mut Prng::new(1), &CrashStyle::DROP_ALL);
        std::mem::forget(second);
        let third = process(&disk, layout, &clock, Flush::Always);
        assert_eq!(names_of(&third), offered, "{layout:?}: it was offered, and is gone");
    }
}

#[test]
fn what_a_killed_predecessor_never_flushed_is_not_missed_after_a_power_cut() {
    for layout in LAYOUTS {
        let (disk, clock, second) = after_a_relaxed_predecessor(layout);
        clock.advance(Duration::from_secs(11));
        second.maintain().unwrap(); // notes what was acknowledged
        disk.power_cut(&mut Prng::new(1), &CrashStyle::DROP_ALL);
        std::mem::forget(second);
        let third = process(&disk, layout, &clock, Flush::Always);
        let books = third.status().unwrap().books;
        assert_eq!(books.damaged, 0, "{layout:?}: {books:?}");
    }
}

#[test]
fn a_file_that_a_person_put_there_is_durable_before_it_is_offered() {
    let (disk, clock, layout) = (SimDisk::new(), ManualClock::new(), Layout::Folder);
    let first = process(&disk, layout, &clock, Flush::Always);
    let file = {
        use backhaul_store::{Disk, Open};
        let path = std::path::Path::new("/spool/pending/a.json");
        disk.open(path, Open::CreateNew).unwrap()
    };
    file.write_all_at(br#"{"run_id":"run_1","n":1}"#, 0).unwrap();
    clock.advance(Duration::from_secs(1));
    let offered = names_of(&first);
    assert_eq!(offered.len(), 1);
    disk.power_cut(&mut Prng::new(1), &CrashStyle::DROP_ALL);
    std::mem::forget((first, file));
    let second = process(&disk, layout, &clock, Flush::Always);
    assert_eq!(names_of(&second), offered, "it was offered, and is gone");
}

#[test]
fn a_torn_file_keeps_its_name_taken_until_the_ledger_says_that_it_is_damaged() {
    use backhaul_testkit::errno::EIO;
    use backhaul_testkit::{Call, Fault, Faults, FaultyDisk};
    let (disk, clock, layout) = (SimDisk::new(), ManualClock::new(), Layout::Folder);
    let keeper = process(&disk, layout, &clock, Flush::Always); // writer 0
    let writer = process(&disk, layout, &clock, Flush::Never); // writer 1
    let torn = writer.append(numbered(1, 300)).unwrap();
    drop((keeper, writer));
    let path = disk.paths().into_iter().find(|path| path.starts_with("/spool/pending")).unwrap();
    disk.write_file(&path, b"{torn").unwrap();
    let faults = Faults::new();
    let faulty = FaultyDisk::new(disk.clone(), faults.clone());
    let courier = open_at(Arc::new(faulty), options(layout), &clock).unwrap();
    // Stands for: it has read the file, and is about to write down that it is damaged.
    faults.add(Fault::new(Call::Write, EIO).on_path("ledger"));
    assert_eq!(names_of(&courier), []);
    let successor = process(&disk, layout, &clock, Flush::Always); // writer 1 again
    successor.status().unwrap();
    let next = successor.append(numbered(2, 300)).unwrap();
    assert_ne!(next, torn, "a name that is about to be settled was given away");
    faults.clear();
    clock.advance(Duration::from_secs(1));
    assert_eq!(names_of(&courier), [(next.to_string(), 2)]);
    clock.advance(Duration::from_secs(11));
    courier.maintain().unwrap();
    assert_eq!(courier.status().unwrap().quarantined, 1);
}

#[test]
fn a_torn_file_that_another_process_put_in_quarantine_first_is_no_error() {
    use backhaul_testkit::errno::ENOENT;
    use backhaul_testkit::{Call, Fault, Faults, FaultyDisk};
    let (disk, clock, layout) = (SimDisk::new(), ManualClock::new(), Layout::Folder);
    let first = process(&disk, layout, &clock, Flush::Always);
    first.append(numbered(1, 300)).unwrap();
    drop(first);
    let path = disk.paths().into_iter().find(|path| path.starts_with("/spool/pending")).unwrap();
    disk.write_file(&path, b"{torn").unwrap();
    let faults = Faults::new();
    let faulty = FaultyDisk::new(disk.clone(), faults.clone());
    let second = open_at(Arc::new(faulty), options(layout), &clock).unwrap();
    // Stands for: another process read it too, and removed it first.
    faults.add(Fault::new(Call::Remove, ENOENT).on_path("pending").times(1));
    second.status().unwrap();
}

#[test]
fn a_process_that_once_asked_to_deliver_does_not_keep_others_from_it() {
    for layout in LAYOUTS {
        let (disk, clock) = (SimDisk::new(), ManualClock::new());
        let first = process(&disk, layout, &clock, Flush::Always);
        first.append(numbered(1, 300)).unwrap();
        let batch = first.take(&Limits::default()).unwrap();
        let second = process(&disk, layout, &clock, Flush::Always);
        second.take(&Limits::default()).unwrap_err(); // busy: once, and never again
        drop(batch);
        drop(first);
        second.maintain().unwrap(); // delivers from now on, and takes nothing
        let third = process(&disk, layout, &clock, Flush::Always);
        let delivers = (0..10).any(|_| {
            let taken = third.take(&Limits::default());
            clock.advance(Duration::from_secs(1));
            second.maintain().unwrap();
            taken.is_ok()
        });
        assert!(delivers, "{layout:?}: nobody delivers");
    }
}

#[test]
fn files_are_not_moved_for_a_settlement_that_a_killed_process_never_flushed() {
    use backhaul_store::{Settled, State};
    use backhaul_testkit::errno::EIO;
    use backhaul_testkit::{Call, Fault, Faults, FaultyDisk};
    for seed in 1..=60 {
        let (disk, clock, layout) = (SimDisk::new(), ManualClock::new(), Layout::Folder);
        let faults = Faults::new();
        let faulty = FaultyDisk::new(disk.clone(), faults.clone());
        let first = open_at(Arc::new(faulty), options(layout), &clock).unwrap();
        let id = first.append(numbered(1, 300)).unwrap();
        clock.advance(Duration::from_secs(11));
        first.maintain().unwrap(); // notes that it was acknowledged
        // Stands for: killed between the ledger's line and its flush.
        faults.add(Fault::new(Call::Write, EIO).on_path("ledger-").after(1));
        faults.add(Fault::new(Call::Create, EIO).on_path("ledger"));
        first.settle(&[(id.position, Settled::new(State::Delivered))]).unwrap();
        disk.kill_process();
        std::mem::forget(first);
        let cuts: Arc<std::sync::Mutex<Vec<backhaul_testkit::SimSnapshot>>> = Arc::default();
        let of_hook = Arc::clone(&cuts);
        disk.on_flush(Box::new(move |snapshot| of_hook.lock().unwrap().push(snapshot.clone())));
        let second = process(&disk, layout, &clock, Flush::Always);
        disk.clear_on_flush();
        assert_eq!(second.status().unwrap().books.delivered, 1, "the line was written");
        let style = CrashStyle { keep_names: 0.5, ..CrashStyle::DROP_ALL };
        for cut in cuts.lock().unwrap().iter() {
            let image = cut.crash_image(&mut Prng::new(seed), &style);
            let third = process(&image, layout, &clock, Flush::Always);
            let books = third.status().unwrap().books;
            let at = cut.point();
            assert_eq!((books.damaged, books.void), (0, 0), "seed {seed} {at:?}: {books:?}");
        }
    }
}
