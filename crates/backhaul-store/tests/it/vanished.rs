//! What somebody cuts, removes or damages is noticed at the latest at the next open,
//! counted to the record, and its names are not given to other records.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{
    Disk, DiskFile, Entry, Lane, Limits, Open, Record, RecordId, Settled, Space, Spool, State,
};
use backhaul_testkit::errno::EIO;
use backhaul_testkit::{Call, Fault, Faults, FaultyDisk, ManualClock, SimDisk};

use crate::members::{Kind, members};
use crate::support::{LAYOUTS, Layout, deliver_all, numbered, numbers, open, open_at, options};

fn append(spool: &Spool, count: u64) -> Vec<RecordId> {
    (1..=count).map(|number| spool.append(numbered(number, 3_000)).unwrap()).collect()
}

/// A spool's data files, oldest first.
fn data_files(disk: &SimDisk) -> Vec<PathBuf> {
    let is_data = |path: &PathBuf| {
        let name = path.to_string_lossy();
        crate::support::is_segment(path) || name.starts_with("/spool/pending/")
    };
    let mut files: Vec<PathBuf> = disk.paths().into_iter().filter(is_data).collect();
    files.sort();
    files
}

/// Checks the books and names after everything from `kept` + 1 to 40 has vanished.
fn is_missed(disk: &SimDisk, kept: u64, before: &[RecordId], layout: Layout) {
    let spool = open(disk, options(layout)).unwrap();
    let books = spool.status().unwrap().books;
    assert_eq!((books.accepted, books.pending, books.damaged), (40, kept, 40 - kept), "{layout:?}");
    let next = spool.append(numbered(41, 300)).unwrap();
    assert!(!before.contains(&next), "{layout:?}: {next} was given away before");
    let mut expected: Vec<u64> = (1..=kept).collect();
    expected.push(41);
    assert_eq!(deliver_all(&spool), expected, "{layout:?}");
    let books = spool.status().unwrap().books;
    assert_eq!((books.accepted, books.delivered, books.damaged), (41, kept + 1, 40 - kept));
}

#[test]
fn all_data_files_removed_while_nobody_runs_are_missed() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let ids = append(&open(&disk, options(layout)).unwrap(), 40);
        for path in data_files(&disk) {
            disk.remove(&path).unwrap();
        }
        is_missed(&disk, 0, &ids, layout);
    }
}

#[test]
fn the_newest_data_file_removed_while_nobody_runs_is_missed() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let ids = append(&open(&disk, options(layout)).unwrap(), 40);
        let files = data_files(&disk);
        assert!(files.len() > 3);
        disk.remove(files.last().unwrap()).unwrap();
        let left = open(&disk, options(layout)).unwrap();
        let kept = left.status().unwrap().books.pending;
        assert!((1..40).contains(&kept), "{layout:?}: {kept} are left");
        drop(left);
        is_missed(&disk, kept, &ids, layout);
    }
}

#[test]
fn a_requeued_record_that_was_removed_while_nobody_ran_is_missed() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let spool = open(&disk, options(layout)).unwrap();
        let position = append(&spool, 1)[0].position;
        spool.settle(&[(position, Settled::new(State::Rejected).reason("422"))]).unwrap();
        assert!(spool.requeue(position).unwrap());
        drop(spool);
        for path in data_files(&disk) {
            disk.remove(&path).unwrap();
        }
        let spool = open(&disk, options(layout)).unwrap();
        assert!(deliver_all(&spool).is_empty());
        let books = spool.status().unwrap().books;
        assert_eq!((books.accepted, books.damaged, books.pending), (1, 1, 0), "{layout:?}");
    }
}

#[test]
fn a_segment_cut_short_after_a_crash_is_missed_up_to_the_last_note() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new());
    let spool = open_at(Arc::new(disk.clone()), options(Layout::Segments), &clock).unwrap();
    append(&spool, 40);
    clock.advance(Duration::from_secs(11));
    spool.maintain().unwrap();
    // These are acknowledged after the note.
    append(&spool, 1);
    disk.kill_process();
    std::mem::forget(spool);
    let newest = data_files(&disk).pop().unwrap();
    let bytes = disk.read_file(&newest).unwrap();
    disk.write_file(&newest, &bytes[..4096]).unwrap();
    let spool = open(&disk, options(Layout::Segments)).unwrap();
    let books = spool.status().unwrap().books;
    assert_eq!(books.accepted, 40);
    assert!(books.damaged > 0 && books.balance(), "{books:?}");
    let epoch = spool.append(numbered(41, 300)).unwrap().epoch;
    drop(spool);
    let identity = disk.read_file("/spool/state/identity.json").unwrap();
    assert_eq!(String::from_utf8(identity).unwrap().matches("\"epoch\"").count(), 2);
    assert_eq!(
        open(&disk, options(Layout::Segments)).unwrap().append(numbered(42, 300)).unwrap().epoch,
        epoch
    );
}

