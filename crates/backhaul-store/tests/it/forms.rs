//! The two forms of segments: which one a file gets, and that neither promises less.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{Options, RecordId, Spool};
use backhaul_testkit::{Call, Faults, FaultyDisk, ManualClock, SimDisk};

use crate::members::{Kind, members};
use crate::support::{
    FORMS, Layout, deliver_all, is_of_form, is_segment, number_of, numbered, numbers, open,
    open_at, options,
};

/// The segments of a disk, in the order of their names.
fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let mut files: Vec<_> = disk.paths().into_iter().filter(|path| is_segment(path)).collect();
    files.sort();
    files
}

fn kinds(disk: &SimDisk, path: &PathBuf) -> Vec<Kind> {
    members(&disk.read_file(path).unwrap()).iter().map(|member| member.kind).collect()
}

/// Numbers of the records that can be read, whatever became of them.
fn readable(spool: &Spool) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    spool
        .each_from(&BTreeMap::new(), &mut |record| {
            assert!(found.insert(number_of(&record.body)));
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

#[test]
fn a_spool_that_is_opened_in_the_other_form_goes_on_in_files_of_that_form() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new());
    let mut names: Vec<RecordId> = Vec::new();
    for (round, form) in [FORMS, FORMS].concat().into_iter().enumerate() {
        let first = 10 * round as u64;
        let spool = open_at(Arc::new(disk.clone()), options(form), &clock).unwrap();
        names.extend((first..first + 3).map(|n| spool.append(numbered(n, 300)).unwrap()));
        let newest = segments(&disk).pop().unwrap();
        assert!(is_of_form(&newest, form), "{newest:?} in round {round}");
        // What stands in the other form is sealed in it, and stays.
        clock.advance(Duration::from_secs(11));
        (0..4).for_each(|_| spool.maintain().unwrap());
    }
    let sequences: Vec<u64> = names.iter().map(|id| id.position.sequence.0).collect();
    assert_eq!(sequences, (1..=12).collect::<Vec<_>>());
    let files = segments(&disk);
    assert_eq!(files.iter().filter(|path| is_of_form(path, Layout::Plain)).count(), 2);
    assert_eq!(files.iter().filter(|path| is_of_form(path, Layout::Segments)).count(), 2);
    assert!(files[..3].iter().all(|path| kinds(&disk, path).contains(&Kind::Index)));
    let expected: Vec<u64> = (0..4).flat_map(|round| (0..3).map(move |n| 10 * round + n)).collect();
    let spool = open_at(Arc::new(disk.clone()), options(Layout::Plain), &clock).unwrap();
    assert_eq!(numbers(&spool), expected);
    assert_eq!(deliver_all(&spool), expected);
    drop(spool);
    let spool = open_at(Arc::new(disk.clone()), options(Layout::Plain), &clock).unwrap();
    spool.maintain().unwrap();
    let synced = |suffix: &str| {
        let is_it = |path: &&PathBuf| path.to_string_lossy().ends_with(suffix);
        segments(&disk).iter().filter(is_it).count()
    };
    // The newest file takes more records.
    assert_eq!((synced(".synced.jsonl.gz"), synced(".synced.jsonl")), (2, 1));
    assert_eq!(readable(&spool).into_iter().collect::<Vec<_>>(), expected);
}

/// A sealed segment of three full members, and the open one behind it.
fn sealed(form: Layout) -> (SimDisk, Options) {
    let disk = SimDisk::new();
    let options = Options { segment_bytes: 512 << 10, ..options(form) };
    let spool = open(&disk, options.clone()).unwrap();
    for first in (0..768).step_by(8) {
        let tickets: Vec<_> =
            (first..first + 8).map(|n| spool.submit(numbered(n, 60)).unwrap()).collect();
        tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    }
    // Another segment, so that the first is closed.
    spool.append(numbered(1_000, 500_000)).unwrap();
    (0..3).for_each(|_| spool.maintain().unwrap());
    drop(spool);
    let file = kinds(&disk, &segments(&disk)[0]);
    assert_eq!(file, [Kind::Head, Kind::Data, Kind::Data, Kind::Data, Kind::Index]);
    (disk, options)
}

