//! Several processes that come, go, fail and hand over: each with the least that shows
//! what an attack on the store once found.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_store::{
    Disk, Flush, Lane, Limits, Open, Options, Record, Settled, Spool, State, WhenFull,
};
use backhaul_testkit::errno::{EIO, ENOSPC};
use backhaul_testkit::{Call, CrashStyle, Fault, Faults, FaultyDisk, ManualClock, Prng, SimDisk};

use crate::hooked::hooked;
use crate::support::{
    LAYOUTS, Layout, deliver_all, is_segment, number_of, numbered, numbers, open_at, options,
};

fn process(disk: &SimDisk, layout: Layout, clock: &ManualClock) -> Spool {
    open_at(Arc::new(disk.clone()), options(layout), clock).unwrap()
}

fn names_of(spool: &Spool) -> Vec<(String, u64)> {
    let batch = spool.take(&Limits::default()).unwrap();
    batch.map_or(Vec::new(), |batch| {
        batch
            .records
            .iter()
            .map(|offer| (offer.record.id.to_string(), number_of(&offer.record.body)))
            .collect()
    })
}

fn is_locked(disk: &SimDisk, path: &str) -> bool {
    !disk.open(Path::new(path), Open::Read).unwrap().try_lock().unwrap()
}

fn cut(disk: &SimDisk, style: &CrashStyle) {
    disk.power_cut(&mut Prng::new(1), style);
}

#[test]
fn what_a_process_appends_that_came_after_a_dead_one_is_not_sealed_away() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new());
    let courier = process(&disk, Layout::Segments, &clock);
    let second = process(&disk, Layout::Segments, &clock);
    second.append(numbered(1, 300)).unwrap();
    drop(second);
    assert_eq!(deliver_all(&courier), [1]); // adopts writer 1's segment
    let third = process(&disk, Layout::Segments, &clock); // writer 1 again, same segment
    third.append(numbered(2, 300)).unwrap(); // acknowledged
    courier.maintain().unwrap(); // seals what it adopted
    third.append(numbered(3, 300)).unwrap(); // acknowledged
    clock.advance(Duration::from_secs(1));
    let mut seen = deliver_all(&courier);
    drop(third);
    clock.advance(Duration::from_secs(1));
    seen.extend(deliver_all(&courier));
    drop(courier);
    let last = process(&disk, Layout::Segments, &clock);
    seen.extend(deliver_all(&last));
    assert_eq!(seen, [2, 3], "{:?}", last.status().unwrap().books);
}

#[test]
fn a_takeover_that_fails_half_way_seals_nothing_away() {
    for passing in 0..8 {
        let (disk, clock, faults) = (SimDisk::new(), ManualClock::new(), Faults::new());
        let faulty = FaultyDisk::new(disk.clone(), faults.clone());
        let courier = open_at(Arc::new(faulty), options(Layout::Segments), &clock).unwrap();
        let second = process(&disk, Layout::Segments, &clock);
        second.append(numbered(1, 300).lane(Lane::Critical)).unwrap();
        second.append(numbered(2, 300)).unwrap();
        drop(second);
        faults.add(Fault::new(Call::Flush, EIO).after(passing).times(1));
        let mut seen = deliver_some(&courier);
        let third = process(&disk, Layout::Segments, &clock);
        third.append(numbered(3, 300).lane(Lane::Critical)).unwrap();
        let _ = courier.maintain();
        drop(third);
        for _ in 0..4 {
            clock.advance(Duration::from_secs(1));
            seen.extend(deliver_some(&courier));
        }
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3], "after {passing} flushes");
    }
}

fn deliver_some(courier: &Spool) -> Vec<u64> {
    let is_ready = courier.take(&Limits::default()).is_ok();
    if is_ready { deliver_all(courier) } else { Vec::new() }
}

