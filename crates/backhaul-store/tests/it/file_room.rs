//! Files that others keep in a spool's folder: counted to the byte, and only once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{Disk, DiskFile, ErrorKind, FileRoom, Lane, Open, Options, Spool, WhenFull};
use backhaul_testkit::{ManualClock, Prng, SimDisk};

use crate::support::{DIR, LAYOUTS, Layout, deliver_all, numbered, numbers, open_at, options};

const CAP: u64 = 600_000;
/// Longer than any time between two measurements.
const MEASURED_AGAIN: Duration = Duration::from_secs(601);

struct Device {
    disk: SimDisk,
    clock: ManualClock,
}

impl Device {
    fn new() -> Self {
        Self { disk: SimDisk::new(), clock: ManualClock::new() }
    }

    fn open(&self, options: Options) -> Spool {
        open_at(Arc::new(self.disk.clone()), options, &self.clock).unwrap()
    }

    fn measure(&self, spool: &Spool) {
        self.clock.advance(MEASURED_AGAIN);
        spool.maintain().unwrap();
    }

    /// What the spool counts but for its ledger, which notes the time meanwhile.
    fn beside_ledger(&self, spool: &Spool) -> u64 {
        let ledger = self.bytes(|path| path.contains("/state/ledger"));
        spool.status().unwrap().bytes - ledger
    }

    /// Bytes on disk of the files in the folder, by looking at each of them.
    fn bytes(&self, is_counted: impl Fn(&str) -> bool) -> u64 {
        let paths = self.disk.paths();
        let counted = paths.iter().filter(|path| is_counted(path.to_str().unwrap()));
        counted
            .map(|path| self.disk.read_file(path).unwrap().len() as u64)
            .map(|len| len.next_multiple_of(4096))
            .sum()
    }

    /// All but the ledger, which is written whatever the cap says.
    fn bytes_under_the_cap(&self) -> u64 {
        self.bytes(|path| !path.contains("/state/ledger"))
    }

    fn assert_exact(&self, spool: &Spool, when: &str) {
        assert_eq!(spool.status().unwrap().bytes, self.bytes(|_| true), "{when}");
    }
}

/// A file that grows only after it asked for room.
struct Notes {
    path: PathBuf,
    room: FileRoom,
    file: Box<dyn DiskFile>,
    len: u64,
}

impl Notes {
    fn begin(device: &Device, spool: &Spool, name: &str) -> Self {
        let path = Path::new(DIR).join("notes").join(name);
        device.disk.create_dir_all(path.parent().unwrap()).unwrap();
        let room = spool.room_for_file(&path, Lane::Normal);
        let file = device.disk.open(&path, Open::CreateNew).unwrap();
        Self { path, room, file, len: 0 }
    }

    fn append(&mut self, bytes: usize) -> backhaul_store::Result<()> {
        self.room.reserve(self.len + bytes as u64)?;
        self.write(bytes);
        Ok(())
    }

    fn write(&mut self, bytes: usize) {
        self.file.write_all_at(&vec![b'x'; bytes], self.len).unwrap();
        self.len += bytes as u64;
    }

    fn remove(self, disk: &SimDisk) {
        disk.remove(&self.path).unwrap();
        self.room.give_back();
    }
}

fn capped(layout: Layout) -> Options {
    Options { max_bytes: Some(CAP), keep_delivered_share: 1.0, ..options(layout) }
}

#[test]
fn the_cap_holds_on_the_byte_while_others_keep_files() {
    for layout in LAYOUTS {
        for seed in 0..20 {
            let device = Device::new();
            let spool = device.open(capped(layout));
            let mut prng = Prng::new(seed);
            let mut files: Vec<Notes> = Vec::new();
            let mut refused = 0;
            for number in 0..600 {
                let result = match prng.index(12) {
                    0 => {
                        files.push(Notes::begin(&device, &spool, &number.to_string()));
                        Ok(())
                    }
                    1 if files.len() > 3 => {
                        files.swap_remove(prng.index(4)).remove(&device.disk);
                        Ok(())
                    }
                    2 => {
                        device.clock.advance(MEASURED_AGAIN / 20);
                        spool.maintain()
                    }
                    3..6 => spool.append(numbered(number, 3_000)).map(drop),
                    _ if files.is_empty() => Ok(()),
                    at => {
                        let index = prng.index(files.len());
                        files[index].append(700 * at)
                    }
                };
                if let Err(error) = result {
                    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
                    refused += 1;
                }
                let bytes = device.bytes_under_the_cap();
                assert!(bytes <= CAP, "{layout:?}, seed {seed}, {number}: {bytes} bytes");
            }
            assert!(refused > 0, "{layout:?}: the cap was never reached");
        }
    }
}

