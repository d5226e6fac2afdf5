//! Several processes and one folder: some append, one delivers, some die, some fork.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backhaul_store::{
    Error, ErrorKind, Limits, Options, OsDisk, Position, Settled, Spool, Standing, State,
};
use backhaul_testkit::{ManualClock, Prng, said_by_a_fork};

use crate::kills::{acknowledged_in, appender, appender_of, length, settings};
use crate::support::{LAYOUTS, Layout, number_of, numbered};

/// The process that delivers, in this program.
struct Courier {
    spool: Spool,
    clock: ManualClock,
    offered: BTreeSet<u64>,
    writers: BTreeSet<u16>,
}

impl Courier {
    fn open(folder: &Path, layout: Layout) -> Self {
        let clock = ManualClock::new();
        let options = Options { maintenance_thread: false, ..settings(layout) };
        let spool =
            Spool::open_on(folder, options, Arc::new(OsDisk), Arc::new(clock.clone())).unwrap();
        Self { spool, clock, offered: BTreeSet::new(), writers: BTreeSet::new() }
    }

    /// Takes and settles one batch, after a look at what others did.
    fn deliver_once(&mut self) {
        self.clock.advance(Duration::from_secs(1));
        let limits = Limits { records: 64, bytes: 1 << 20, ..Limits::default() };
        let Some(batch) = self.spool.take(&limits).unwrap() else { return };
        let mut settled = Vec::new();
        for offer in &batch.records {
            let number = number_of(&offer.record.body);
            assert_eq!(offer.record.body, numbered(number, length(number)).body(), "{number}");
            assert!(self.offered.insert(number), "{number} was offered twice");
            self.writers.insert(offer.record.id.position.chain.writer);
            settled.push((offer.record.id.position, Settled::new(State::Delivered)));
        }
        self.spool.settle(&settled).unwrap();
    }

