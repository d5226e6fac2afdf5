//! Damage is found to the record, and mended.

use std::collections::BTreeSet;
use std::path::PathBuf;

use backhaul_store::{Examination, Lane, Limits, Record, Settled, Spool, State};
use backhaul_testkit::{Prng, SimDisk};

use crate::support::{
    DIR, FORMS, LAYOUTS, Layout, deliver, is_segment, number_of, numbered, numbers, open, options,
};

fn examine(spool: &Spool) -> Examination {
    spool.examine(&mut |_| {}).unwrap()
}

/// A spool at rest of some sealed segments and an open one, some of it delivered.
fn at_rest(disk: &SimDisk, layout: Layout, count: u64) {
    let spool = open(disk, options(layout)).unwrap();
    for number in 0..count {
        let lane = if number % 7 == 0 { Lane::Critical } else { Lane::Normal };
        spool.append(numbered(number, 200).lane(lane)).unwrap();
    }
    deliver(&spool, &Limits { records: 20, ..Limits::default() }).unwrap();
    spool.maintain().unwrap();
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let paths = disk.paths().into_iter();
    paths.filter(|path| path.parent() == Some(DIR.as_ref()) && is_segment(path)).collect()
}

#[test]
fn a_sound_spool_has_no_findings_live_and_at_rest() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        at_rest(&disk, layout, 200);
        let spool = open(&disk, options(layout)).unwrap();
        assert_eq!(examine(&spool).findings, [], "{layout:?}");
        for number in 200..230 {
            spool.append(numbered(number, 50)).unwrap();
            assert_eq!(examine(&spool).findings, [], "{layout:?}");
        }
        let looking = Spool::open_read_only_on(
            DIR,
            std::sync::Arc::new(disk.clone()),
            std::sync::Arc::new(backhaul_testkit::ManualClock::new()),
        );
        let found = examine(&looking.unwrap());
        assert_eq!(found.findings, [], "{layout:?}");
        assert!(found.records >= 210 && found.files > 1 && found.bytes > 10_000, "{found:?}");
    }
}

#[test]
fn one_flipped_bit_anywhere_is_found_and_repaired_and_costs_what_it_said() {
    for layout in FORMS {
        let clean = SimDisk::new();
        at_rest(&clean, layout, 300);
        let files = segments(&clean);
        let mut random = Prng::new(3);
        let (mut damaged, mut costly) = (0, 0);
        for case in 0..150 {
            let disk = copy(&clean);
            let path = random.pick(&files).clone();
            let len = disk.read_file(&path).unwrap().len();
            let offset = random.below(len as u64);
            disk.flip_bit(&path, offset, 1 << random.index(8)).unwrap();
            let before = waiting(&clean);
            let looking = read_only(&disk);
            let found = examine(&looking);
            drop(looking);
            let lost: u64 = found.findings.iter().map(|one| one.lost).sum();
            let spool = open(&disk, options(layout)).unwrap();
            let left = spool.repair().unwrap();
            assert_eq!(left.findings, [], "{layout:?} {case}: {} at {offset}", path.display());
            let after: BTreeSet<u64> = numbers(&spool).into_iter().collect();
            let missing = before.difference(&after).count() as u64;
            damaged += u64::from(!found.findings.is_empty());
            costly += u64::from(lost > 0);
            assert!(missing <= 64, "{layout:?} {case}: {missing} are gone");
            assert!(spool.books().unwrap().balance());
            // What is torn off the end of the last commit is told as such.
            let is_torn = found.findings.iter().any(|one| one.expected == "free pages");
            assert!(is_torn || missing == lost, "{layout:?} {case}: {missing} of {found:?}");
        }
        assert!(damaged > 15 && costly > 10, "{layout:?}: {damaged}, {costly}");
    }
}

#[test]
fn damage_under_the_pen_is_mended_and_appending_goes_on() {
    for layout in FORMS {
        let disk = SimDisk::new();
        let spool = open(&disk, options(layout)).unwrap();
        (0..5).for_each(|number| _ = spool.append(numbered(number, 3_000)).unwrap());
        let [file] = segments(&disk).try_into().unwrap();
        let bytes = disk.read_file(&file).unwrap();
        let offset = match layout {
            Layout::Plain => bytes.windows(8).position(|it| it == b"\"run_2\",").unwrap(),
            _ => 3 * 4_096 + 1_000,
        };
        disk.flip_bit(&file, offset as u64, 1).unwrap();
        let found = examine(&spool);
        let [finding] = found.findings.as_slice() else { panic!("{layout:?}: {found:?}") };
        assert_eq!(finding.lost, 1);
        assert_eq!(spool.repair().unwrap().findings, [], "{layout:?}");
        spool.append(numbered(5, 100)).unwrap();
        assert_eq!(numbers(&spool).len(), 5);
        let books = spool.books().unwrap();
        assert_eq!((books.accepted, books.damaged, books.pending), (6, 1, 5));
        let quarantine = |path: &PathBuf| path.to_string_lossy().contains("quarantine");
        assert!(disk.paths().iter().any(quarantine));
    }
}