#[test]
fn no_name_is_given_twice_where_processes_come_and_go() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new());
    let courier = process(&disk, Layout::Segments, &clock);
    let second = process(&disk, Layout::Segments, &clock);
    second.append(numbered(1, 300)).unwrap();
    drop(second);
    assert_eq!(deliver_all(&courier), [1]);
    let third = process(&disk, Layout::Segments, &clock);
    let two = third.append(numbered(2, 300)).unwrap();
    courier.maintain().unwrap();
    drop(third);
    let fourth = process(&disk, Layout::Segments, &clock);
    let three = fourth.append(numbered(3, 300)).unwrap();
    assert_ne!(two, three, "one name, two acknowledged records");
}

/// Fills a spool with a small cap in which a dead process left one record in `lane`.
fn fill_beside_a_dead_writer(when_full: WhenFull, lane: Lane) {
    let (disk, clock) = (SimDisk::new(), ManualClock::new());
    let small = Options { max_bytes: Some(256 << 10), when_full, ..options(Layout::Segments) };
    let courier = open_at(Arc::new(disk.clone()), small.clone(), &clock).unwrap();
    let second = open_at(Arc::new(disk.clone()), small, &clock).unwrap();
    second.append(numbered(1, 300).lane(lane)).unwrap();
    drop(second);
    assert!(courier.take(&Limits::default()).unwrap().is_some());
    clock.advance(Duration::from_secs(1));
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let stored = (2..=200).try_for_each(|number| {
            clock.advance(Duration::from_millis(10));
            courier.append(numbered(number, 3_000)).map(drop)
        });
        let _ = done.send(stored.map_err(|error| error.to_string()));
    });
    let stored = is_done.recv_timeout(Duration::from_secs(20)).expect("it ends");
    assert_eq!(stored, Ok(()), "{when_full:?} {lane:?}");
}

#[test]
fn eviction_ends_though_the_next_victim_is_the_last_segment_of_a_dead_writer() {
    fill_beside_a_dead_writer(WhenFull::DropOldest, Lane::Normal);
    fill_beside_a_dead_writer(WhenFull::DropLowestPriority, Lane::Bulk);
}

#[test]
fn an_attachment_of_a_waiting_record_of_another_process_is_kept() {
    other_attachment(Layout::Folder);
}

fn other_attachment(layout: Layout) {
    {
        let (disk, clock) = (SimDisk::new(), ManualClock::new());
        let short = Options { keep_delivered_for: Duration::from_secs(60), ..options(layout) };
        let courier = open_at(Arc::new(disk.clone()), short, &clock).unwrap();
        for number in 1..=40 {
            courier.append(numbered(number, 3_000)).unwrap();
        }
        deliver_all(&courier);
        for _ in 0..20 {
            courier.maintain().unwrap();
        }
        clock.advance(Duration::from_secs(61));
        let second = process(&disk, layout, &clock);
        let attached = second.attach(&[7; 10_000]).unwrap();
        let digest = attached.digest().to_owned();
        second.append(numbered(50, 300).attachment(&digest)).unwrap();
        drop(attached);
        drop(second);
        courier.maintain().unwrap();
        let waiting = courier.take(&Limits::default()).unwrap().unwrap();
        assert_eq!(waiting.records[0].record.facts.attachments, std::slice::from_ref(&digest));
        assert!(courier.attachment(&digest).is_ok(), "{layout:?}: the attachment is gone");
    }
}

#[test]
fn an_attachment_whose_first_storing_failed_is_durable_when_it_is_acknowledged() {
    attachment_survives(false);
}

#[test]
fn an_attachment_that_a_killed_process_stored_is_made_durable_when_it_is_attached_again() {
    attachment_survives(true);
}

