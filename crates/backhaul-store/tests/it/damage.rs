//! Bytes of a spool flipped one at a time, and its files cut at every length: what is lost is
//! what was touched, it is counted to the record, and nothing damaged is delivered.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use backhaul_store::{Disk as _, Limits, Settled, Spool, State};
use backhaul_testkit::{ManualClock, SimDisk};

use crate::support::{DIR, FORMS, Layout, is_segment, number_of, numbered, open, options};

/// Places in the ordinary test run, over all kinds of files; `BACKHAUL_DAMAGE_PLACES=all` asks
/// for every byte.
const PLACES: usize = 20_000;
/// Records of one commit at most.
const COMMIT: u64 = 90;
/// Bytes of headers, all of which are tried.
const HEADER: usize = 96;

/// How a byte is spoiled.
#[derive(Debug, Clone, Copy)]
enum Spoiled {
    Flipped,
    Cut,
}

/// A spool at rest with a mebibyte of records.
struct Subject {
    layout: Layout,
    is_sealed: bool,
    files: BTreeMap<PathBuf, Vec<u8>>,
    bodies: Vec<Vec<u8>>,
    /// Records of a member at most.
    bound: usize,
}

impl Subject {
    fn new(layout: Layout, is_sealed: bool) -> Self {
        let disk = SimDisk::new();
        let options = backhaul_store::Options {
            segment_bytes: if is_sealed { 256 << 10 } else { 16 << 20 },
            first_extent_bytes: 16 << 10,
            ..options(layout)
        };
        let spool = open(&disk, options.clone()).unwrap();
        let (mut bodies, mut bytes, mut number) = (Vec::new(), 0, 0);
        while bytes < 1 << 20 {
            // Commits of one record and of many.
            let tickets: Vec<_> = (0..1 + number % COMMIT)
                .map(|_| {
                    let record = numbered(number, 300 + usize::try_from(number % 7).unwrap() * 300);
                    bodies.push(record.body().to_vec());
                    bytes += record.body().len();
                    number += 1;
                    spool.submit(record).unwrap()
                })
                .collect();
            tickets.into_iter().for_each(|ticket| _ = ticket.wait().unwrap());
        }
        if is_sealed {
            (0..50).for_each(|_| spool.maintain().unwrap());
        }
        drop(spool);
        let read = |path: PathBuf| (path.clone(), disk.read_file(&path).unwrap());
        let files = disk.paths().into_iter().map(read).collect();
        Self { layout, is_sealed, files, bodies, bound: if is_sealed { 256 } else { 64 } }
    }

    /// Files with records, each with the places that are tried in it.
    fn places(&self, most: usize) -> Vec<(&Path, usize)> {
        let segments: Vec<_> = self.files.iter().filter(|(path, _)| is_segment(path)).collect();
        let all: usize = segments.iter().map(|(_, bytes)| bytes.len()).sum();
        let step = (all / most.max(1)).max(1);
        let mut places = Vec::new();
        for (path, bytes) in segments {
            let is_wanted = |at: &usize| {
                *at < HEADER || (4_096..4_096 + HEADER).contains(at) || at.is_multiple_of(step)
            };
            places.extend((0..bytes.len()).filter(is_wanted).map(|at| (path.as_path(), at)));
        }
        places
    }

    fn spoil(&self, path: &Path, at: usize, how: Spoiled) -> SimDisk {
        let disk = SimDisk::new();
        for (file, bytes) in &self.files {
            disk.create_dir_all(file.parent().unwrap()).unwrap();
            if file != path {
                disk.write_file(file, bytes).unwrap();
                continue;
            }
            match how {
                Spoiled::Cut => disk.write_file(file, &bytes[..at]).unwrap(),
                Spoiled::Flipped => {
                    disk.write_file(file, bytes).unwrap();
                    disk.flip_bit(file, at as u64, 1 << (at % 8)).unwrap();
                }
            }
        }
        disk
    }

