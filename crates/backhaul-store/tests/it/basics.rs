use backhaul_store::{ErrorKind, Flush, Lane, Limits, Options, Record, Settled, State};
use backhaul_testkit::SimDisk;

use crate::support::{LAYOUTS, deliver_all, numbered, numbers, open, options};

#[test]
fn records_come_back_in_order_after_reopening() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let spool = open(&disk, options(layout)).unwrap();
        for number in 1..=200 {
            spool.append(numbered(number, 300)).unwrap();
        }
        assert_eq!(numbers(&spool), (1..=200).collect::<Vec<_>>());
        drop(spool);
        let spool = open(&disk, options(layout)).unwrap();
        assert_eq!(numbers(&spool), (1..=200).collect::<Vec<_>>());
        assert_eq!(spool.status().unwrap().books.pending, 200);
        assert_eq!(deliver_all(&spool), (1..=200).collect::<Vec<_>>());
        let books = spool.status().unwrap().books;
        assert_eq!((books.delivered, books.pending), (200, 0));
        assert!(books.balance());
    }
}

#[test]
fn sealing_changes_the_files_and_not_the_records() {
    let disk = SimDisk::new();
    let spool = open(&disk, options(LAYOUTS[1])).unwrap();
    for number in 1..=300 {
        spool.append(numbered(number, 300)).unwrap();
        if number % 40 == 0 {
            spool.maintain().unwrap();
        }
    }
    spool.maintain().unwrap();
    assert_eq!(numbers(&spool), (1..=300).collect::<Vec<_>>());
    drop(spool);
    let spool = open(&disk, options(LAYOUTS[1])).unwrap();
    assert_eq!(deliver_all(&spool), (1..=300).collect::<Vec<_>>());
}

#[test]
fn urgent_lanes_go_first_and_keep_their_own_order() {
    for layout in LAYOUTS {
        let spool = open(&SimDisk::new(), options(layout)).unwrap();
        for number in 1..=9 {
            let lane =
                [Lane::Bulk, Lane::Normal, Lane::Critical][usize::try_from(number % 3).unwrap()];
            spool.append(numbered(number, 10).lane(lane)).unwrap();
        }
        assert_eq!(deliver_all(&spool), [2, 5, 8, 1, 4, 7, 3, 6, 9]);
    }
}

#[test]
fn a_stream_has_one_record_on_offer_and_waits_alone() {
    for layout in LAYOUTS {
        let spool = open(&SimDisk::new(), options(layout)).unwrap();
        for number in 1..=6 {
            let stream = if number % 2 == 0 { "even" } else { "odd" };
            spool.append(numbered(number, 10).stream(stream)).unwrap();
        }
        let batch = spool.take(&Limits::default()).unwrap().unwrap();
        let on_offer: Vec<_> = batch.records.iter().map(|offer| offer.record.id.position).collect();
        assert_eq!(on_offer.iter().map(|position| position.sequence.0).collect::<Vec<_>>(), [1, 2]);
        assert!(spool.take(&Limits::default()).unwrap().is_none());
        let far = backhaul_store::Timestamp::parse("2030-01-01T00:00:00Z").unwrap();
        let later = Settled::new(State::Later).not_before(far).reason("busy");
        spool
            .settle(&[(on_offer[0], later), (on_offer[1], Settled::new(State::Delivered))])
            .unwrap();
        drop(batch);
        assert_eq!(deliver_all(&spool), [4, 6]);
    }
}

#[test]
fn a_batch_that_is_dropped_waits_again_in_order() {
    for layout in LAYOUTS {
        let spool = open(&SimDisk::new(), options(layout)).unwrap();
        for number in 1..=5 {
            spool.append(numbered(number, 10)).unwrap();
        }
        drop(spool.take(&Limits { records: 2, bytes: 1000, ..Limits::default() }).unwrap());
        assert_eq!(deliver_all(&spool), [1, 2, 3, 4, 5]);
    }
}

#[test]
fn a_rejected_record_is_kept_and_comes_back_when_requeued() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let spool = open(&disk, options(layout)).unwrap();
        let id = spool.append(numbered(1, 10)).unwrap();
        spool.append(numbered(2, 10)).unwrap();
        spool
            .settle(&[(id.position, Settled::new(State::Rejected).reason("422: bad").status(422))])
            .unwrap();
        drop(spool);
        let spool = open(&disk, options(layout)).unwrap();
        assert_eq!(deliver_all(&spool), [2]);
        let (entry, _) = spool.get(id.position).unwrap();
        assert_eq!(
            (entry.standing.name(), entry.last_error.as_deref()),
            ("failed", Some("422: bad"))
        );
        assert!(spool.requeue(id.position).unwrap());
        assert_eq!(deliver_all(&spool), [1]);
        let books = spool.status().unwrap().books;
        assert_eq!((books.delivered, books.rejected), (2, 0));
    }
}

#[test]
fn too_large_and_malformed_records_are_refused_with_a_reason() {
    let small = Options { max_record_bytes: 100, ..options(LAYOUTS[0]) };
    let spool = open(&SimDisk::new(), small).unwrap();
    assert_eq!(spool.append(numbered(1, 200)).unwrap_err().kind(), ErrorKind::TooLarge);
    let error = spool.append(Record::new("run", b"{\"cut".to_vec())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("JSON object"), "{error}");
}

#[test]
fn many_tickets_in_flight_share_flushes() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let spool = open(&disk, options(layout)).unwrap();
        spool.append(numbered(0, 10)).unwrap();
        let before = disk.sync_dir_count();
        let tickets: Vec<_> = (1..=64).map(|n| spool.submit(numbered(n, 50)).unwrap()).collect();
        for ticket in tickets {
            ticket.wait().unwrap();
        }
        assert!(disk.sync_dir_count() - before <= 2, "{layout:?}");
        assert_eq!(spool.status().unwrap().books.pending, 65);
    }
}

#[test]
fn threads_append_without_losing_or_doubling() {
    for layout in LAYOUTS {
        let spool = open(&SimDisk::new(), options(layout)).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let spool = &spool;
                scope.spawn(move || {
                    for n in 0..50 {
                        spool.append(numbered(thread * 1000 + n, 20)).unwrap();
                    }
                });
            }
        });
        let mut all = numbers(&spool);
        all.sort_unstable();
        let expected: Vec<u64> = (0..8).flat_map(|t| (0..50).map(move |n| t * 1000 + n)).collect();
        assert_eq!(all, expected);
    }
}

#[test]
fn a_dropped_ticket_leaves_its_record_to_the_next_commit() {
    for layout in LAYOUTS {
        let spool = open(&SimDisk::new(), options(layout)).unwrap();
        drop(spool.submit(numbered(1, 10)).unwrap());
        spool.maintain().unwrap();
        assert_eq!(numbers(&spool), [1]);
    }
}

#[test]
fn relaxed_levels_are_stamped_and_flushed_before_they_are_offered() {
    for layout in LAYOUTS {
        let disk = SimDisk::new();
        let spool = open(&disk, Options { flush: Flush::Never, ..options(layout) }).unwrap();
        spool.append(numbered(1, 10)).unwrap();
        let before = disk.flush_count();
        let batch = spool.take(&Limits::default()).unwrap().unwrap();
        assert!(disk.flush_count() > before, "{layout:?}");
        assert_eq!(batch.records[0].record.stamp.flush, "never");
    }
}