#[test]
fn what_another_writer_left_and_somebody_removed_is_missed() {
    let disk = SimDisk::new();
    let first = open(&disk, options(Layout::Segments)).unwrap();
    let clock = ManualClock::new();
    let second = open_at(Arc::new(disk.clone()), options(Layout::Segments), &clock).unwrap();
    append(&second, 40);
    // The first one delivers, and notes how far the other has got.
    drop(first);
    let first = open_at(Arc::new(disk.clone()), options(Layout::Segments), &clock).unwrap();
    clock.advance(Duration::from_secs(11));
    first.maintain().unwrap();
    drop((first, second));
    for path in data_files(&disk) {
        disk.remove(&path).unwrap();
    }
    let spool = open(&disk, options(Layout::Segments)).unwrap();
    let books = spool.status().unwrap().books;
    assert_eq!((books.accepted, books.pending, books.damaged), (40, 0, 40));
}

#[test]
fn the_newest_segment_removed_while_the_spool_is_open_costs_its_records_and_no_names() {
    let disk = SimDisk::new();
    let spool = open(&disk, options(Layout::Segments)).unwrap();
    let ids = append(&spool, 40);
    for path in data_files(&disk) {
        disk.remove(&path).unwrap();
    }
    spool.maintain().unwrap();
    let next = spool.append(numbered(41, 300)).unwrap();
    assert!(!ids.contains(&next));
    assert_eq!(deliver_all(&spool), [41]);
    let books = spool.status().unwrap().books;
    assert_eq!((books.accepted, books.delivered, books.damaged), (41, 1, 40));
}

#[test]
fn a_damaged_last_commit_of_a_spool_that_was_closed_counts_as_damaged() {
    let disk = SimDisk::new();
    let ids = append(&open(&disk, options(Layout::Segments)).unwrap(), 40);
    let newest = data_files(&disk).pop().unwrap();
    let newest_members = members(&disk.read_file(&newest).unwrap());
    let last = newest_members.iter().rfind(|member| member.kind == Kind::Data).unwrap();
    disk.flip_bit(&newest, (last.offset + last.len - 100) as u64, 0x10).unwrap();
    is_missed(&disk, 39, &ids, Layout::Segments);
}

#[test]
fn what_was_appended_without_a_flush_and_lost_in_a_power_cut_is_not_missed() {
    for layout in LAYOUTS {
        let (disk, clock) = (SimDisk::new(), ManualClock::new());
        let relaxed =
            backhaul_store::Options { flush: backhaul_store::Flush::Never, ..options(layout) };
        let spool = open_at(Arc::new(disk.clone()), relaxed.clone(), &clock).unwrap();
        append(&spool, 10);
        clock.advance(Duration::from_secs(11));
        spool.maintain().unwrap();
        let mut prng = backhaul_testkit::Prng::new(7);
        disk.power_cut(&mut prng, &backhaul_testkit::CrashStyle::DROP_ALL);
        std::mem::forget(spool);
        let books = open(&disk, relaxed).unwrap().status().unwrap().books;
        assert!(books.accepted < 10 && books.balance(), "{layout:?}: {books:?}");
        assert_eq!(books.damaged, 0, "{layout:?}");
    }
}

// --- Damage inside files ---------------------------------------------------------

#[test]
fn damage_is_found_and_counted_where_nobody_delivers() {
    for layout in LAYOUTS {
        let (disk, clock) = (SimDisk::new(), ManualClock::new());
        let ids = append(&open(&disk, options(layout)).unwrap(), 40);
        let victim = data_files(&disk).remove(1);
        let bytes = disk.read_file(&victim).unwrap();
        match layout {
            Layout::Folder => disk.write_file(&victim, &bytes[..100]).unwrap(),
            Layout::Segments | Layout::Plain => {
                let second = &members(&bytes)[1];
                disk.flip_bit(&victim, (second.offset + second.len - 100) as u64, 0x10).unwrap();
            }
        }
        let spool = open_at(Arc::new(disk), options(layout), &clock).unwrap();
        assert_eq!(spool.status().unwrap().books.pending, ids.len() as u64);
        for _ in 0..3 {
            spool.maintain().unwrap();
        }
        let books = spool.status().unwrap().books;
        assert_eq!((books.pending, books.damaged), (39, 1), "{layout:?}");
    }
}

