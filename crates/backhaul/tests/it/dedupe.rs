//! A record that is sent again is known again, whatever happened meanwhile.

use std::collections::BTreeSet;

use tempfile::tempdir;

use crate::support::{Hub, SOURCE, origin, run, runs, stored};

#[test]
fn a_lost_reply_and_a_resend_store_once() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.offer(1, "1-3", &runs(1..=3)).receipt(), (3, 0));
    // The same again, and a batch that overlaps it.
    assert_eq!(hub.offer(1, "1-3", &runs(1..=3)).receipt(), (0, 3));
    assert_eq!(hub.offer(2, "2-3,5", &runs([2, 3, 5])).receipt(), (1, 2));
    assert_eq!(stored(dir.path()).len(), 4);
}

#[test]
fn other_devices_epochs_and_chains_are_others() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    for source in [
        SOURCE,
        "6ba7b8109dad11d180b400c04fd430c9/0000beef/normal",
        "6ba7b8109dad11d180b400c04fd430c8/0000bee0/normal",
        "6ba7b8109dad11d180b400c04fd430c8/0000beef/critical",
        "6ba7b8109dad11d180b400c04fd430c8/0000beef/normal.1",
        // Where the summaries of `SOURCE` come from.
        "6ba7b8109dad11d180b400c04fd430c8/0000beef/normal.32768",
    ] {
        let send = || hub.send(&origin(source, 1, "1-2"), runs(1..=2).as_bytes());
        assert_eq!(send().receipt(), (2, 0), "{source}");
        assert_eq!(send().receipt(), (0, 2), "{source}");
    }
    assert_eq!(stored(dir.path()).len(), 12);
}

#[test]
fn kills_between_requests_neither_lose_nor_double() {
    let dir = tempdir().unwrap();
    let mut sent = BTreeSet::new();
    for round in 0..8_u64 {
        let hub = Hub::start(dir.path());
        // What was sent before the last kill, and something new. The floor jumps, too.
        let from = (round * 10).saturating_sub(10) + 1;
        let to = round * 10 + 10;
        let floor = if round % 3 == 2 { from } else { 1 };
        let new = (from..=to).filter(|sequence| !sent.contains(sequence)).count() as u64;
        let old = to - from + 1 - new;
        let reply = hub.offer(floor, &format!("{from}-{to}"), &runs(from..=to));
        assert_eq!(reply.receipt(), (new, old), "round {round}");
        sent.extend(from..=to);
        hub.kill();
    }
    assert_eq!(stored(dir.path()).len(), sent.len());
}

#[test]
fn a_floor_that_moved_without_a_record_is_no_loss_after_a_kill() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.offer(1, "1", &run(1)).receipt(), (1, 0));
    // Only the floor moves here, and the next record is far from the first.
    assert_eq!(hub.offer(9000, "1", &run(1)).receipt(), (0, 1));
    assert_eq!(hub.offer(8000, "12500", &run(12500)).receipt(), (1, 0));
    hub.kill();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.offer(9000, "12500", &run(12500)).receipt(), (0, 1));
    assert_eq!(hub.offer(9000, "1", &run(1)).receipt(), (0, 1));
}

#[test]
fn a_requeued_record_below_the_floor_is_new_once() {
    let dir = tempdir().unwrap();
    let mut hub = Hub::start(dir.path());
    // 4 was rejected elsewhere, say, and settled; the floor passed it by.
    assert_eq!(hub.offer(1, "1-3,5-6", &runs([1, 2, 3, 5, 6])).receipt(), (5, 0));
    assert_eq!(hub.offer(7, "7", &run(7)).receipt(), (1, 0));
    for restarted in [false, true] {
        if restarted {
            hub.kill();
            hub = Hub::start(dir.path());
        }
        assert_eq!(hub.offer(8, "3", &run(3)).receipt(), (0, 1));
        let expected = if restarted { (0, 1) } else { (1, 0) };
        assert_eq!(hub.offer(8, "4", &run(4)).receipt(), expected);
        assert_eq!(hub.offer(8, "4", &run(4)).receipt(), (0, 1));
    }
    assert_eq!(stored(dir.path()).len(), 7);
}

#[test]
fn a_hub_that_meets_a_device_late_takes_what_it_never_had() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.offer(1000, "1000-1001", &runs([1000, 1001])).receipt(), (2, 0));
    assert_eq!(hub.offer(1000, "7,999", &runs([7, 999])).receipt(), (2, 0));
    assert_eq!(hub.offer(1000, "7,999-1000", &runs([7, 999, 1000])).receipt(), (0, 3));
}