fn attachment_survives(killed: bool) {
    {
        let (disk, clock, faults) = (SimDisk::new(), ManualClock::new(), Faults::new());
        let faulty = FaultyDisk::new(disk.clone(), faults.clone());
        let spool = open_at(Arc::new(faulty), options(Layout::Segments), &clock).unwrap();
        faults.add(Fault::new(Call::SyncDir, EIO).on_path("attachments").times(1));
        spool.attach(&[7; 10_000]).unwrap_err(); // stands for: killed before the sync
        let spool = if killed {
            disk.kill_process();
            std::mem::forget(spool);
            process(&disk, Layout::Segments, &clock)
        } else {
            spool
        };
        let attached = spool.attach(&[7; 10_000]).unwrap();
        let digest = attached.digest().to_owned();
        spool.append(numbered(1, 300).attachment(&digest)).unwrap();
        cut(&disk, &CrashStyle::DROP_ALL);
        std::mem::forget((spool, attached));
        let spool = process(&disk, Layout::Segments, &clock);
        assert_eq!(numbers(&spool), [1]);
        assert!(spool.attachment(&digest).is_ok(), "killed {killed}: the attachment is gone");
    }
}

#[test]
fn a_relaxed_record_of_another_process_is_durable_before_it_is_offered() {
    relaxed_is_durable(Layout::Folder);
}

fn relaxed_is_durable(layout: Layout) {
    {
        let (disk, clock) = (SimDisk::new(), ManualClock::new());
        let courier = process(&disk, layout, &clock);
        let relaxed = Options { flush: Flush::Never, ..options(layout) };
        let second = open_at(Arc::new(disk.clone()), relaxed.clone(), &clock).unwrap();
        second.append(numbered(1, 300)).unwrap();
        let offered = names_of(&courier); // sent; the answer is lost
        assert_eq!(offered.len(), 1);
        cut(&disk, &CrashStyle::DROP_ALL);
        std::mem::forget((courier, second));
        let _courier = process(&disk, layout, &clock);
        let second = open_at(Arc::new(disk.clone()), relaxed, &clock).unwrap();
        let next = second.append(numbered(2, 300)).unwrap();
        assert_ne!(offered[0].0, next.to_string(), "{layout:?}: one name, two records");
    }
}

#[test]
fn a_record_whose_folder_was_not_synced_is_durable_before_it_is_offered() {
    let layout = Layout::Folder;
    let (disk, clock, faults) = (SimDisk::new(), ManualClock::new(), Faults::new());
    let courier = process(&disk, layout, &clock);
    let faulty = FaultyDisk::new(disk.clone(), faults.clone());
    let second = open_at(Arc::new(faulty), options(layout), &clock).unwrap();
    faults.add(Fault::new(Call::SyncDir, EIO).on_path("pending"));
    second.append(numbered(1, 300)).unwrap_err(); // stands for: still at work
    let offered = names_of(&courier);
    assert_eq!(offered.len(), 1);
    cut(&disk, &CrashStyle::DROP_ALL);
    std::mem::forget((courier, second));
    let _courier = process(&disk, layout, &clock);
    let second = process(&disk, layout, &clock);
    let next = second.append(numbered(2, 300)).unwrap();
    assert_ne!(offered[0].0, next.to_string(), "one name, two records");
}

#[test]
fn what_could_not_be_flushed_while_following_is_not_offered() {
    let (disk, clock, faults) = (SimDisk::new(), ManualClock::new(), Faults::new());
    let layout = Layout::Segments;
    let faulty = FaultyDisk::new(disk.clone(), faults.clone());
    let courier = open_at(Arc::new(faulty), options(layout), &clock).unwrap();
    let relaxed = Options { flush: Flush::Never, ..options(layout) };
    let second = open_at(Arc::new(disk.clone()), relaxed.clone(), &clock).unwrap();
    second.append(numbered(1, 300)).unwrap();
    faults.add(Fault::new(Call::Flush, EIO).on_path(".jsonl.gz").times(1));
    courier.take(&Limits::default()).unwrap_err();
    let flushes = faults.calls(Call::Flush);
    let offered = names_of(&courier);
    if offered.is_empty() {
        return;
    }
    println!("flushes between the failure and the offer: {}", faults.calls(Call::Flush) - flushes);
    cut(&disk, &CrashStyle::DROP_ALL);
    std::mem::forget((courier, second));
    let _courier = process(&disk, layout, &clock);
    let second = open_at(Arc::new(disk.clone()), relaxed, &clock).unwrap();
    let next = second.append(numbered(2, 300)).unwrap();
    assert_ne!(offered[0].0, next.to_string(), "one name, two records");
}