#[test]
fn sound_records_are_read_once_a_day_for_damage() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new());
    append(&open(&disk, options(Layout::Segments)).unwrap(), 40);
    let spool = open_at(Arc::new(disk.clone()), options(Layout::Segments), &clock).unwrap();
    (0..3).for_each(|_| spool.maintain().unwrap());
    let victim = data_files(&disk).remove(0);
    let first = members(&disk.read_file(&victim).unwrap()).remove(1);
    disk.flip_bit(&victim, (first.offset + first.len - 100) as u64, 0x10).unwrap();
    clock.advance(Duration::from_secs(3600));
    (0..3).for_each(|_| spool.maintain().unwrap());
    assert_eq!(spool.status().unwrap().books.damaged, 0);
    clock.advance(Duration::from_secs(24 * 3600));
    (0..3).for_each(|_| spool.maintain().unwrap());
    assert!(spool.status().unwrap().books.damaged > 0);
}

#[test]
fn a_card_that_comes_back_within_a_minute_costs_no_record() {
    for layout in LAYOUTS {
        let (disk, clock, faults) = (SimDisk::new(), ManualClock::new(), Faults::new());
        append(&open(&disk, options(layout)).unwrap(), 3);
        let faulty = FaultyDisk::new(disk, faults.clone());
        let spool = open_at(Arc::new(faulty), options(layout), &clock).unwrap();
        faults.add(Fault::new(Call::Read, EIO));
        for _ in 0..30 {
            spool.take(&Limits::default()).unwrap_err();
            clock.advance(Duration::from_secs(1));
        }
        faults.clear();
        assert_eq!(deliver_all(&spool), [1, 2, 3], "{layout:?}");
    }
}

#[test]
fn a_record_that_its_medium_does_not_give_blocks_others_for_a_minute_and_is_given_up_after_a_day() {
    for layout in LAYOUTS {
        let (disk, clock, faults) = (SimDisk::new(), ManualClock::new(), Faults::new());
        let spool = open(&disk, options(layout)).unwrap();
        append(&spool, 1);
        drop(spool);
        let faulty = FaultyDisk::new(disk, faults.clone());
        let spool = open_at(Arc::new(faulty), options(layout), &clock).unwrap();
        faults.add(Fault::new(Call::Read, EIO));
        let limits = Limits::default();
        let seconds = (0..).take_while(|_| {
            clock.advance(Duration::from_secs(1));
            spool.take(&limits).is_err()
        });
        assert!(seconds.count() < 60, "{layout:?}");
        faults.clear();
        faults.add(Fault::new(Call::Read, EIO).on_path(file_of_the_first(&spool)));
        spool.append(other_lane(2)).unwrap();
        assert_eq!(deliver_all(&spool), [2], "{layout:?}");
        let status = spool.status().unwrap();
        assert_eq!((status.books.damaged, status.books.pending, status.unreadable), (0, 1, 1));
        // It is tried again, and given up after a day.
        for _ in 0..150 {
            clock.advance(Duration::from_secs(601));
            assert!(spool.take(&limits).unwrap().is_none());
        }
        let status = spool.status().unwrap();
        assert_eq!((status.books.damaged, status.books.pending, status.unreadable), (1, 0, 0));
    }
}

/// A record in a chain, and so in a file, of its own.
fn other_lane(number: u64) -> Record {
    numbered(number, 300).lane(Lane::High)
}

fn file_of_the_first(spool: &Spool) -> String {
    let files = spool.disk().list(&spool.dir().join("pending")).unwrap_or_default();
    files.first().map_or_else(|| "_0000.jsonl".to_owned(), |file| file.name.clone())
}

