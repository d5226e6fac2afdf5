//! What the model, the sweep of failing calls and the fuzzers found: each with the
//! least that shows it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{
    Flush, Limits, Options, RecordId, Settled, Spool, Standing, State, Ticket, Timestamp,
};
use backhaul_testkit::errno::EIO;
use backhaul_testkit::{
    Call, CrashStyle, Fault, Faults, FaultyDisk, ManualClock, Order, Prng, Scramble, SimDisk, Tear,
};

use crate::members::{bend_header, members};
use crate::support::{
    FORMS, LAYOUTS, Layout, number_of, numbered, numbers, open, open_at, options,
};

fn take(spool: &Spool) -> Vec<u64> {
    let mut taken = Vec::new();
    while let Some(batch) = spool.take(&Limits::default()).unwrap() {
        for offer in &batch.records {
            taken.push(number_of(&offer.record.body));
            spool.settle(&[(offer.record.id.position, Settled::new(State::Delivered))]).unwrap();
        }
    }
    taken
}

fn append(spool: &Spool, count: u64) -> Vec<RecordId> {
    (1..=count).map(|number| spool.append(numbered(number, 300)).unwrap()).collect()
}

fn settle(spool: &Spool, id: RecordId, settled: Settled) {
    spool.settle(&[(id.position, settled)]).unwrap();
}

fn failed(spool: &Spool) -> Vec<u64> {
    let mut failed = Vec::new();
    spool
        .each(Some(Standing::Failed), &mut |entry| {
            failed.push(entry.id.position.sequence.0);
            ControlFlow::Continue(())
        })
        .unwrap();
    failed
}

// --- Found by the model --------------------------------------------------------

#[test]
fn a_requeued_record_is_offered_after_reopening() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let spool = open(&disk, options(layout)).unwrap();
        let ids = append(&spool, 3);
        settle(&spool, ids[1], Settled::new(State::Rejected));
        assert!(spool.requeue(ids[1].position).unwrap());
        drop(spool);
        assert_eq!(take(&open(&disk, options(layout)).unwrap()), [1, 2, 3], "{layout:?}");
    }
}

#[test]
fn a_requeued_record_does_not_overtake_those_before_it() {
    for layout in LAYOUTS {
        let spool = open(&SimDisk::new(), options(layout)).unwrap();
        let ids = append(&spool, 3);
        settle(&spool, ids[2], Settled::new(State::Rejected));
        assert!(spool.requeue(ids[2].position).unwrap());
        assert_eq!(take(&spool), [1, 2, 3], "{layout:?}");
    }
}

#[test]
fn a_requeued_record_that_waits_holds_back_its_stream_after_reopening() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let spool = open(&disk, options(layout)).unwrap();
        let first = spool.append(numbered(1, 10).stream("s")).unwrap();
        spool.append(numbered(2, 10).stream("s")).unwrap();
        settle(&spool, first, Settled::new(State::Rejected));
        assert!(spool.requeue(first.position).unwrap());
        let later = Timestamp::parse("2026-01-01T01:00:00Z").unwrap();
        settle(&spool, first, Settled::new(State::Later).not_before(later));
        drop(spool);
        assert!(take(&open(&disk, options(layout)).unwrap()).is_empty(), "{layout:?}");
    }
}

#[test]
fn a_record_that_is_held_no_more_still_holds_back_its_stream_while_it_waits() {
    for layout in LAYOUTS {
        let spool = open(&SimDisk::new(), options(layout)).unwrap();
        let first = spool.append(numbered(1, 10).stream("s")).unwrap();
        spool.append(numbered(2, 10).stream("s")).unwrap();
        let batch = spool.take(&Limits::default()).unwrap().unwrap();
        let later = Timestamp::parse("2026-01-01T01:00:00Z").unwrap();
        settle(&spool, first, Settled::new(State::Later).not_before(later));
        settle(&spool, first, Settled::new(State::Held));
        drop(batch);
        assert!(spool.requeue(first.position).unwrap());
        assert!(take(&spool).is_empty(), "{layout:?}");
    }
}

#[test]
fn a_record_that_is_offered_again_belongs_to_its_newer_batch() {
    for layout in LAYOUTS {
        let spool = open(&SimDisk::new(), options(layout)).unwrap();
        append(&spool, 1);
        let old = spool.take(&Limits::default()).unwrap().unwrap();
        settle(&spool, old.records[0].record.id, Settled::new(State::Later));
        let new = spool.take(&Limits::default()).unwrap().unwrap();
        drop(old);
        assert!(spool.take(&Limits::default()).unwrap().is_none(), "{layout:?}: on offer twice");
        drop(new);
        assert_eq!(take(&spool), [1]);
    }
}

#[test]
fn a_flush_reaches_records_in_segments_that_were_closed_meanwhile() {
    let disk = SimDisk::new();
    let spool = open(&disk, options(Layout::Segments)).unwrap();
    let relaxed = Flush::Every(Duration::from_secs(1));
    for number in 1..=30 {
        spool.submit_with(numbered(number, 3_000), relaxed).and_then(Ticket::wait).unwrap();
    }
    spool.flush().unwrap();
    let image = disk.crash_image(&mut Prng::new(1), &CrashStyle::DROP_ALL);
    let spool = open(&image, options(Layout::Segments)).unwrap();
    assert_eq!(numbers(&spool), (1..=30).collect::<Vec<_>>());
}