#[test]
fn room_comes_back_when_a_kept_file_is_removed() {
    for layout in LAYOUTS {
        let device = Device::new();
        let spool = device.open(capped(layout));
        let before = spool.status().unwrap().bytes;
        let mut notes = Notes::begin(&device, &spool, "a");
        for _ in 0..20 {
            notes.append(1_000).unwrap();
        }
        assert_eq!(spool.status().unwrap().bytes, before + 5 * 4096, "{layout:?}");
        notes.remove(&device.disk);
        assert_eq!(spool.status().unwrap().bytes, before, "{layout:?}");
    }
}

#[test]
fn a_measurement_counts_kept_files_once_and_as_they_reserved() {
    for layout in LAYOUTS {
        let device = Device::new();
        let spool = device.open(capped(layout));
        device.measure(&spool);
        let before = device.beside_ledger(&spool);
        let mut notes = Notes::begin(&device, &spool, "a");
        notes.room.reserve(3 * 4096).unwrap();
        for written in [0, 100, 4096, 3 * 4096 - 4196] {
            notes.write(written);
            device.measure(&spool);
            assert_eq!(device.beside_ledger(&spool), before + 3 * 4096, "{written} more");
        }
        device.assert_exact(&spool, "all is written");
        notes.remove(&device.disk);
        device.measure(&spool);
        assert_eq!(device.beside_ledger(&spool), before, "{layout:?}");
    }
}

#[test]
fn a_file_that_is_made_under_another_name_is_counted_once() {
    let device = Device::new();
    let spool = device.open(capped(Layout::Folder));
    device.measure(&spool);
    let before = device.beside_ledger(&spool);
    let path = Path::new(DIR).join("notes");
    let mut room = spool.room_for_file(&path, Lane::Normal);
    room.reserve(5_000).unwrap();
    device.disk.write_file(format!("{DIR}/notes.tmp"), &[b'x'; 5_000]).unwrap();
    device.measure(&spool);
    assert_eq!(device.beside_ledger(&spool), before + 8_192);
    device.disk.rename(Path::new(&format!("{DIR}/notes.tmp")), &path).unwrap();
    device.measure(&spool);
    assert_eq!(device.beside_ledger(&spool), before + 8_192);
}

#[test]
fn a_kept_file_whose_room_is_dropped_stays_counted() {
    let device = Device::new();
    let spool = device.open(capped(Layout::Folder));
    device.measure(&spool);
    let mut notes = Notes::begin(&device, &spool, "a");
    notes.append(10_000).unwrap();
    drop(notes);
    device.assert_exact(&spool, "at once");
    device.measure(&spool);
    device.assert_exact(&spool, "measured again");
}

#[test]
fn kept_files_leave_half_of_the_cap_to_records() {
    for layout in LAYOUTS {
        let device = Device::new();
        let spool = device.open(capped(layout));
        let mut files: Vec<Notes> =
            (0..5).map(|n| Notes::begin(&device, &spool, &n.to_string())).collect();
        let mut refused = [false; 5];
        while refused.contains(&false) {
            for (notes, refused) in files.iter_mut().zip(&mut refused) {
                if let Err(error) = notes.append(3_000) {
                    assert!(error.is_full(), "{error}");
                    assert!(error.to_string().contains("half of the spool's cap"), "{error}");
                    *refused = true;
                }
            }
        }
        let kept = device.bytes(|path| path.contains("/notes/"));
        assert!(kept <= CAP / 2 && kept > CAP / 2 - 4096 * 5, "{layout:?}: {kept}");
        // One after the other becomes a record.
        for (number, notes) in files.into_iter().enumerate() {
            let len = usize::try_from(notes.len).unwrap() - 100;
            spool.append(numbered(number as u64, len)).unwrap();
            notes.remove(&device.disk);
            assert!(device.bytes_under_the_cap() <= CAP, "{layout:?}");
        }
    }
}

/// Appends until the cap refuses, and says how many records there are.
fn fill(spool: &Spool) -> u64 {
    let mut number = 0;
    while spool.append(numbered(number, 3_000)).is_ok() {
        number += 1;
    }
    number
}

#[test]
fn what_was_delivered_gives_way_to_a_kept_file_and_what_waits_does_not() {
    for layout in LAYOUTS {
        let device = Device::new();
        let spool = device.open(capped(layout));
        let stored = fill(&spool);
        let mut notes = Notes::begin(&device, &spool, "a");
        let error = (0..20).find_map(|_| notes.append(4_096).err()).unwrap();
        assert_eq!(error.kind(), ErrorKind::Full, "{layout:?}: {error}");
        assert_eq!(numbers(&spool).len() as u64, stored, "{layout:?}");

        assert_eq!(deliver_all(&spool).len() as u64, stored);
        device.clock.advance(Duration::from_secs(2));
        for _ in 0..10 {
            notes.append(4_096).unwrap();
            assert!(device.bytes_under_the_cap() <= CAP, "{layout:?}");
        }
        assert!(numbers(&spool).len() < usize::try_from(stored).unwrap(), "{layout:?}");
    }
}