fn copy(disk: &SimDisk) -> SimDisk {
    let copy = SimDisk::new();
    for path in disk.paths() {
        backhaul_store::Disk::create_dir_all(&copy, path.parent().unwrap()).unwrap();
        copy.write_file(&path, &disk.read_file(&path).unwrap()).unwrap();
    }
    copy
}

fn read_only(disk: &SimDisk) -> Spool {
    let clock = std::sync::Arc::new(backhaul_testkit::ManualClock::new());
    Spool::open_read_only_on(DIR, std::sync::Arc::new(disk.clone()), clock).unwrap()
}

/// Numbers of the records that wait.
fn waiting(disk: &SimDisk) -> BTreeSet<u64> {
    let spool = read_only(disk);
    let mut waiting = BTreeSet::new();
    spool
        .each_carried(&mut |one| {
            waiting.insert(number_of(&one.record.body));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    waiting
}

#[test]
fn a_file_that_is_gone_is_missed_by_as_many_records_as_waited_in_it() {
    for layout in FORMS {
        let disk = SimDisk::new();
        at_rest(&disk, layout, 300);
        let middle = segments(&disk).into_iter().nth(1).unwrap();
        let before = waiting(&disk);
        backhaul_store::Disk::remove(&disk, &middle).unwrap();
        let found = examine(&read_only(&disk));
        let lost: u64 = found.findings.iter().map(|one| one.lost).sum();
        assert_eq!(lost, before.len() as u64 - waiting(&disk).len() as u64, "{layout:?}");
        let spool = open(&disk, options(layout)).unwrap();
        assert_eq!(spool.repair().unwrap().findings, []);
        assert_eq!(spool.books().unwrap().damaged, lost);
    }
}

#[test]
fn record_files_that_hold_something_else_are_named() {
    let disk = SimDisk::new();
    at_rest(&disk, Layout::Folder, 40);
    let pending = |path: &PathBuf| path.to_string_lossy().contains("/pending/");
    let victim = disk.paths().into_iter().find(pending).unwrap();
    disk.write_file(&victim, b"{\"run_id\": ").unwrap();
    let found = examine(&read_only(&disk));
    let [finding] = found.findings.as_slice() else { panic!("{found:?}") };
    assert!(victim.ends_with(&finding.path) && finding.lost == 1, "{finding:?}");
    let spool = open(&disk, options(Layout::Folder)).unwrap();
    assert_eq!(spool.repair().unwrap().findings, []);
    let books = spool.books().unwrap();
    assert!(books.balance() && books.damaged == 1, "{books:?}");
}

#[test]
fn attachments_that_are_gone_or_changed_are_named_and_ledgers_begun_anew() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let spool = open(&disk, options(layout)).unwrap();
        for number in 0..2_u8 {
            let image = spool.attach(&[number; 5_000]).unwrap();
            let record = Record::new("run", b"{}".to_vec()).attachment(image.digest());
            spool.append(record).unwrap();
        }
        let delivered = Settled::new(State::Held);
        let batch = spool.take(&Limits::default()).unwrap().unwrap();
        spool.settle_durably(&[(batch.records[0].record.id.position, delivered)]).unwrap();
        drop((batch, spool));
        let attached = |path: &PathBuf| path.to_string_lossy().contains("/attachments/");
        let mut files = disk.paths().into_iter().filter(attached);
        disk.flip_bit(files.next().unwrap(), 100, 1).unwrap();
        backhaul_store::Disk::remove(&disk, &files.next().unwrap()).unwrap();
        let ledger =
            disk.paths().into_iter().rfind(|path| path.to_string_lossy().contains("/ledger-"));
        let ledger = ledger.unwrap();
        let text = disk.read_file(&ledger).unwrap();
        let last = text.windows(7).rposition(|it| it == b"\"entry\"").unwrap();
        disk.flip_bit(&ledger, last as u64, 1).unwrap();
        let found = examine(&read_only(&disk));
        assert_eq!(found.findings.len(), 3, "{layout:?}: {found:?}");
        let spool = open(&disk, options(layout)).unwrap();
        let left = spool.repair().unwrap();
        assert_eq!(left.findings.len(), 2, "{layout:?}: {left:?}");
        assert!(left.findings.iter().all(|one| one.remedy.is_none()));
    }
}