#[test]
fn a_segment_with_a_damaged_head_page_is_written_anew_for_other_readers() {
    for sealed in [false, true] {
        let disk = SimDisk::new();
        let spool = open(&disk, options(Layout::Segments)).unwrap();
        append(&spool, 40);
        if sealed {
            for _ in 0..20 {
                spool.maintain().unwrap();
            }
        }
        drop(spool);
        let victim = data_files(&disk).remove(1);
        disk.flip_bit(&victim, 3, 0xff).unwrap();
        let spool = open(&disk, options(Layout::Segments)).unwrap();
        for _ in 0..20 {
            spool.maintain().unwrap();
        }
        let all: Vec<u64> = (1..=40).collect();
        assert_eq!(numbers(&spool), all, "sealed: {sealed}");
        let bytes = disk.read_file(&victim).unwrap();
        assert_eq!(members(&bytes)[0].kind, Kind::Head, "the head is back; sealed: {sealed}");
        assert_eq!(deliver_all(&spool), all);
    }
}

#[test]
fn an_attempt_that_began_is_on_disk_before_anything_is_done() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let spool = open(&disk, options(layout)).unwrap();
        let id = spool.append(numbered(1, 300)).unwrap();
        spool.settle(&[(id.position, Settled::new(State::Started))]).unwrap();
        disk.power_cut(
            &mut backhaul_testkit::Prng::new(1),
            &backhaul_testkit::CrashStyle::DROP_ALL,
        );
        std::mem::forget(spool);
        let spool = open(&disk, options(layout)).unwrap();
        assert_eq!(spool.get(id.position).unwrap().0.attempts, 1, "{layout:?}");
    }
}

// --- What another process is just writing ----------------------------------------

/// A disk that leaves one name out of its next listings, as a folder may that is
/// listed while files are named in it.
#[derive(Debug)]
struct Forgetful {
    disk: SimDisk,
    name: String,
    listings: std::sync::atomic::AtomicU32,
}

impl Disk for Forgetful {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(path, how)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        use std::sync::atomic::Ordering::Relaxed;
        let mut entries = self.disk.list(path)?;
        if let Some(at) = entries.iter().position(|entry| entry.name.contains(&self.name))
            && self.listings.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
        {
            entries.remove(at);
        }
        Ok(entries)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
    fn sync_all(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_all(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }
}

#[test]
fn a_file_that_a_listing_left_out_is_neither_damaged_nor_void() {
    let wanted: Vec<u64> = (1..=12).collect();
    for layout in LAYOUTS {
        // Once while the one that delivers opens, and once while it takes.
        for before_opening in [true, false] {
            let disk = SimDisk::new();
            let keeper = open(&disk, options(layout)).unwrap();
            let other = open(&disk, options(layout)).unwrap();
            let fill = |spool: &Spool| {
                for number in &wanted {
                    spool.append(numbered(*number, 6_000)).unwrap();
                }
            };
            if before_opening {
                fill(&other);
            }
            drop(keeper);
            let left_out = match layout {
                Layout::Folder => "000003",
                Layout::Segments | Layout::Plain => "_0001.jsonl",
            };
            let listings = if before_opening { 2 } else { 0 };
            let forgetful = Arc::new(Forgetful {
                disk: disk.clone(),
                name: left_out.to_owned(),
                listings: listings.into(),
            });
            let spool = open_at(
                Arc::clone(&forgetful) as Arc<dyn Disk>,
                options(layout),
                &ManualClock::new(),
            )
            .unwrap();
            if !before_opening {
                fill(&other);
                forgetful.listings.store(1, std::sync::atomic::Ordering::Relaxed);
            }
            assert_eq!(deliver_all(&spool), wanted, "{layout:?} {before_opening}");
            let books = spool.status().unwrap().books;
            assert_eq!((books.accepted, books.damaged, books.void), (12, 0, 0), "{layout:?}");
        }
    }
}

#[test]
fn a_commit_of_which_a_later_page_is_seen_first_is_waited_for() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new());
    let spool = open_at(Arc::new(disk.clone()), options(Layout::Segments), &clock).unwrap();
    let other = open(&disk, options(Layout::Segments)).unwrap();
    other.append(numbered(1, 300)).unwrap();
    let file = data_files(&disk).pop().unwrap();
    let before = disk.read_file(&file).unwrap();
    for number in 2..=3 {
        other.append(numbered(number, 300)).unwrap();
    }
    let after = disk.read_file(&file).unwrap();
    let second = members(&after).iter().filter(|member| member.kind == Kind::Data).nth(1).copied();
    let second = second.unwrap();
    let mut between = after.clone();
    let pages = second.offset..second.offset + second.len;
    between[pages.clone()].copy_from_slice(&before[pages]);
    disk.write_file(&file, &between).unwrap();
    assert_eq!(deliver_all(&spool), [1]);
    disk.write_file(&file, &after).unwrap();
    clock.advance(Duration::from_secs(1));
    assert_eq!(deliver_all(&spool), [2, 3]);
    assert_eq!(spool.status().unwrap().books.damaged, 0);
}

