use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{ErrorKind, Lane, Limits, Options, Settled, State, Timestamp, WhenFull};
use backhaul_testkit::{ManualClock, SimDisk};

use crate::support::{
    LAYOUTS, Layout, deliver_all, number_of, numbered, numbers, open, open_at, options,
};

fn day() -> Duration {
    Duration::from_secs(24 * 3600)
}

#[test]
fn delivered_data_is_kept_for_its_time_counted_from_delivery() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let clock = ManualClock::new();
        let spool = open_at(Arc::new(disk), options(layout), &clock).unwrap();
        for number in 1..=120 {
            spool.append(numbered(number, 300)).unwrap();
        }
        // Ten days offline: the age of the record does not count.
        clock.advance(day() * 10);
        deliver_all(&spool);
        spool.maintain().unwrap();
        let kept = numbers(&spool).len();
        for _ in 0..6 {
            clock.advance(day());
            spool.maintain().unwrap();
        }
        assert_eq!(numbers(&spool).len(), kept, "{layout:?}");
        for _ in 0..3 {
            clock.advance(day());
            spool.maintain().unwrap();
        }
        assert!(numbers(&spool).len() < kept / 2, "{layout:?}");
        assert_eq!(spool.status().unwrap().books.delivered, 120);
    }
}

#[test]
fn delivered_data_takes_no_more_than_its_share_of_the_cap() {
    for layout in LAYOUTS {
        let clock = ManualClock::new();
        let capped = Options { max_bytes: Some(2_000_000), ..options(layout) };
        let spool = open_at(Arc::new(SimDisk::new()), capped, &clock).unwrap();
        for number in 1..=150 {
            spool.append(numbered(number, 3000)).unwrap();
        }
        deliver_all(&spool);
        for _ in 0..3 {
            clock.advance(Duration::from_secs(11));
            spool.maintain().unwrap();
        }
        let bytes = spool.status().unwrap().bytes;
        assert!(bytes < 400_000, "{layout:?}: {bytes} bytes");
    }
}

#[test]
fn at_the_cap_delivered_data_gives_way_and_waiting_data_does_not() {
    for layout in LAYOUTS {
        let capped = Options { max_bytes: Some(1_000_000), ..options(layout) };
        let spool = open(&SimDisk::new(), capped).unwrap();
        let mut number = 0;
        let error = loop {
            number += 1;
            if let Err(error) = spool.append(numbered(number, 3000)) {
                break error;
            }
            assert!(spool.status().unwrap().bytes <= 1_000_000, "{layout:?}");
        };
        assert_eq!(error.kind(), ErrorKind::Full);
        assert!(error.to_string().contains("at most 1000000 bytes"), "{error}");
        assert_eq!(spool.status().unwrap().books.pending, number - 1);
        assert!(spool.status().unwrap().trouble.is_some());
        deliver_all(&spool);
        spool.append(numbered(number, 3000)).unwrap();
        assert!(spool.status().unwrap().trouble.is_none());
    }
}

#[test]
fn what_another_reader_wants_yet_is_kept_over_its_share_and_at_the_cap() {
    for layout in LAYOUTS {
        let clock = ManualClock::new();
        let capped = Options {
            max_bytes: Some(1_000_000),
            when_full: WhenFull::DropOldest,
            keep_until_released: true,
            ..options(layout)
        };
        let spool = open_at(Arc::new(SimDisk::new()), capped, &clock).unwrap();
        let mut number = 1;
        while spool.append(numbered(number, 3000)).is_ok() {
            number += 1;
            if number == 50 {
                deliver_all(&spool);
                clock.advance(day() * 30);
                spool.maintain().unwrap();
            }
        }
        assert_eq!(numbers(&spool), (1..number).collect::<Vec<_>>(), "{layout:?}");
        assert_eq!(spool.status().unwrap().books.evicted, 0);
        spool.release(&spool.ends().unwrap());
        spool.append(numbered(number, 3000)).unwrap();
        assert!(numbers(&spool).first() > Some(&1), "{layout:?}");
        assert!(spool.status().unwrap().books.balance());
    }
}