#[test]
fn the_window_bounds_what_can_be_told_apart() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.offer(10, "4105", &run(1)).receipt(), (1, 0));
    assert_eq!(hub.offer(10, "10,4106", &runs([1, 2])).refusal(), (400, Some(1)));
    assert_eq!(hub.offer(11, "10,4106", &runs([1, 2])).receipt(), (2, 0));
    // The floor never goes back: what was above an older one is still in reach.
    assert_eq!(hub.offer(1, "4106", &run(2)).receipt(), (0, 1));
    assert_eq!(stored(dir.path()).len(), 3);
}

#[test]
fn headers_that_do_not_fit_are_refused_by_name() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    let all = origin(SOURCE, 1, "1");
    let without = |left_out: usize| {
        let mut headers = all.clone();
        headers.remove(left_out);
        hub.send(&headers, run(1).as_bytes())
    };
    for left_out in 0..3 {
        assert_eq!(without(left_out).refusal(), (400, None));
    }
    for (source, floor, sequences, name) in [
        ("x/y/normal", "1", "1", "Backhaul-Source"),
        (SOURCE, "0", "1", "Backhaul-Floor"),
        (SOURCE, "1", "0", "Backhaul-Sequences"),
        (SOURCE, "1", "2-1", "Backhaul-Sequences"),
        (SOURCE, "1", "1-2", "Backhaul-Sequences names 2 records, the body holds 1"),
        (SOURCE, "1", "", "Backhaul-Sequences names 0 records"),
    ] {
        let mut headers = origin(source, 1, sequences);
        headers[1].1 = floor.to_owned();
        let reply = hub.send(&headers, run(1).as_bytes());
        assert_eq!(reply.refusal(), (400, None));
        assert!(reply.body.contains(name), "{name}: {}", reply.body);
    }
    assert_eq!(stored(dir.path()).len(), 0);
}

#[test]
fn requests_at_the_same_moment_store_once_and_only_say_so_when_it_is_true() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    // Each of four sources is sent the same twenty batches by four senders at once.
    let accepted: u64 = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..16_u64)
            .map(|sender| {
                let hub = &hub;
                scope.spawn(move || {
                    let device = format!("{:032x}", sender % 4 + 1);
                    let source = format!("{device}/00000001/normal");
                    let mut accepted = 0;
                    for batch in 0..20_u64 {
                        let (from, to) = (batch * 5 + 1, batch * 5 + 5);
                        let headers = origin(&source, 1, &format!("{from}-{to}"));
                        let reply = hub.send(&headers, runs(from..=to).as_bytes());
                        let (new, old) = reply.receipt();
                        assert_eq!(new + old, 5);
                        accepted += new;
                    }
                    accepted
                })
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).sum()
    });
    assert_eq!(accepted, 400);
    hub.kill();
    let names: Vec<String> =
        stored(dir.path()).into_iter().map(|r| r.facts.labels["from"].clone()).collect();
    assert_eq!(names.len(), 400);
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 400);
}

#[test]
fn a_kill_in_the_middle_of_requests_neither_loses_nor_doubles() {
    let dir = tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..4 {
        let hub = Hub::start(dir.path());
        let address = hub.address;
        let sender = std::thread::spawn(move || {
            // Sends everything from the beginning, again in each round.
            let mut acknowledged = Vec::new();
            for sequence in 1..=2000_u64 {
                match send_one(address, sequence) {
                    Some(200) => acknowledged.push(sequence),
                    _ => return acknowledged,
                }
            }
            acknowledged
        });
        std::thread::sleep(std::time::Duration::from_millis(150 + 60 * round));
        hub.kill();
        acknowledged.extend(sender.join().unwrap());
    }
    let stored: Vec<String> =
        stored(dir.path()).into_iter().map(|r| r.facts.labels["from"].clone()).collect();
    let distinct: BTreeSet<&String> = stored.iter().collect();
    assert_eq!(distinct.len(), stored.len(), "a record is stored twice");
    for sequence in acknowledged {
        assert!(distinct.contains(&format!("{SOURCE}/{sequence}")), "{sequence} is lost");
    }
}