#[test]
fn sequences_of_a_commit_that_failed_are_not_given_away_again_where_another_process_delivers() {
    for layout in LAYOUTS {
        for call in [Call::Flush, Call::Write, Call::SyncDir] {
            let (disk, clock, faults) = (SimDisk::new(), ManualClock::new(), Faults::new());
            let courier = open_at(Arc::new(disk.clone()), options(layout), &clock).unwrap();
            let faulty = FaultyDisk::new(disk.clone(), faults.clone());
            let other = open_at(Arc::new(faulty), options(layout), &clock).unwrap();
            other.append(numbered(1, 300)).unwrap();
            faults.add(Fault::new(call, EIO).times(1));
            // What was written is not cut off, as if the other one looked before that.
            faults.add(Fault::new(Call::SetLen, EIO));
            // In the segment layout a commit syncs no folder.
            let refused = other.append(numbered(2, 300)).is_err();
            let seen = deliver_all(&courier);
            faults.clear();
            other.append(numbered(3, 300)).unwrap();
            clock.advance(Duration::from_secs(1));
            let after = deliver_all(&courier);
            let all: Vec<u64> = seen.iter().chain(&after).copied().collect();
            assert_eq!(all.last(), Some(&3), "{layout:?} {call:?}: {all:?}");
            assert!(refused || all == [1, 2, 3], "{layout:?} {call:?}: {all:?}");
            assert!(courier.status().unwrap().books.balance());
        }
    }
}

#[test]
fn a_process_that_comes_after_a_dead_one_never_writes_into_what_was_taken_over() {
    for seals_before in [false, true] {
        for seals_between in [false, true] {
            let (disk, clock) = (SimDisk::new(), ManualClock::new());
            let relaxed = options(Layout::Segments);
            let courier = open_at(Arc::new(disk.clone()), relaxed.clone(), &clock).unwrap();
            let mut delivered = Vec::new();
            let mut number = 0;
            for _ in 0..4 {
                let other = open(&disk, relaxed.clone()).unwrap();
                for _ in 0..2 {
                    for _ in 0..3 {
                        number += 1;
                        other.append(numbered(number, 3_000)).unwrap();
                    }
                    clock.advance(Duration::from_secs(1));
                    delivered.extend(deliver_all(&courier));
                    if seals_between {
                        courier.maintain().unwrap();
                    }
                }
                // It is gone, and the one that delivers takes over what it left.
                drop(other);
                clock.advance(Duration::from_secs(1));
                delivered.extend(deliver_all(&courier));
                if seals_before {
                    courier.maintain().unwrap();
                }
            }
            delivered.sort_unstable();
            assert_eq!(
                delivered,
                (1..=number).collect::<Vec<_>>(),
                "{seals_before} {seals_between}"
            );
            let books = courier.status().unwrap().books;
            assert_eq!((books.accepted, books.damaged), (number, 0));
        }
    }
}

#[test]
fn numbers_of_dead_writers_are_given_back_when_their_segments_are_sealed() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new());
    let courier = open_at(Arc::new(disk.clone()), options(Layout::Segments), &clock).unwrap();
    for round in 0..30 {
        let other = open(&disk, options(Layout::Segments)).unwrap();
        let id = other.append(numbered(round, 300)).unwrap();
        assert!(id.position.chain.writer <= 2, "{id}");
        drop(other);
        clock.advance(Duration::from_secs(1));
        assert_eq!(deliver_all(&courier), [round]);
        courier.maintain().unwrap();
    }
}

#[test]
fn what_a_dead_writer_left_without_records_costs_no_writes() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new());
    let courier = open_at(Arc::new(disk.clone()), options(Layout::Segments), &clock).unwrap();
    for _ in 0..3 {
        let other = open(&disk, options(Layout::Segments)).unwrap();
        other.append(numbered(1, 300)).unwrap();
        drop(other);
        clock.advance(Duration::from_secs(1));
        deliver_all(&courier);
        (0..3).for_each(|_| courier.maintain().unwrap());
    }
    clock.advance(Duration::from_secs(30));
    courier.maintain().unwrap();
    let flushes = disk.flush_count();
    for _ in 0..50 {
        clock.advance(Duration::from_millis(150));
        assert_eq!(deliver_all(&courier), [0; 0]);
    }
    assert_eq!(disk.flush_count(), flushes);
}
