//! What an operator does to all records of a kind: the same as one by one, at less cost.

use std::ops::ControlFlow;
use std::sync::Arc;

use backhaul_store::{Books, ErrorKind, Limits, Position, Settled, Spool, Standing, State};
use backhaul_testkit::{Call, Faults, FaultyDisk, ManualClock, SimDisk};

use crate::support::{LAYOUTS, Layout, deliver_all, numbered, numbers, open, open_at, options};

const COUNT: u64 = 250;

/// Delivered, rejected, put off, held and never looked at.
fn mixed(spool: &Spool) {
    for number in 0..COUNT {
        spool.append(numbered(number, 20)).unwrap();
    }
    let batch =
        spool.take(&Limits { records: 200, bytes: 1 << 20, ..Limits::default() }).unwrap().unwrap();
    let fate = |index: usize| match index % 4 {
        0 => Settled::new(State::Delivered),
        1 => Settled::new(State::Rejected).reason("told so"),
        2 => Settled::new(State::Later).reason("busy"),
        _ => Settled::new(State::Held).reason("asked to"),
    };
    let positions = batch.records.iter().map(|offer| offer.record.id.position);
    let settled: Vec<_> =
        positions.enumerate().map(|(at, position)| (position, fate(at))).collect();
    spool.settle(&settled).unwrap();
}

fn positions(spool: &Spool, standing: Standing) -> Vec<Position> {
    let mut positions = Vec::new();
    let visit = &mut |entry: backhaul_store::QueueEntry| {
        positions.push(entry.id.position);
        ControlFlow::Continue(())
    };
    spool.each(Some(standing), visit).unwrap();
    positions
}

#[derive(Debug, PartialEq)]
struct Stand {
    books: Books,
    pending: Vec<Position>,
    failed: Vec<Position>,
}

/// How the spool stands, also after another opening, and what is sent then.
fn outcome(disk: &SimDisk, spool: Spool) -> (Vec<Stand>, Vec<u64>) {
    let layout = Layout::of(&spool);
    let look = |spool: &Spool| {
        let books = spool.status().unwrap().books;
        assert!(books.balance());
        let stand = |standing| positions(spool, standing);
        Stand { books, pending: stand(Standing::Pending), failed: stand(Standing::Failed) }
    };
    let before = look(&spool);
    drop(spool);
    let spool = open(disk, options(layout)).unwrap();
    (vec![before, look(&spool)], deliver_all(&spool))
}

#[test]
fn dropping_all_does_what_dropping_each_does() {
    for layout in LAYOUTS {
        for standing in [Standing::Pending, Standing::Failed, Standing::Settled] {
            let disks = [SimDisk::new(), SimDisk::new()];
            let [together, each] = disks.clone().map(|disk| {
                let spool = open(&disk, options(layout)).unwrap();
                mixed(&spool);
                spool
            });
            let mut expected = 0;
            let chosen =
                if standing == Standing::Settled { vec![] } else { positions(&each, standing) };
            for position in chosen {
                let dropped = Settled::new(State::Dropped).reason("by hand");
                each.settle(&[(position, dropped)]).unwrap();
                expected += 1;
            }
            assert_eq!(together.drop_all(standing, "by hand").unwrap(), expected);
            let [first, second] = &disks;
            assert_eq!(outcome(first, together), outcome(second, each), "{layout:?} {standing:?}");
        }
    }
}

#[test]
fn requeueing_all_does_what_requeueing_each_does() {
    for layout in LAYOUTS {
        let disks = [SimDisk::new(), SimDisk::new()];
        let [together, each] = disks.clone().map(|disk| {
            let spool = open(&disk, options(layout)).unwrap();
            mixed(&spool);
            spool
        });
        for position in positions(&each, Standing::Failed) {
            assert!(each.requeue(position).unwrap());
        }
        assert_eq!(together.requeue_all().unwrap(), 50, "{layout:?}");
        assert_eq!(together.requeue_all().unwrap(), 0, "{layout:?}");
        let [first, second] = &disks;
        assert_eq!(outcome(first, together), outcome(second, each), "{layout:?}");
    }
}

#[test]
fn requeued_records_are_offered_again_without_another_opening() {
    for layout in LAYOUTS {
        let spool = open(&SimDisk::new(), options(layout)).unwrap();
        for number in 0..COUNT {
            spool.append(numbered(number, 20)).unwrap();
        }
        while let Some(batch) = spool.take(&Limits::default()).unwrap() {
            let rejected = Settled::new(State::Rejected).reason("told so");
            let positions = batch.records.iter().map(|offer| offer.record.id.position);
            let settled: Vec<_> = positions.map(|position| (position, rejected.clone())).collect();
            spool.settle(&settled).unwrap();
        }
        assert_eq!(spool.requeue_all().unwrap(), COUNT, "{layout:?}");
        assert_eq!(deliver_all(&spool), (0..COUNT).collect::<Vec<_>>(), "{layout:?}");
    }
}

#[test]
fn many_records_share_a_flush_of_the_ledger() {
    for layout in LAYOUTS {
        let faults = Faults::new();
        let disk = Arc::new(FaultyDisk::new(SimDisk::new(), faults.clone()));
        let spool = open_at(disk, options(layout), &ManualClock::new()).unwrap();
        for number in 0..COUNT {
            spool.append(numbered(number, 20)).unwrap();
        }
        let before = faults.calls(Call::Flush);
        let reads_before = faults.calls(Call::Read);
        assert_eq!(spool.drop_all(Standing::Pending, "by hand").unwrap(), COUNT);
        let flushes = faults.calls(Call::Flush) - before;
        assert!(flushes <= COUNT / 50, "{layout:?}: {flushes} flushes");
        let reads = faults.calls(Call::Read) - reads_before;
        assert!(reads < COUNT * 2, "{layout:?}: {reads} reads");
        if layout == Layout::Folder {
            assert!(numbers(&spool).is_empty());
        }
    }
}

#[test]
fn all_is_left_to_the_process_that_delivers() {
    let disk = SimDisk::new();
    let first = open(&disk, options(Layout::Folder)).unwrap();
    let second = open(&disk, options(Layout::Folder)).unwrap();
    assert_eq!(second.drop_all(Standing::Pending, "by hand").unwrap(), 0, "there is none");
    mixed(&first);
    let error = second.drop_all(Standing::Pending, "by hand").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert_eq!(second.requeue_all().unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(first.status().unwrap().books.dropped, 0);
}