/// Posts one record; `None`: no answer came.
fn send_one(address: std::net::SocketAddr, sequence: u64) -> Option<u16> {
    use std::io::{Read as _, Write as _};
    let body = run(sequence);
    let headers = origin(SOURCE, 1, &sequence.to_string());
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.write_all(&crate::support::head("POST", "/v1/runs", &headers, body.len())).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    reply.split(' ').nth(1)?.parse().ok()
}

#[test]
fn what_was_seen_is_rebuilt_from_the_spool_where_it_is_damaged() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.offer(1, "1-50", &runs(1..=50)).receipt(), (50, 0));
    hub.terminate();
    std::fs::write(dir.path().join("hub/seen.redb"), b"this is no database").unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.offer(1, "1-51", &runs(1..=51)).receipt(), (1, 50));
    hub.terminate();
    std::fs::remove_dir_all(dir.path().join("hub")).unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.offer(1, "1-52", &runs(1..=52)).receipt(), (1, 51));
}

#[test]
fn a_changed_byte_in_what_was_seen_never_acknowledges_what_is_not_stored() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.offer(7, "7-50", &runs(7..=50)).receipt(), (44, 0));
    assert!(hub.terminate().1);
    let path = dir.path().join("hub/seen.redb");
    let bytes = std::fs::read(&path).unwrap();
    // The window's row: its floor, and the bits of 7 to 50.
    let bits = (7..=50).fold(0_u64, |bits, bit| bits | 1 << bit).to_le_bytes();
    let row = [7_u64.to_le_bytes(), bits].concat();
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&row)).collect();
    assert!(!places.is_empty());
    let mut changed = bytes.clone();
    places.into_iter().for_each(|at| changed[at + 14] |= 0x80);
    std::fs::write(&path, changed).unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.offer(7, "7-50,51-63", &runs(7..=63)).receipt(), (13, 44));
    assert!(path.with_extension("damaged").exists());
    assert_eq!(stored(dir.path()).len(), 57);
}

#[test]
fn damage_anywhere_in_what_was_seen_neither_stops_the_hub_nor_loses_a_record() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.offer(1, "1-20", &runs(1..=20)).receipt(), (20, 0));
    assert!(hub.terminate().1);
    let path = dir.path().join("hub/seen.redb");
    let bytes = std::fs::read(&path).unwrap();
    for (round, at) in [0, 9, 64, 320, 4096, 8192, bytes.len() / 2].into_iter().enumerate() {
        let mut changed = bytes.clone();
        changed.iter_mut().skip(at).take(64).for_each(|byte| *byte ^= 0xff);
        std::fs::write(&path, changed).unwrap();
        let hub = Hub::start(dir.path());
        let last = 21 + round as u64;
        let reply = hub.offer(1, &format!("1-{last}"), &runs(1..=last));
        assert_eq!(reply.receipt(), (1, last - 1), "byte {at}");
        hub.kill();
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.offer(1, "1-30", &runs(1..=30)).receipt(), (3, 27));
}

#[test]
fn a_hub_whose_disk_takes_no_database_remembers_in_memory() {
    let dir = tempdir().unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.offer(1, "1-20", &runs(1..=20)).receipt(), (20, 0));
    assert!(hub.terminate().1);
    let path = dir.path().join("hub/seen.redb");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.offer(1, "1-21", &runs(1..=21)).receipt(), (1, 20));
    assert_eq!(hub.offer(1, "1-21", &runs(1..=21)).receipt(), (0, 21));
    assert!(hub.terminate().1);
    std::fs::remove_file(&path).unwrap();
    let hub = Hub::start(dir.path());
    assert_eq!(hub.offer(1, "1-21", &runs(1..=21)).receipt(), (0, 21));
    assert!(path.metadata().unwrap().is_file());
}

#[test]
fn two_hubs_on_one_data_dir_are_refused() {
    let dir = tempdir().unwrap();
    let _hub = Hub::start(dir.path());
    let (code, _, stderr) =
        crate::support::backhaul(&["serve", "--listen", "127.0.0.1:0"], dir.path());
    assert_eq!(code, 2);
    assert!(stderr.contains("another process serves from"), "{stderr}");
}

#[test]
fn without_deduplication_these_tests_would_fail() {
    let dir = tempdir().unwrap();
    let hub = Hub::start_with(dir.path(), &["--sabotage-dedupe"]);
    assert_eq!(hub.offer(1, "1-3", &runs(1..=3)).receipt(), (3, 0));
    assert_eq!(hub.offer(1, "1-3", &runs(1..=3)).receipt(), (3, 0));
    assert_eq!(stored(dir.path()).len(), 6);
}