#[test]
fn a_process_that_fails_once_to_take_over_knows_the_ledger_the_next_time() {
    for layout in LAYOUTS {
        let (disk, clock, faults) = (SimDisk::new(), ManualClock::new(), Faults::new());
        let first = process(&disk, layout, &clock);
        let ids: Vec<_> =
            (1..=4).map(|number| first.append(numbered(number, 300)).unwrap()).collect();
        let state = [State::Delivered, State::Rejected, State::Held, State::Unknown];
        let settled: Vec<_> = ids
            .iter()
            .zip(state)
            .map(|(id, state)| (id.position, Settled::new(state).reason("test")))
            .collect();
        let faulty = FaultyDisk::new(disk.clone(), faults.clone());
        let second = open_at(Arc::new(faulty), options(layout), &clock).unwrap();
        first.settle(&settled).unwrap();
        drop(first);
        faults.add(Fault::new(Call::Read, EIO).on_path("ledger-").times(1));
        second.take(&Limits::default()).unwrap_err();
        let offered = names_of(&second);
        let books = second.books().unwrap();
        assert_eq!(offered, [], "{layout:?}: {books:?}");
        assert_eq!((books.delivered, books.rejected, books.pending), (1, 1, 2), "{layout:?}");
    }
}

#[test]
fn a_chain_whose_successor_could_not_be_made_goes_on_where_it_was() {
    let (disk, clock, faults) = (SimDisk::new(), ManualClock::new(), Faults::new());
    let faulty = FaultyDisk::new(disk.clone(), faults.clone());
    let spool = open_at(Arc::new(faulty), options(Layout::Segments), &clock).unwrap();
    let ids: Vec<_> = (1..=5).map(|number| spool.append(numbered(number, 300)).unwrap()).collect();
    assert_eq!(deliver_all(&spool), [1, 2, 3, 4, 5]);
    // The disk is full; somebody makes room, but not enough yet.
    faults.add(Fault::new(Call::Create, ENOSPC).on_path("new-").times(1));
    for path in disk.paths() {
        if is_segment(&path) {
            disk.remove(&path).unwrap();
        }
    }
    let _ = spool.maintain();
    let next = spool.append(numbered(6, 300)).unwrap();
    let seen = deliver_all(&spool);
    assert!(!ids.contains(&next), "the name {next} was given away before");
    assert_eq!(seen, [6], "acknowledged");
}

#[test]
fn a_record_has_one_name_whoever_delivers_it() {
    for layout in LAYOUTS {
        let (disk, clock) = (SimDisk::new(), ManualClock::new());
        let with = |machine: &str| Options { machine: Some(machine.to_owned()), ..options(layout) };
        let first = open_at(Arc::new(disk.clone()), with("as a user"), &clock).unwrap();
        let second = open_at(Arc::new(disk.clone()), with("as root"), &clock).unwrap();
        let told = second.append(numbered(1, 300)).unwrap();
        let offered = names_of(&first); // sent; the answer is lost
        drop(first);
        clock.advance(Duration::from_secs(1));
        let again = names_of(&second);
        assert_eq!(offered, again, "{layout:?}: told {told}");
    }
}