#[test]
fn a_rejected_record_outlives_a_power_cut_between_two_folders() {
    let disk = SimDisk::new();
    let spool = open(&disk, options(Layout::Folder)).unwrap();
    let ids = append(&spool, 2);
    settle(&spool, ids[0], Settled::new(State::Rejected).reason("why"));
    // Makes the folder durable that the file has left.
    spool.append(numbered(3, 10)).unwrap();
    let image = disk.crash_image(&mut Prng::new(1), &CrashStyle::DROP_ALL);
    let spool = open(&image, options(Layout::Folder)).unwrap();
    assert_eq!(failed(&spool), [1]);
    assert_eq!(number_of(&spool.get(ids[0].position).unwrap().1.body), 1);
}

#[test]
fn settling_what_is_settled_moves_and_removes_no_file() {
    let spool = open(&SimDisk::new(), options(Layout::Folder)).unwrap();
    let id = append(&spool, 1)[0];
    settle(&spool, id, Settled::new(State::Rejected).reason("why"));
    for state in [State::Delivered, State::Expired, State::Superseded] {
        settle(&spool, id, Settled::new(state));
        assert_eq!(failed(&spool), [1], "{state:?}");
        assert!(spool.requeue(id.position).unwrap(), "{state:?}");
        settle(&spool, id, Settled::new(State::Rejected).reason("why"));
    }
}

#[test]
fn a_relaxed_record_keeps_its_stream_or_is_gone() {
    let disk = SimDisk::new();
    let spool = open(&disk, options(Layout::Folder)).unwrap();
    let record = numbered(1, 10).stream("s");
    spool.submit_with(record, Flush::Never).and_then(Ticket::wait).unwrap();
    spool.append(numbered(2, 10)).unwrap();
    for seed in 0..50 {
        let mut random = Prng::new(seed);
        let image = disk.crash_image(&mut random, &CrashStyle { keep: 1.0, ..CrashStyle::WORST });
        let spool = open(&image, options(Layout::Folder)).unwrap();
        spool
            .each(None, &mut |entry| {
                let is_first = entry.id.position.sequence.0 == 1;
                assert_eq!(entry.facts.stream.as_deref(), is_first.then_some("s"), "seed {seed}");
                ControlFlow::Continue(())
            })
            .unwrap();
    }
}

#[test]
fn a_garbled_ledger_page_takes_nothing_that_was_flushed() {
    let disk = SimDisk::new();
    let spool = open(&disk, options(Layout::Segments)).unwrap();
    let ids = append(&spool, 3);
    // Flushed, for the record would come back; then something that is not.
    settle(&spool, ids[0], Settled::new(State::Dropped));
    settle(&spool, ids[1], Settled::new(State::Delivered));
    let style = CrashStyle {
        keep: 0.0,
        tear: 1.0,
        tear_at: Tear::Page,
        order: Order::Issued,
        scramble: Scramble::Page,
        ..CrashStyle::DROP_ALL
    };
    for seed in 0..20 {
        let image = disk.crash_image(&mut Prng::new(seed), &style);
        let spool = open(&image, options(Layout::Segments)).unwrap();
        assert_eq!(spool.status().unwrap().books.dropped, 1, "seed {seed}");
        let after = spool.append(numbered(4, 10)).unwrap();
        assert_eq!(after.epoch, ids[0].epoch, "seed {seed}: the ledger counted as lost");
    }
}

#[test]
fn what_a_killed_process_settled_is_made_durable_at_the_next_open() {
    let disk = SimDisk::new();
    let spool = open(&disk, options(Layout::Segments)).unwrap();
    let ids = append(&spool, 2);
    settle(&spool, ids[0], Settled::new(State::Delivered));
    disk.kill_process();
    std::mem::forget(spool);
    drop(open(&disk, options(Layout::Segments)).unwrap());
    let image = disk.crash_image(&mut Prng::new(1), &CrashStyle::DROP_ALL);
    assert_eq!(take(&open(&image, options(Layout::Segments)).unwrap()), [2]);
}

// --- Found by failing calls ------------------------------------------------------

/// A spool whose next calls of one kind fail, `passing` of them later.
fn with_fault(layout: Layout, call: Call, passing: u64) -> (SimDisk, Faults, Spool) {
    let (disk, faults) = (SimDisk::new(), Faults::new());
    let faulty = FaultyDisk::new(disk.clone(), faults.clone());
    let spool = open_at(Arc::new(faulty), options(layout), &ManualClock::new()).unwrap();
    faults.add(Fault::new(call, EIO).after(passing).times(1));
    (disk, faults, spool)
}