#[test]
fn a_damaged_byte_of_a_sealed_file_costs_one_member_at_most_wherever_it_is() {
    for form in FORMS {
        let (disk, options) = sealed(form);
        let path = segments(&disk).remove(0);
        let sound = disk.read_file(&path).unwrap();
        let all: BTreeSet<u64> = (0..768).chain([1_000]).collect();
        let (mut harmless, mut costly) = (0, 0);
        for at in (0..sound.len()).step_by(sound.len() / 150) {
            let mut bytes = sound.clone();
            bytes[at] ^= 0x15;
            disk.write_file(&path, &bytes).unwrap();
            let spool = open(&disk, Options { max_bytes: None, ..options.clone() }).unwrap();
            let lost: Vec<u64> = all.difference(&readable(&spool)).copied().collect();
            let is_member = |lost: &[u64]| lost.len() == 256 && lost[0].is_multiple_of(256);
            assert!(lost.is_empty() || is_member(&lost), "{form:?}, byte {at}: {lost:?}");
            if lost.is_empty() { harmless += 1 } else { costly += 1 }
        }
        assert!(harmless > 1 && costly > 100, "{form:?}: {harmless} harmless, {costly} costly");
    }
}

#[test]
fn one_record_of_a_sealed_file_is_found_by_the_index_in_both_forms() {
    for form in FORMS {
        let (disk, options) = sealed(form);
        let faults = Faults::new();
        let faulty = FaultyDisk::new(disk, faults.clone());
        let spool = open_at(Arc::new(faulty), options, &ManualClock::new()).unwrap();
        let position = spool.take(&backhaul_store::Limits::default()).unwrap().unwrap().records[0]
            .record
            .id
            .position;
        let before = faults.calls(Call::Read);
        for sequence in [700, 3, 500] {
            let sequence = backhaul_store::Sequence(sequence);
            let wanted = backhaul_store::Position { sequence, ..position };
            let (_, record) = spool.get(wanted).unwrap();
            assert_eq!(number_of(&record.body), sequence.0 - 1);
        }
        let reads = faults.calls(Call::Read) - before;
        // The head, the end of the index, the index, a window with the member.
        assert!(reads <= 3 * 5, "{form:?}: {reads} reads for three records");
    }
}

#[test]
fn a_plain_member_whose_padding_is_damaged_counts_unless_it_may_have_been_torn() {
    for victim in [1, 2] {
        let disk = SimDisk::new();
        let spool = open(&disk, options(Layout::Plain)).unwrap();
        let ids: Vec<_> = (0..3).map(|n| spool.append(numbered(n, 300)).unwrap()).collect();
        drop(spool);
        let path = segments(&disk).remove(0);
        let file = disk.read_file(&path).unwrap();
        let member = members(&file)[1 + victim];
        assert_eq!((member.kind, member.len), (Kind::Data, 4096));
        // In the middle of the page there is nothing but spaces.
        disk.flip_bit(&path, member.offset as u64 + 1_000, 0x80).unwrap();
        let spool = open(&disk, options(Layout::Plain)).unwrap();
        // Only the newest commit may have been cut short.
        let is_last = victim == 2;
        let expected: Vec<u64> = if is_last { vec![0, 1] } else { vec![0, 1, 2] };
        assert_eq!(numbers(&spool), expected);
        let books = spool.status().unwrap().books;
        assert_eq!((books.accepted, books.damaged), (3, u64::from(is_last)));
        let next = spool.append(numbered(3, 300)).unwrap();
        assert!(!ids.contains(&next), "{next} was given away before");
        // Sealing leaves the padding out.
        spool.append(numbered(4, 40_000)).unwrap();
        (0..4).for_each(|_| spool.maintain().unwrap());
        let sealed = disk.read_file(&path).unwrap();
        assert!(kinds(&disk, &path).contains(&Kind::Index) && sealed.is_ascii());
    }
}