#[test]
fn a_failed_commit_of_another_process_is_no_damage() {
    let (disk, clock, faults) = (SimDisk::new(), ManualClock::new(), Faults::new());
    let layout = Layout::Segments;
    let courier = process(&disk, layout, &clock);
    let faulty = FaultyDisk::new(disk.clone(), faults.clone());
    let second = open_at(Arc::new(faulty), options(layout), &clock).unwrap();
    second.append(numbered(1, 300)).unwrap();
    faults.add(Fault::new(Call::Write, EIO).times(1));
    second.append(numbered(2, 300)).unwrap_err();
    second.append(numbered(3, 300)).unwrap();
    assert_eq!(deliver_all(&courier), [1, 3]);
    let books = courier.status().unwrap().books;
    assert_eq!((books.accepted, books.damaged), (2, 0), "{books:?}");
}

#[test]
fn the_sidecar_of_a_failed_commit_is_not_read_for_another_record() {
    let (disk, clock, faults) = (SimDisk::new(), ManualClock::new(), Faults::new());
    let faulty = FaultyDisk::new(disk, faults.clone());
    let spool = open_at(Arc::new(faulty), options(Layout::Folder), &clock).unwrap();
    faults.add(Fault::new(Call::Rename, EIO).on_path("pending").times(1));
    let short = Record::new("run", br#"{"n":1}"#.to_vec()).expires_after(Duration::from_millis(5));
    spool.append(short).unwrap_err();
    spool.append(Record::new("run", br#"{"n":2}"#.to_vec())).unwrap();
    clock.advance(Duration::from_secs(1));
    let seen = deliver_all(&spool);
    assert_eq!(seen, [2], "{:?}", spool.status().unwrap().books);
}

#[test]
fn a_record_of_a_boot_without_a_time_does_not_expire_when_the_time_is_known() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let clock = ManualClock::at(backhaul_store::Timestamp::from_micros(0));
        let spool = process(&disk, layout, &clock);
        spool.append(numbered(1, 300).expires_after(Duration::from_secs(7 * 24 * 3600))).unwrap();
        drop(spool);
        clock.reboot();
        clock.set_wall(backhaul_store::Timestamp::from_micros(1_767_225_600_000_000));
        let spool = process(&disk, layout, &clock);
        assert_eq!(deliver_all(&spool), [1], "{:?}", spool.status().unwrap().books);
    }
}

#[test]
fn a_sealed_segment_of_the_same_length_is_not_sealed_again() {
    let layout = Layout::Segments;
    let clock = ManualClock::new();
    let base = SimDisk::new();
    // Writer 1 exists, so that its chain is what is measured.
    drop((process(&base, layout, &clock), process(&base, layout, &clock)));
    let mut len = 40_000;
    for _ in 0..60 {
        let disk = base.crash_image(&mut Prng::new(1), &CrashStyle::KEEP_ALL);
        let courier = process(&disk, layout, &clock);
        let second = process(&disk, layout, &clock);
        second.append(numbered(1, len)).unwrap();
        second.append(numbered(2, 40_000)).unwrap(); // closes the first segment
        let path = "/spool/20260101_0000.jsonl.gz";
        courier.status().unwrap(); // sees it closed
        let closed = disk.read_file(path).unwrap().len();
        second.maintain().unwrap(); // seals it
        let sealed = disk.read_file(path).unwrap().len();
        if closed != sealed {
            len += ((closed + 4096 - sealed) % 4096).max(1);
            continue;
        }
        println!("{len}: {closed} bytes before and after");
        drop(second);
        let held = courier.take(&Limits { records: 1, bytes: 1, ..Limits::default() }).unwrap(); // adopts
        drop(held);
        for _ in 0..3 {
            courier.maintain().unwrap();
        }
        drop(courier);
        let courier = process(&disk, layout, &clock);
        assert_eq!(deliver_all(&courier), [1, 2], "{:?}", courier.status().unwrap().books);
        return;
    }
    panic!("no such length found");
}

#[test]
fn a_requeued_record_survives_a_listing_that_saw_it_in_two_folders() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new());
    let first = process(&disk, Layout::Folder, &clock);
    let id = first.append(numbered(1, 300)).unwrap();
    let (second, hook) = hooked(&disk, options(Layout::Folder), &clock);
    let of_hook = first.clone();
    let mut is_done = false;
    hook.set(Box::new(move |what, path| {
        if !is_done && what == "list" && path.ends_with("failed") {
            is_done = true;
            let rejected = Settled::new(State::Rejected).reason("422");
            of_hook.settle(&[(id.position, rejected)]).unwrap();
        }
        Ok(())
    }));
    second.status().unwrap();
    hook.set(Box::new(|_, _| Ok(())));
    assert!(first.requeue(id.position).unwrap());
    drop(first);
    clock.advance(Duration::from_secs(1));
    let seen = deliver_all(&second);
    assert_eq!(seen, [1], "{:?}", second.status().unwrap().books);
}