    /// Delivers all that is left. What is wrong with that, in words.
    fn judge(&self, path: &Path, at: usize, how: Spoiled) -> Result<(), String> {
        let disk = self.spoil(path, at, how);
        let spool = open(&disk, options(self.layout)).map_err(|error| error.to_string())?;
        let delivered = self.deliver(&spool)?;
        let lost = self.bodies.len() - delivered.len();
        let is_end = delivered.iter().copied().eq(0..delivered.len());
        let most = match how {
            // The last commit of an open file counts from its start on, as far as it is whole.
            Spoiled::Flipped if is_end && !self.is_sealed => usize::try_from(COMMIT).unwrap(),
            Spoiled::Flipped => self.bound,
            Spoiled::Cut => self.records_from(path, at) + self.bound,
        };
        if lost > most {
            return Err(format!("{lost} records are lost, {most} may be"));
        }
        let books = spool.books().map_err(|error| error.to_string())?;
        let counted = (books.accepted, books.delivered, books.damaged, books.pending);
        let delivered = delivered.len() as u64;
        let expected = (self.bodies.len() as u64, delivered, lost as u64, 0);
        if counted != expected {
            return Err(format!("the books say {counted:?}, expected {expected:?}"));
        }
        Ok(())
    }

    /// How many records stand from a byte of a file on, at most, with those of later files.
    fn records_from(&self, path: &Path, at: usize) -> usize {
        let len = self.files[path].len();
        if self.is_sealed {
            // A member of 256 takes some 60 KB at least.
            let of_file = self.bodies.len() * len / self.len();
            return of_file.min(self.bodies.len()) + self.bound;
        }
        self.bodies.len() * (len - at) / self.len() + self.bodies.len() / 2
    }

    fn len(&self) -> usize {
        let segments = self.files.iter().filter(|(path, _)| is_segment(path));
        segments.map(|(_, bytes)| bytes.len()).sum()
    }

    /// The numbers of what is delivered, in order.
    fn deliver(&self, spool: &Spool) -> Result<Vec<usize>, String> {
        let mut delivered = Vec::new();
        let limits = Limits { records: 4_096, bytes: 64 << 20, ..Limits::default() };
        while let Some(batch) = spool.take(&limits).map_err(|error| error.to_string())? {
            let mut settled = Vec::new();
            for offer in &batch.records {
                let body = &offer.record.body;
                let number = usize::try_from(number_of(body)).unwrap();
                if self.bodies.get(number) != Some(body) {
                    return Err(format!("record {number} is delivered damaged"));
                }
                delivered.push(number);
                settled.push((offer.record.id.position, Settled::new(State::Delivered)));
            }
            spool.settle(&settled).map_err(|error| error.to_string())?;
        }
        Ok(delivered)
    }
}

/// Tries places, two at a time. The failures.
fn campaign(subject: &Subject, how: Spoiled, most: usize) -> (usize, Vec<String>) {
    let places = subject.places(most);
    let next = AtomicUsize::new(0);
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((path, at)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = subject.judge(path, *at, how) {
                        let path = path.display();
                        failures.lock().unwrap().push(format!("{how:?} {path} at {at}: {why}"));
                    }
                }
            });
        }
    });
    (places.len(), failures.into_inner().unwrap())
}

/// A share of the places that were asked for.
fn places_wanted() -> usize {
    match std::env::var("BACKHAUL_DAMAGE_PLACES").as_deref() {
        Ok("all") => usize::MAX,
        Ok(number) => number.parse::<usize>().unwrap() / 8,
        Err(_) => PLACES / 8,
    }
}

fn all_of(how: Spoiled) {
    for layout in FORMS {
        for is_sealed in [false, true] {
            let subject = Subject::new(layout, is_sealed);
            let most = places_wanted();
            let (tried, failures) = campaign(&subject, how, most);
            println!("{how:?} {layout:?} sealed {is_sealed}: {tried} places of {}", subject.len());
            assert!(tried > most.min(1_000) / 2, "{tried}");
            assert!(failures.is_empty(), "{} of {tried}: {}", failures.len(), failures[0]);
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_costs_its_member_and_is_counted() {
    all_of(Spoiled::Flipped);
}

#[test]
fn a_file_that_is_cut_anywhere_costs_what_is_cut_and_is_counted() {
    all_of(Spoiled::Cut);
}

/// The proof can fail: without checksums what is damaged is delivered.
#[test]
fn without_checksums_damage_is_noticed_here() {
    let subject = Subject::new(Layout::Segments, false);
    let sabotaged =
        backhaul_store::Options { sabotage_skip_checksums: true, ..options(Layout::Segments) };
    let found = subject.places(400).into_iter().any(|(path, at)| {
        let disk = subject.spoil(path, at, Spoiled::Flipped);
        let clock = std::sync::Arc::new(ManualClock::new());
        let spool =
            Spool::open_on(DIR, sabotaged.clone(), std::sync::Arc::new(disk), clock).unwrap();
        let spoiled =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| subject.deliver(&spool)));
        !matches!(spoiled, Ok(Ok(_)))
    });
    assert!(found);
}