#[test]
fn drop_oldest_removes_the_oldest_and_critical_last() {
    for layout in LAYOUTS {
        let clock = ManualClock::new();
        let capped = Options {
            max_bytes: Some(600_000),
            when_full: WhenFull::DropOldest,
            ..options(layout)
        };
        let spool = open_at(Arc::new(SimDisk::new()), capped, &clock).unwrap();
        for number in 1..=400 {
            let lane = if number <= 5 { Lane::Critical } else { Lane::Normal };
            spool.append(numbered(number, 2000).lane(lane)).unwrap();
            clock.advance(Duration::from_secs(1));
        }
        let left = numbers(&spool);
        let books = spool.status().unwrap().books;
        assert_eq!(books.evicted + books.pending, 400, "{layout:?}");
        assert!(books.balance());
        assert_eq!(left[..5], [1, 2, 3, 4, 5], "{layout:?}");
        let oldest = 400 - (left.len() as u64 - 5) + 1;
        assert_eq!(left[5..], (oldest..=400).collect::<Vec<_>>(), "{layout:?}");
    }
}

#[test]
fn drop_lowest_priority_never_touches_a_more_urgent_lane() {
    for layout in LAYOUTS {
        let capped = Options {
            max_bytes: Some(390_000),
            when_full: WhenFull::DropLowestPriority,
            ..options(layout)
        };
        let spool = open(&SimDisk::new(), capped).unwrap();
        for number in 1..=30 {
            spool.append(numbered(number, 2000).lane(Lane::Critical)).unwrap();
        }
        for number in 31..=60 {
            spool.append(numbered(number, 2000).lane(Lane::Bulk)).unwrap();
        }
        for number in 61..=100 {
            spool.append(numbered(number, 2000).lane(Lane::High)).unwrap();
        }
        let left = numbers(&spool);
        assert!((1..=30).all(|number| left.contains(&number)), "{layout:?}");
        assert!((61..=100).all(|number| left.contains(&number)), "{layout:?}");
        assert!(left.len() < 100, "{layout:?}: nothing had to give way");
    }
}

#[test]
fn the_free_space_floor_refuses_before_the_disk_is_full() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let floor = Options { min_free_bytes: 500_000, ..options(layout) };
        let spool = open(&disk, floor).unwrap();
        disk.set_capacity(disk.total_bytes() + 800_000, u64::MAX);
        let mut number = 0;
        let error = loop {
            number += 1;
            if let Err(error) = spool.append(numbered(number, 3000)) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::Full);
        assert!(error.to_string().contains("floor"), "{error}");
        assert_eq!(numbers(&spool).len() as u64, number - 1);
    }
}

#[test]
fn expiry_counts_power_on_time_and_not_a_wrong_clock() {
    for layout in LAYOUTS {
        let clock = ManualClock::new();
        let spool = open_at(Arc::new(SimDisk::new()), options(layout), &clock).unwrap();
        let hour = Duration::from_secs(3600);
        spool.append(numbered(1, 10).expires_after(hour)).unwrap();
        spool.append(numbered(2, 10)).unwrap();
        clock.set_wall(Timestamp::parse("2038-01-01T00:00:00Z").unwrap());
        clock.advance(hour / 2);
        let batch = spool.take(&Limits::default()).unwrap().unwrap();
        assert_eq!(batch.records.len(), 2, "{layout:?}");
        drop(batch);
        clock.set_wall(Timestamp::from_micros(0));
        clock.advance(hour);
        let batch = spool.take(&Limits::default()).unwrap().unwrap();
        assert_eq!(number_of(&batch.records[0].record.body), 2);
        drop(batch);
        let books = spool.status().unwrap().books;
        assert_eq!((books.expired, books.pending), (1, 1), "{layout:?}");
    }
}