#[test]
fn a_requeued_record_is_found_by_the_next_process_that_delivers() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new());
    let first = process(&disk, Layout::Folder, &clock);
    let second = process(&disk, Layout::Folder, &clock);
    let id = second.append(numbered(1, 300)).unwrap();
    drop(second);
    let rejected = Settled::new(State::Rejected).reason("422");
    assert_eq!(names_of(&first).len(), 1);
    first.settle(&[(id.position, rejected)]).unwrap();
    let third = process(&disk, Layout::Folder, &clock); // finds its own record in failed/
    assert!(first.requeue(id.position).unwrap());
    drop(first);
    assert_eq!(deliver_all(&third), [1], "{:?}", third.status().unwrap().books);
}

#[test]
fn an_attachment_that_is_attached_again_during_a_sweep_is_kept() {
    let layout = Layout::Segments;
    let (disk, clock) = (SimDisk::new(), ManualClock::new());
    let short = Options { keep_delivered_for: Duration::from_secs(60), ..options(layout) };
    let (courier, hook) = hooked(&disk, short, &clock);
    for number in 1..=40 {
        courier.append(numbered(number, 3_000)).unwrap();
    }
    let digest = courier.attach(&[7; 10_000]).unwrap().digest().to_owned();
    deliver_all(&courier);
    for _ in 0..20 {
        courier.maintain().unwrap();
    }
    clock.advance(Duration::from_secs(61));
    let second: Arc<Mutex<Option<Spool>>> = Arc::default();
    let (opened, disk2, clock2, digest2) =
        (Arc::clone(&second), disk.clone(), clock.clone(), digest.clone());
    hook.set(Box::new(move |what, path| {
        let is_inner = path.parent().is_some_and(|parent| parent.ends_with("attachments"));
        if what == "list" && is_inner && opened.lock().unwrap().is_none() {
            let spool = process(&disk2, layout, &clock2);
            let attached = spool.attach(&[7; 10_000]).unwrap();
            spool.append(numbered(50, 300).attachment(&digest2)).unwrap();
            drop(attached);
            *opened.lock().unwrap() = Some(spool);
        }
        Ok(())
    }));
    courier.maintain().unwrap();
    assert!(second.lock().unwrap().is_some(), "no sweep");
    assert!(courier.attachment(&digest).is_ok(), "the attachment is gone");
}