#[test]
fn a_segment_whose_name_was_not_made_durable_hides_no_other() {
    let (disk, _, spool) = with_fault(Layout::Segments, Call::SyncDir, 0);
    spool.append(numbered(1, 300)).unwrap_err();
    let numbers_appended: Vec<u64> = (2..=30).collect();
    for number in &numbers_appended {
        spool.append(numbered(*number, 3_000)).unwrap();
    }
    drop(spool);
    let spool = open(&disk, options(Layout::Segments)).unwrap();
    assert_eq!(numbers(&spool), numbers_appended);
}

#[test]
fn a_sealed_segment_whose_name_was_not_made_durable_is_read_on() {
    let (_, faults, spool) = with_fault(Layout::Segments, Call::SyncDir, u64::MAX);
    append(&spool, 3);
    for number in 4..=30 {
        spool.append(numbered(number, 3_000)).unwrap();
    }
    faults.clear();
    faults.add(Fault::new(Call::SyncDir, EIO).times(1));
    let _ = spool.maintain();
    assert_eq!(take(&spool), (1..=30).collect::<Vec<_>>());
    assert_eq!(spool.status().unwrap().books.damaged, 0);
}

// --- Found by the fuzzers ----------------------------------------------------------

#[test]
fn digits_in_an_older_queues_names_are_no_sequence() {
    let disk = SimDisk::new();
    let names = [
        "2024-01-15T10:30:00_20240115_run.json",
        "2024-01-15T10-30-00Z_18446744073709551615_run.json",
        "export_20240115_runs.json",
    ];
    for name in names {
        disk.write_file(format!("/spool/pending/{name}"), b"{\"n\":1}").unwrap();
    }
    let spool = open(&disk, options(Layout::Folder)).unwrap();
    let id = spool.append(numbered(2, 10)).unwrap();
    assert_eq!(id.position.sequence.0, 4);
    let books = spool.status().unwrap().books;
    assert_eq!((books.accepted, books.pending, books.void), (4, 4, 0));
    assert_eq!(take(&spool), [1, 1, 1, 2]);
}

#[test]
fn two_files_under_one_number_are_two_records() {
    let disk = SimDisk::new();
    let spool = open(&disk, options(Layout::Folder)).unwrap();
    append(&spool, 2);
    // Copied from another spool, by hand, while this one is open.
    let copied = "/spool/pending/2024-01-15T10-30-00Z_000001_from_elsewhere.json";
    disk.write_file(copied, b"{\"n\":7}").unwrap();
    assert_eq!(take(&spool), [1, 2, 7]);
    drop(spool);
    let copied = "/spool/pending/2025-01-15T10-30-00Z_000002_from_elsewhere.json";
    disk.write_file(copied, b"{\"n\":8}").unwrap();
    let spool = open(&disk, options(Layout::Folder)).unwrap();
    assert_eq!(take(&spool), [8]);
    assert_eq!(spool.status().unwrap().books.delivered, 4);
}

#[test]
fn a_ledger_with_impossible_numbers_counts_as_damaged() {
    let disk = SimDisk::new();
    let spool = open(&disk, options(Layout::Segments)).unwrap();
    append(&spool, 3);
    drop(spool);
    let is_ledger = |path: &std::path::PathBuf| path.to_string_lossy().contains("/ledger-");
    let path = disk.paths().into_iter().find(is_ledger).unwrap();
    let huge = u64::MAX;
    let content = format!(
        r#"{{"snapshot":{{"default":{{"normal":{{"base":1,"floor":4,"settled":{{"6":{huge}}},"counts":{{}}}}}}}}"#
    );
    let crc = crc32fast::hash(content.as_bytes());
    disk.write_file(&path, format!("{content},\"crc\":\"{crc:08x}\"}}\n").as_bytes()).unwrap();
    let spool = open(&disk, options(Layout::Segments)).unwrap();
    let status = spool.status().unwrap();
    assert!(status.books.balance() && status.damaged_ledger_lines == 1, "{status:?}");
    assert_eq!(take(&spool), [1, 2, 3]);
}

#[test]
fn a_segment_that_claims_to_begin_later_than_it_ends_is_read_all_the_same() {
    for form in FORMS {
        let disk = SimDisk::new();
        let spool = open(&disk, options(form)).unwrap();
        for number in 1..=30 {
            spool.append(numbered(number, 3_000)).unwrap();
        }
        drop(spool);
        let is_segment = |path: &std::path::PathBuf| crate::support::is_segment(path);
        for path in disk.paths().into_iter().filter(is_segment) {
            let sound = disk.read_file(&path).unwrap();
            assert!(members(&sound).len() > 1);
            for first in [0, 3, 1_000, u64::MAX] {
                let mut bytes = sound.clone();
                bend_header(&mut bytes, 0, 44, &u64::to_le_bytes(first));
                let image = disk.crash_image(&mut Prng::new(1), &CrashStyle::KEEP_ALL);
                image.write_file(&path, &bytes).unwrap();
                let options = Options { max_bytes: None, ..options(form) };
                if let Ok(spool) = open(&image, options) {
                    take(&spool);
                    let _ = spool.maintain();
                    let _ = spool.append(numbered(99, 10));
                }
            }
        }
    }
}