#[test]
fn order_is_kept_when_the_clock_starts_in_1970_and_jumps() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let clock = ManualClock::at(Timestamp::from_micros(0));
        let spool = open_at(Arc::new(disk.clone()), options(layout), &clock).unwrap();
        for number in 1..=60 {
            if number == 20 {
                clock.set_wall(Timestamp::parse("2030-01-01T00:00:00Z").unwrap());
            }
            if number == 40 {
                clock.set_wall(Timestamp::parse("2020-01-01T00:00:00Z").unwrap());
            }
            spool.append(numbered(number, 500)).unwrap();
        }
        drop(spool);
        let spool = open(&disk, options(layout)).unwrap();
        assert_eq!(numbers(&spool), (1..=60).collect::<Vec<_>>(), "{layout:?}");
    }
}

#[test]
fn attachments_are_stored_once_and_go_with_the_last_record_that_names_them() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let clock = ManualClock::new();
        let none_kept = Options { keep_delivered_for: Duration::ZERO, ..options(layout) };
        let spool = open_at(Arc::new(disk.clone()), none_kept, &clock).unwrap();
        let image = spool.attach(b"pixels").unwrap();
        let again = spool.attach(b"pixels").unwrap();
        assert_eq!(image.digest(), again.digest());
        let digest = image.digest().to_owned();
        spool.append(numbered(1, 10).attachment(digest.clone())).unwrap();
        drop((image, again));
        assert_eq!(spool.attachment(&digest).unwrap(), b"pixels");
        for number in 2..=200 {
            spool.append(numbered(number, 300)).unwrap();
        }
        clock.advance(day());
        spool.maintain().unwrap();
        assert_eq!(spool.attachment(&digest).unwrap(), b"pixels");
        deliver_all(&spool);
        for _ in 0..3 {
            clock.advance(day());
            spool.maintain().unwrap();
        }
        assert_eq!(
            spool.attachment(&digest).unwrap_err().kind(),
            ErrorKind::NotFound,
            "{layout:?}"
        );
    }
}