    /// Delivers until nothing waits any more; gives up after very many looks.
    fn deliver_all(&mut self, wanted: &[u64]) {
        for _ in 0..10_000 {
            self.deliver_once();
            if wanted.iter().all(|number| self.offered.contains(number)) {
                return;
            }
        }
        let missing: Vec<_> = wanted.iter().filter(|n| !self.offered.contains(n)).collect();
        let mut standing = Vec::new();
        self.spool
            .each(None, &mut |entry| {
                let body = self.spool.get(entry.id.position).unwrap().1.body;
                if missing.contains(&&number_of(&body)) {
                    standing.push((entry.id.position.to_string(), entry.standing));
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        let books = self.spool.status().unwrap().books;
        panic!("{missing:?} were acknowledged and never offered: {standing:?}, {books:?}");
    }
}

/// One process appends until it is killed or done, while this one appends too and delivers.
fn share_a_folder(layout: Layout, rounds: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Prng::new(3);
    let mut courier = Courier::open(folder.path(), layout);
    let mut own = Vec::new();
    for round in 1..=rounds {
        let first = round * 1_000_000;
        let is_killed = round % 3 != 0;
        let mut command = if is_killed {
            appender(folder.path(), layout, first)
        } else {
            appender_of(folder.path(), layout, first, 60)
        };
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        let wanted = 40 + random.index(100);
        while !is_killed || acknowledged_in(&text).len() < wanted {
            if output.read_line(&mut text).unwrap() == 0 {
                break;
            }
            let number = 900_000_000 + own.len() as u64;
            courier.spool.append(numbered(number, length(number))).unwrap();
            own.push(number);
            courier.deliver_once();
        }
        if is_killed {
            child.kill().unwrap();
        }
        output.read_to_string(&mut text).unwrap();
        assert!(child.wait().unwrap().success() != is_killed, "{text}");
        let acknowledged = acknowledged_in(&text);
        assert!(acknowledged.len() >= 40, "{text}");
        courier.deliver_all(&acknowledged);
    }
    courier.deliver_all(&own);
    let _ = courier.spool.maintain();
    let books = courier.spool.status().unwrap().books;
    assert!(books.balance() && books.pending == 0 && books.damaged == 0, "{books:?}");
    assert_eq!(books.delivered, courier.offered.len() as u64);
    // Which number it has is by chance: the courier may just be asking whether the
    // writer before it still lives.
    assert!(
        courier.writers.contains(&0) && courier.writers.len() > 1,
        "the other process used no chain of its own: {:?}",
        courier.writers
    );
    // Whoever opens the folder next finds the same.
    drop(courier);
    let spool = Courier::open(folder.path(), layout).spool;
    assert_eq!(spool.status().unwrap().books, books);
    spool
        .each(Some(Standing::Pending), &mut |entry| {
            assert_eq!(None, Some(entry.id), "waits again");
            ControlFlow::Continue(())
        })
        .unwrap();
}

#[test]
fn two_processes_append_and_one_delivers_in_the_folder_layout() {
    share_a_folder(Layout::Folder, 3);
}

#[test]
fn two_processes_append_and_one_delivers_in_the_segment_layout() {
    share_a_folder(Layout::Segments, 6);
}

#[test]
fn two_processes_append_and_one_delivers_in_plain_segments() {
    share_a_folder(Layout::Plain, 6);
}

#[test]
fn only_one_process_delivers_and_the_next_may_when_it_is_gone() {
    for layout in LAYOUTS {
        let folder = tempfile::tempdir().unwrap();
        let first = Courier::open(folder.path(), layout);
        first.spool.append(numbered(1, length(1))).unwrap();
        let mut second = Courier::open(folder.path(), layout);
        second.spool.append(numbered(2, length(2))).unwrap();
        assert_eq!(second.spool.take(&Limits::default()).unwrap_err().kind(), ErrorKind::Busy);
        drop(first);
        second.deliver_all(&[1, 2]);
        assert_eq!(second.offered.len(), 2);
    }
}

/// What the calls of a spool say, one line for each.
fn all_calls(spool: &Spool) -> String {
    fn say<T>(call: &str, result: Result<T, Error>) -> String {
        match result {
            Ok(_) => format!("{call}: it worked\n"),
            Err(error) => format!("{call}: {:?}: {error}\n", error.kind()),
        }
    }
    let position: Position = "normal/1".parse().unwrap();
    [
        say("append", spool.append(numbered(99, 10))),
        say("submit", spool.submit(numbered(99, 10))),
        say("take", spool.take(&Limits::default())),
        say("settle", spool.settle(&[])),
        say("requeue", spool.requeue(position)),
        say("flush", spool.flush()),
        say("maintain", spool.maintain()),
        say("status", spool.status()),
        say("get", spool.get(position)),
        say("attach", spool.attach(b"bytes")),
    ]
    .concat()
}

#[test]
fn after_a_fork_the_child_is_refused_and_the_parent_goes_on() {
    for layout in LAYOUTS {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), settings(layout)).unwrap();
        spool.append(numbered(1, length(1))).unwrap();
        let said = said_by_a_fork(|| {
            let said = all_calls(&spool);
            // What the end of the child's last handle would do must not touch the parent's.
            drop(spool.clone());
            said
        });
        assert_eq!(said.lines().count(), 10, "{said}");
        for line in said.lines() {
            assert!(line.contains(": Forked: "), "{line}");
            assert!(line.contains("fork") && line.contains("open it again in the child"), "{line}");
        }
        spool.append(numbered(2, length(2))).unwrap();
        let batch = spool.take(&Limits::default()).unwrap().unwrap();
        let numbers: Vec<_> =
            batch.records.iter().map(|offer| number_of(&offer.record.body)).collect();
        assert_eq!(numbers, [1, 2], "{layout:?}");
    }
}

#[test]
fn a_thread_that_appends_and_one_that_delivers_do_not_wait_for_each_other_for_ever() {
    for layout in LAYOUTS {
        let folder = tempfile::tempdir().unwrap();
        let mut courier = Courier::open(folder.path(), layout);
        let spool = courier.spool.clone();
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..300 {
                    spool.append(numbered(number, length(number))).unwrap();
                }
                is_done.store(true, Ordering::Release);
            });
            scope.spawn(|| {
                while !is_done.load(Ordering::Acquire) {
                    let _ = spool.maintain();
                    spool.status().unwrap();
                }
            });
            while !is_done.load(Ordering::Acquire) {
                courier.deliver_once();
            }
        });
        courier.deliver_all(&(0..300).collect::<Vec<_>>());
        assert_eq!(courier.offered.len(), 300);
    }
}
