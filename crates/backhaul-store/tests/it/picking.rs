//! Single records, in any order, from wherever they stand.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{Options, Picker, Position, Spool, StoredRecord};
use backhaul_testkit::{Call, Faults, FaultyDisk, ManualClock, SimDisk};

use crate::support::{DIR, FORMS, LAYOUTS, Layout, is_segment, numbered, open, open_at, options};

/// What can be read of a spool in order.
fn in_order(spool: &Spool) -> Vec<StoredRecord> {
    let mut records = Vec::new();
    spool
        .each_from(&BTreeMap::new(), &mut |record| {
            records.push(record);
            ControlFlow::Continue(())
        })
        .unwrap();
    records
}

/// Each record is the one that is read in order, whichever was read before.
#[track_caller]
fn each_is_found(spool: &Spool, picker: &mut Picker, count: usize) {
    let records = in_order(spool);
    assert_eq!(records.len(), count);
    for step in [1, 7, 31] {
        for at in 0..count {
            let record = &records[at * step % count];
            assert_eq!(picker.get(record.id.position).unwrap().as_ref(), Some(record));
        }
    }
}

fn append(spool: &Spool, numbers: std::ops::Range<u64>) {
    let tickets: Vec<_> = numbers.map(|n| spool.submit(numbered(n, 300)).unwrap()).collect();
    tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
}

#[test]
fn records_are_found_while_their_file_grows_when_it_is_sealed_and_in_a_later_process() {
    for layout in LAYOUTS {
        let (disk, clock) = (SimDisk::new(), ManualClock::new());
        let spool = open_at(Arc::new(disk.clone()), options(layout), &clock).unwrap();
        // No more than one member stays in memory.
        let mut pickers = [spool.picker(0), spool.picker(1 << 20)];
        for round in 1..=4 {
            append(&spool, 100 * (round - 1)..100 * round);
            for picker in &mut pickers {
                each_is_found(&spool, picker, usize::try_from(100 * round).unwrap());
            }
        }
        clock.advance(Duration::from_secs(3_600));
        (0..4).for_each(|_| spool.maintain().unwrap());
        append(&spool, 400..401);
        pickers.iter_mut().for_each(|picker| each_is_found(&spool, picker, 401));
        drop((pickers, spool));
        let spool = Spool::open_read_only_on(DIR, Arc::new(disk), Arc::new(clock)).unwrap();
        each_is_found(&spool, &mut spool.picker(1 << 20), 401);
    }
}

#[test]
fn what_is_not_there_is_nothing_and_no_error() {
    for layout in LAYOUTS {
        let spool = open(&SimDisk::new(), options(layout)).unwrap();
        append(&spool, 0..3);
        let mut picker = spool.picker(1 << 20);
        for place in ["normal/4", "critical/1", "normal.7/1"] {
            let position: Position = place.parse().unwrap();
            assert_eq!(picker.get(position).unwrap(), None, "{place}");
        }
    }
}

#[test]
fn damage_takes_what_it_takes_from_those_who_read_in_order() {
    for form in FORMS {
        let disk = SimDisk::new();
        let spool = open(&disk, options(form)).unwrap();
        (0..9).for_each(|n| append(&spool, 20 * n..20 * n + 20));
        let all = in_order(&spool);
        drop(spool);
        let path = disk.paths().into_iter().find(|path| is_segment(path)).unwrap();
        let sound = disk.read_file(&path).unwrap();
        let mut lost = 0;
        for at in (4_096..sound.len()).step_by(1_777) {
            let mut bytes = sound.clone();
            bytes[at] ^= 0x20;
            disk.write_file(&path, &bytes).unwrap();
            let spool = open(&disk, options(form)).unwrap();
            let left = in_order(&spool);
            lost += all.len() - left.len();
            let mut picker = spool.picker(1 << 20);
            for record in &all {
                let found = picker.get(record.id.position).unwrap();
                assert_eq!(found.as_ref(), left.iter().find(|one| one.id == record.id));
            }
        }
        assert!(lost > 20, "{form:?}: {lost}");
    }
}

#[test]
fn records_of_one_member_are_read_once() {
    let faults = Faults::new();
    let disk = FaultyDisk::new(SimDisk::new(), faults.clone());
    let options = Options { segment_bytes: 1 << 20, ..options(Layout::Segments) };
    let spool = open_at(Arc::new(disk), options, &ManualClock::new()).unwrap();
    append(&spool, 0..60);
    let mut picker = spool.picker(1 << 20);
    let reads = |picker: &mut Picker, sequences: std::ops::RangeInclusive<u64>| {
        let before = faults.calls(Call::Read);
        for sequence in sequences {
            assert!(picker.get(format!("normal/{sequence}").parse().unwrap()).unwrap().is_some());
        }
        faults.calls(Call::Read) - before
    };
    reads(&mut picker, 1..=60);
    assert_eq!(reads(&mut picker, 1..=60), 0);
}