#[test]
fn a_damaged_attachment_is_an_error_and_a_bad_digest_too() {
    let disk = SimDisk::new();
    let spool = open(&disk, options(Layout::Folder)).unwrap();
    let image = spool.attach(b"pixels").unwrap();
    let path = disk
        .paths()
        .into_iter()
        .find(|path| path.to_string_lossy().ends_with(image.digest()))
        .unwrap();
    disk.flip_bit(&path, 2, 1).unwrap();
    assert_eq!(spool.attachment(image.digest()).unwrap_err().kind(), ErrorKind::Damaged);
    assert_eq!(spool.attachment("../../etc").unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn options_that_make_no_sense_are_named() {
    let bad = [
        (Options { max_bytes: Some(0), ..Options::default() }, "max_bytes is 0"),
        (Options { max_record_bytes: 0, ..Options::default() }, "max_record_bytes is 0"),
        (Options { segment_bytes: 1, ..Options::default() }, "segment_bytes is 1"),
        (
            Options { keep_delivered_share: 1.5, ..Options::default() },
            "keep_delivered_share is 1.5",
        ),
        (Options { first_extent_bytes: 0, ..Options::default() }, "first_extent_bytes is 0"),
    ];
    for (options, message) in bad {
        let error = open(&SimDisk::new(), options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn a_segment_removed_while_it_is_written_is_noticed_and_its_records_are_counted() {
    let disk = SimDisk::new();
    let spool = open(&disk, options(Layout::Segments)).unwrap();
    for number in 1..=3 {
        spool.append(numbered(number, 10)).unwrap();
    }
    for path in disk.paths() {
        if path.to_string_lossy().ends_with(".gz") {
            backhaul_store::Disk::remove(&disk, &path).unwrap();
        }
    }
    spool.maintain().unwrap();
    spool.append(numbered(4, 10)).unwrap();
    deliver_all(&spool);
    let books = spool.status().unwrap().books;
    assert_eq!((books.damaged, books.delivered, books.accepted), (3, 1, 4));
    drop(spool);
    let spool = open(&disk, options(Layout::Segments)).unwrap();
    assert_eq!(spool.append(numbered(5, 10)).unwrap().position.sequence.0, 5);
}

#[test]
fn a_small_cap_is_used_up_to_the_last_records() {
    let capped = Options {
        max_bytes: Some(1_000_000),
        segment_bytes: 16 << 20,
        first_extent_bytes: 256 << 10,
        ..options(Layout::Segments)
    };
    let spool = open(&SimDisk::new(), capped).unwrap();
    let mut stored = 0;
    while spool.append(numbered(stored, 10_000)).is_ok() {
        spool.maintain().unwrap();
        stored += 1;
    }
    // Each takes three pages.
    assert!(stored * 3 * 4096 > 950_000, "only {stored} records of 10 KB fit into 1 MB");
}

#[test]
fn the_ledger_counts_towards_the_cap_as_it_grows() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let spool = open(&disk, options(layout)).unwrap();
        for number in 1..=60 {
            spool.append(numbered(number, 300)).unwrap();
        }
        // Long reasons, over and over: the ledger goes through several files.
        for round in 0..60 {
            let batch = spool
                .take(&Limits { records: 60, bytes: 1 << 20, ..Limits::default() })
                .unwrap()
                .unwrap();
            let later = Settled::new(State::Later).reason(format!("{round} {}", "x".repeat(2_000)));
            let settled: Vec<_> = batch
                .records
                .iter()
                .map(|offer| (offer.record.id.position, later.clone()))
                .enumerate()
                .map(|(index, (position, settled))| {
                    (position, settled.status(u16::try_from(index).unwrap()))
                })
                .collect();
            spool.settle(&settled).unwrap();
        }
        let counted = spool.status().unwrap().bytes;
        let files = disk.paths().into_iter().map(|path| disk.read_file(path).unwrap());
        let measured: u64 = files.map(|bytes| bytes.len().next_multiple_of(4096) as u64).sum();
        assert!(measured > 1_000_000, "{layout:?}: the ledger is small: {measured}");
        assert!(counted.abs_diff(measured) < 100_000, "{layout:?}: {counted}, {measured}");
    }
}

#[test]
fn what_stands_beside_records_is_counted_and_given_back() {
    let clock = ManualClock::new();
    let options = Options { keep_delivered_for: Duration::ZERO, ..options(Layout::Folder) };
    let disk = SimDisk::new();
    let spool = open_at(Arc::new(disk.clone()), options.clone(), &clock).unwrap();
    // A stream stands in a file of its own, and so does the reason of a rejection.
    for number in 1..=60 {
        spool.append(numbered(number, 300).stream(format!("s{number}"))).unwrap();
    }
    let batch =
        spool.take(&Limits { records: 60, bytes: 1 << 20, ..Limits::default() }).unwrap().unwrap();
    let settle = |index: usize| match index % 2 {
        0 => Settled::new(State::Delivered),
        _ => Settled::new(State::Rejected).reason("422"),
    };
    let settled: Vec<_> = batch
        .records
        .iter()
        .enumerate()
        .map(|(index, offer)| (offer.record.id.position, settle(index)))
        .collect();
    spool.settle(&settled).unwrap();
    for _ in 0..3 {
        clock.advance(Duration::from_secs(11));
        spool.maintain().unwrap();
    }
    let counted = spool.status().unwrap().bytes;
    drop((batch, spool));
    let measured = open_at(Arc::new(disk), options, &clock).unwrap().status().unwrap().bytes;
    assert!(counted.abs_diff(measured) <= 3 * 4096, "{counted} counted, {measured} there");
}