#[test]
fn a_commit_that_fails_while_its_process_becomes_the_courier_uses_its_sequences_up() {
    let layout = Layout::Segments;
    let (disk, clock) = (SimDisk::new(), ManualClock::new());
    let first: Arc<Mutex<Option<Spool>>> =
        Arc::new(Mutex::new(Some(process(&disk, layout, &clock))));
    let (second, hook) = hooked(&disk, options(layout), &clock);
    second.append(numbered(1, 300)).unwrap();
    let (courier, taker, clock2) = (Arc::clone(&first), second.clone(), clock.clone());
    let disk2 = disk.clone();
    hook.set(Box::new(move |what, path| {
        if what == "flush"
            && path.to_string_lossy().contains("new-normal.1")
            && let Some(courier) = courier.lock().unwrap().take()
        {
            clock2.advance(Duration::from_secs(1));
            assert_eq!(deliver_all(&courier), [1, 2]);
            drop(courier);
            let taker = taker.clone();
            std::thread::spawn(move || taker.take(&Limits::default()).map(drop));
            while !is_locked(&disk2, "/spool/state/courier.lock") {
                std::thread::yield_now();
            }
            return Err(io::Error::from_raw_os_error(EIO));
        }
        Ok(())
    }));
    second.append(numbered(2, 300)).unwrap_err();
    hook.set(Box::new(|_, _| Ok(())));
    second.append(numbered(3, 300)).unwrap(); // acknowledged
    clock.advance(Duration::from_secs(1));
    assert_eq!(deliver_all(&second), [3], "{:?}", second.status().unwrap().books);
}