#[test]
fn what_waits_gives_way_to_a_kept_file_where_the_policy_lets_it() {
    for layout in LAYOUTS {
        let device = Device::new();
        let options = Options { when_full: WhenFull::DropLowestPriority, ..capped(layout) };
        let spool = device.open(options);
        for number in 0..10 {
            spool.append(numbered(number, 3_000).lane(Lane::High)).unwrap();
        }
        for number in 10..400 {
            let appended = spool.append(numbered(number, 3_000).lane(Lane::Low));
            assert!(appended.is_ok(), "{number}");
        }
        let mut notes = Notes::begin(&device, &spool, "a");
        for _ in 0..60 {
            notes.append(4_096).unwrap();
            assert!(device.bytes_under_the_cap() <= CAP, "{layout:?}");
        }
        let left = numbers(&spool);
        assert!((0..10).all(|number| left.contains(&number)), "{layout:?}");
        let books = spool.status().unwrap().books;
        assert!(books.evicted > 0 && books.balance(), "{layout:?}: {books:?}");
    }
}

#[test]
fn the_floor_of_free_space_refuses_a_kept_file() {
    let device = Device::new();
    let spool = device.open(options(Layout::Folder));
    let mut notes = Notes::begin(&device, &spool, "a");
    device.disk.set_capacity(device.disk.total_bytes() + 10_000_000 + 8_192, u64::MAX);
    notes.append(8_192).unwrap();
    let error = notes.append(1).unwrap_err();
    assert!(error.is_full() && error.to_string().contains("floor"), "{error}");
    device.disk.set_capacity(u64::MAX, u64::MAX);
    notes.append(1).unwrap();
}

#[test]
fn another_process_counts_kept_files_when_it_measures() {
    for layout in LAYOUTS {
        let device = Device::new();
        let (first, second) = (device.open(capped(layout)), device.open(capped(layout)));
        let mut notes = Notes::begin(&device, &first, "a");
        for _ in 0..40 {
            notes.append(4_096).unwrap();
        }
        // While others write, the folder is measured every two seconds.
        device.clock.advance(Duration::from_secs(2));
        second.maintain().unwrap();
        device.assert_exact(&second, "the second");
        first.maintain().unwrap();
        device.assert_exact(&first, "the first");
        notes.remove(&device.disk);
        device.assert_exact(&first, "the first, at once");
        device.clock.advance(Duration::from_secs(2));
        second.maintain().unwrap();
        device.assert_exact(&second, "the second, later");
    }
}

#[test]
fn files_of_a_dead_process_are_taken_over_and_counted_once() {
    for layout in LAYOUTS {
        let device = Device::new();
        let spool = device.open(capped(layout));
        let path = Path::new(DIR).join("notes/a");
        // Not seen by this process yet, or seen at another length.
        for seen in [None, Some(3_000)] {
            if let Some(len) = seen {
                device.disk.write_file(&path, &vec![b'x'; len]).unwrap();
                device.measure(&spool);
            }
            device.disk.write_file(&path, &[b'x'; 50_000]).unwrap();
            let rooms = spool.take_over_files(&[(path.as_path(), 50_000)]).unwrap();
            device.assert_exact(&spool, "taken over");
            device.measure(&spool);
            device.assert_exact(&spool, "measured");
            device.disk.remove(&path).unwrap();
            rooms.into_iter().for_each(FileRoom::give_back);
            device.assert_exact(&spool, "given back");
        }
    }
}

/// Files come, grow, stay and go in four threads while the folder is measured.
#[test]
fn the_count_is_exact_after_measurements_at_any_moment() {
    let device = Device::new();
    let spool = device.open(options(Layout::Folder));
    device.measure(&spool);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let (device, spool) = (&device, &spool);
                scope.spawn(move || {
                    let mut prng = Prng::new(worker);
                    for number in 0..400 {
                        let name = format!("{worker}-{number}");
                        let mut notes = Notes::begin(device, spool, &name);
                        for _ in 0..prng.below(6) {
                            notes.append(prng.index(9_000)).unwrap();
                        }
                        match prng.below(10) {
                            0 => drop(notes),
                            _ => notes.remove(&device.disk),
                        }
                    }
                })
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            device.measure(&spool);
        }
    });
    device.assert_exact(&spool, "in the end");
}