#[test]
fn one_fault_while_a_process_takes_over_costs_nothing() {
    let mut bad = Vec::new();
    for layout in LAYOUTS {
        for is_damaged in [false, true] {
            for call in Call::ALL {
                for after in 0..40 {
                    let (disk, clock, faults) = (SimDisk::new(), ManualClock::new(), Faults::new());
                    let first = process(&disk, layout, &clock);
                    let faulty = FaultyDisk::new(disk.clone(), faults.clone());
                    let second = open_at(Arc::new(faulty), options(layout), &clock).unwrap();
                    let third = process(&disk, layout, &clock);
                    let mut expected = vec![1, 2, 3, 4, 5, 11, 12, 21, 22];
                    first.append(numbered(1, 300)).unwrap();
                    assert_eq!(deliver_all(&first), [1]);
                    expected.remove(0);
                    for number in 2..=5 {
                        first.append(numbered(number, 300)).unwrap();
                    }
                    for number in 11..=12 {
                        second.append(numbered(number, 300)).unwrap();
                    }
                    for number in 21..=22 {
                        third.append(numbered(number, 300)).unwrap();
                    }
                    if is_damaged && layout != Layout::Folder {
                        // The third record of the first process.
                        let path = disk.paths().into_iter().find(|path| is_segment(path)).unwrap();
                        disk.flip_bit(path, 3 * 4096 + 4000, 1).unwrap();
                        expected.retain(|number| *number != 3);
                    }
                    drop((first, third));
                    clock.advance(Duration::from_secs(1));
                    faults.add(Fault::new(call, EIO).after(after).times(1));
                    let mut seen = Vec::new();
                    for _ in 0..4 {
                        clock.advance(Duration::from_secs(11));
                        if let Ok(Some(batch)) =
                            second.take(&Limits { records: 2, bytes: 1 << 20, ..Limits::default() })
                        {
                            let settled: Vec<_> = batch
                                .records
                                .iter()
                                .map(|o| (o.record.id.position, Settled::new(State::Delivered)))
                                .collect();
                            seen.extend(batch.records.iter().map(|o| number_of(&o.record.body)));
                            second.settle(&settled).unwrap();
                        }
                        let _ = second.maintain();
                    }
                    let had_failed = faults.failures(call) > 0;
                    faults.clear();
                    for _ in 0..3 {
                        clock.advance(Duration::from_secs(11));
                        seen.extend(deliver_all(&second));
                        let _ = second.maintain();
                    }
                    let books = second.status().unwrap().books;
                    drop(second);
                    let last = process(&disk, layout, &clock);
                    seen.extend(deliver_all(&last));
                    let books2 = last.status().unwrap().books;
                    seen.sort_unstable();
                    let damaged = u64::from(is_damaged && layout != Layout::Folder);
                    if seen != expected
                        || !books.balance()
                        || books2.damaged != damaged
                        || books2.accepted != 9
                    {
                        bad.push(format!(
                            "{layout:?} {is_damaged} {call:?} {after}: {seen:?} {books2:?}"
                        ));
                    }
                    if !had_failed {
                        break;
                    }
                }
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn a_process_that_only_appends_does_not_keep_others_from_delivering() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new());
    let sender = process(&disk, Layout::Segments, &clock);
    let producer = process(&disk, Layout::Segments, &clock);
    producer.append(numbered(1, 300)).unwrap();
    drop(sender);
    producer.maintain().unwrap(); // the maintenance thread, each second
    let sender = process(&disk, Layout::Segments, &clock);
    sender.take(&Limits::default()).unwrap_err();
    producer.maintain().unwrap();
    assert_eq!(deliver_all(&sender), [1]);
    // The producer does not take the part back.
    producer.maintain().unwrap();
    producer.append(numbered(2, 300)).unwrap();
    clock.advance(Duration::from_secs(1));
    assert_eq!(deliver_all(&sender), [2]);
    // The sender goes on, also while it has nothing to send, until it has long been idle.
    producer.append(numbered(3, 300)).unwrap();
    producer.take(&Limits::default()).unwrap_err();
    clock.advance(Duration::from_secs(200));
    sender.maintain().unwrap();
    producer.take(&Limits::default()).unwrap_err();
    clock.advance(Duration::from_secs(200));
    sender.maintain().unwrap();
    assert_eq!(deliver_all(&producer), [3]);
}

#[test]
fn an_empty_segment_of_a_dead_writer_does_not_stop_sealing() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new());
    let short =
        Options { keep_delivered_for: Duration::from_secs(60), ..options(Layout::Segments) };
    let open = || open_at(Arc::new(disk.clone()), short.clone(), &clock).unwrap();
    let first = open();
    let second = open();
    drop(first);
    second.append(numbered(1, 300).lane(Lane::Critical)).unwrap();
    assert_eq!(deliver_all(&second), [1]);
    disk.remove(Path::new("/spool/20260101_0000.jsonl.gz")).unwrap();
    second.maintain().unwrap(); // leaves an empty successor
    drop(second);
    let first = open();
    for number in 3..=60 {
        first.append(numbered(number, 3_000)).unwrap();
    }
    for _ in 0..20 {
        clock.advance(Duration::from_secs(1));
        first.take(&Limits::default()).map(drop).unwrap();
        first.maintain().unwrap();
    }
    let lens: Vec<_> = disk
        .paths()
        .into_iter()
        .filter(|p| p.to_string_lossy().ends_with(".gz"))
        .map(|p| (p.display().to_string(), disk.read_file(&p).unwrap().len()))
        .collect();
    let unsealed = lens.iter().filter(|(_, len)| len % 4096 == 0).count();
    assert!(unsealed <= 2, "{lens:?}");
}

#[test]
fn a_record_that_cannot_be_read_holds_back_its_stream() {
    let (disk, clock, faults) = (SimDisk::new(), ManualClock::new(), Faults::new());
    let faulty = FaultyDisk::new(disk, faults.clone());
    let spool = open_at(Arc::new(faulty), options(Layout::Folder), &clock).unwrap();
    for number in 1..=2 {
        spool.append(numbered(number, 300).stream("s")).unwrap();
    }
    faults.add(Fault::new(Call::Read, EIO).on_path("pending/2026-01-01T00-00-00Z_000001"));
    let mut seen = Vec::new();
    for _ in 0..60 {
        clock.advance(Duration::from_secs(2));
        if let Ok(Some(batch)) = spool.take(&Limits::default()) {
            seen.extend(batch.records.iter().map(|offer| number_of(&offer.record.body)));
            let settle =
                |o: &backhaul_store::Offer| (o.record.id.position, Settled::new(State::Delivered));
            let settled: Vec<_> = batch.records.iter().map(settle).collect();
            spool.settle(&settled).unwrap();
        }
    }
    faults.clear();
    clock.advance(Duration::from_secs(601));
    seen.extend(deliver_all(&spool));
    assert_eq!(seen, [1, 2], "the order of the stream");
}
