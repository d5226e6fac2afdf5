//! Real processes on a real folder, killed at random moments: whatever a process
//! said was acknowledged is there afterwards, once and intact.
//!
//! `BACKHAUL_KILLS` asks for more kills than the ordinary run has.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use backhaul_store::{Limits, Options, Settled, Spool, Standing, State};
use backhaul_testkit::Prng;

use crate::members::segment_files;
use crate::support::{Layout, number_of, numbered, options};

/// Kills per layout in the ordinary test run, half as many of each form of segments.
const KILLS: u64 = 200;
/// Kills of processes that use one folder, one after another.
const KILLS_PER_FOLDER: u64 = 10;
/// Threads that append in each process.
const THREADS: u64 = 4;

const FOLDER: &str = "BACKHAUL_KILLS_CHILD_FOLDER";
const LAYOUT: &str = "BACKHAUL_KILLS_CHILD_LAYOUT";
const FIRST: &str = "BACKHAUL_KILLS_CHILD_FIRST";
/// How many records each thread appends before the process ends by itself.
const COUNT: &str = "BACKHAUL_KILLS_CHILD_COUNT";
/// Sabotage: the process says "acknowledged" before it appends.
const SABOTAGE: &str = "BACKHAUL_KILLS_CHILD_SABOTAGE";

pub(crate) fn settings(layout: Layout) -> Options {
    Options {
        segment_bytes: 64 << 10,
        first_extent_bytes: 16 << 10,
        maintenance_thread: true,
        min_free_bytes: 0,
        ..options(layout)
    }
}

/// A record's filling follows from its number.
pub(crate) fn length(number: u64) -> usize {
    [20, 200, 900, 5_000][usize::try_from(number % 4).unwrap()]
}

// --- The process that is killed ----------------------------------------------

/// NOT A TEST. The tests below start this very program again with `--exact
/// kills::child` and [`FOLDER`] set, and kill it. Without that variable, as when all
/// tests are run, there is nothing to do here and nothing is proved.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let layout = match std::env::var(LAYOUT).as_deref() {
        Ok("folder") => Layout::Folder,
        Ok("plain") => Layout::Plain,
        _ => Layout::Segments,
    };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let count = std::env::var(COUNT).map_or(usize::MAX, |text| text.parse().unwrap());
    let is_sabotaged = std::env::var(SABOTAGE).is_ok();
    // One system call on a pipe: either all of it is read, or nothing.
    let say = |number: u64| {
        std::io::stdout().write_all(format!("ack {number}\n").as_bytes()).unwrap();
    };
    let spool = Spool::open(folder, settings(layout)).unwrap();
    // Ends the line that the test harness has begun.
    std::io::stdout().write_all(b"\n").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let spool = &spool;
            scope.spawn(move || {
                let numbers = (first + thread..).step_by(usize::try_from(THREADS).unwrap());
                for number in numbers.take(count) {
                    if is_sabotaged {
                        say(number);
                    }
                    spool.append(numbered(number, length(number))).unwrap();
                    if !is_sabotaged {
                        say(number);
                    }
                }
            });
        }
    });
}

/// Starts a process that appends to a folder, from the number `first` on, and says so.
pub(crate) fn appender(folder: &Path, layout: Layout, first: u64) -> Command {
    let name = match layout {
        Layout::Folder => "folder",
        Layout::Segments => "segments",
        Layout::Plain => "plain",
    };
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "kills::child", "--nocapture"])
        .env(FOLDER, folder)
        .env(LAYOUT, name)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// The same, and it ends after so many records from each thread.
pub(crate) fn appender_of(folder: &Path, layout: Layout, first: u64, count: usize) -> Command {
    let mut command = appender(folder, layout, first);
    command.env(COUNT, count.to_string());
    command
}

/// The numbers that a process said were acknowledged.
pub(crate) fn acknowledged_in(text: &str) -> Vec<u64> {
    text.lines().filter_map(|line| line.strip_prefix("ack ")?.parse().ok()).collect()
}

/// Lets a process append until it is killed. Returns what it said was acknowledged.
fn run_and_kill(
    folder: &Path,
    layout: Layout,
    first: u64,
    sabotage: bool,
    random: &mut Prng,
) -> Vec<u64> {
    let mut command = appender(folder, layout, first);
    if sabotage {
        command.env(SABOTAGE, "1");
    }
    let mut child = command.spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    // Now and then it is killed before its first acknowledgement, while it recovers.
    let early = random.chance(0.15);
    while !early && !text.contains("ack ") {
        let read = output.read_line(&mut text).unwrap();
        assert!(read > 0, "the process ended by itself, having said {text:?}");
    }
    std::thread::sleep(Duration::from_micros(1_000 + random.below(59_000)));
    child.kill().unwrap();
    output.read_to_string(&mut text).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{text}");
    acknowledged_in(&text)
}

// --- What has to be there ------------------------------------------------------

/// Counts what a campaign did.
#[derive(Debug, Default)]
struct Seen {
    kills: u64,
    acknowledged: usize,
    delivered: usize,
    segments: usize,
}

/// A folder that is used by one process after another.
struct Round<'a> {
    folder: &'a Path,
    layout: Layout,
    acknowledged: BTreeSet<u64>,
    delivered: BTreeSet<u64>,
}

impl Round<'_> {
    /// Opens the folder, compares, and delivers a part.
    fn verify(&mut self, random: &mut Prng) {
        let options = Options { maintenance_thread: false, ..settings(self.layout) };
        let spool = Spool::open(self.folder, options).unwrap();
        let stored = self.stored(&spool);
        for number in self.acknowledged.difference(&self.delivered) {
            assert!(stored.contains_key(number), "{number} was acknowledged and is lost");
        }
        let mut waiting = BTreeSet::new();
        spool
            .each(Some(Standing::Pending), &mut |entry| {
                let run_id = entry.facts.labels["run_id"].trim_start_matches("run_").to_owned();
                assert!(waiting.insert(run_id.parse::<u64>().unwrap()), "{run_id} waits twice");
                ControlFlow::Continue(())
            })
            .unwrap();
        let lost: Vec<_> = self
            .acknowledged
            .difference(&self.delivered)
            .filter(|n| !waiting.contains(n))
            .collect();
        assert!(lost.is_empty(), "{lost:?} were acknowledged and do not wait");
        let again: Vec<_> = self.delivered.intersection(&waiting).collect();
        assert!(again.is_empty(), "{again:?} were delivered and wait again");
        let books = spool.status().unwrap().books;
        assert!(books.balance() && books.damaged == 0, "{books:?}");
        assert_eq!(books.pending, waiting.len() as u64, "{books:?}");
        // A record whose process did not live to say so is there too.
        self.acknowledged.extend(waiting);
        self.deliver(&spool, random);
    }

    /// Everything on disk: numbers, each once, with intact bodies.
    fn stored(&self, spool: &Spool) -> BTreeMap<u64, backhaul_store::RecordId> {
        let mut stored = BTreeMap::new();
        spool
            .each_from(&BTreeMap::new(), &mut |record| {
                let number = number_of(&record.body);
                assert_eq!(
                    record.body,
                    numbered(number, length(number)).body(),
                    "{number} is bent"
                );
                let before = stored.insert(number, record.id);
                assert!(before.is_none(), "{number} is there twice: {before:?} and {}", record.id);
                ControlFlow::Continue(())
            })
            .unwrap();
        stored
    }

    fn deliver(&mut self, spool: &Spool, random: &mut Prng) {
        for _ in 0..random.below(4) {
            let limits =
                Limits { records: 1 + random.index(100), bytes: 1 << 20, ..Limits::default() };
            let Some(batch) = spool.take(&limits).unwrap() else { return };
            let settled: Vec<_> = batch
                .records
                .iter()
                .filter(|_| random.chance(0.8))
                .map(|offer| {
                    self.delivered.insert(number_of(&offer.record.body));
                    (offer.record.id.position, Settled::new(State::Delivered))
                })
                .collect();
            spool.settle(&settled).unwrap();
        }
    }
}

fn survives(layout: Layout) {
    campaign(layout, layout.wanted("BACKHAUL_KILLS", KILLS), false);
}

/// # Panics
/// When something that was acknowledged is not there.
fn campaign(layout: Layout, wanted: u64, sabotage: bool) {
    let mut random = Prng::new(7);
    let mut seen = Seen::default();
    while seen.kills < wanted {
        let folder = tempfile::tempdir().unwrap();
        let mut round = Round {
            folder: folder.path(),
            layout,
            acknowledged: BTreeSet::new(),
            delivered: BTreeSet::new(),
        };
        for kill in 1..=KILLS_PER_FOLDER.min(wanted - seen.kills) {
            // Numbers of two processes never meet.
            let first = kill * 1_000_000;
            let said = run_and_kill(folder.path(), layout, first, sabotage, &mut random);
            seen.acknowledged += said.len();
            round.acknowledged.extend(said);
            round.verify(&mut random);
            seen.kills += 1;
        }
        seen.delivered += round.delivered.len();
        seen.segments += segment_files(folder.path()).len();
    }
    println!("{layout:?}: {seen:?}");
    assert!(seen.acknowledged as u64 > wanted, "the processes wrote hardly anything: {seen:?}");
    let folders = usize::try_from(wanted.div_ceil(KILLS_PER_FOLDER)).unwrap();
    assert!(
        layout == Layout::Folder || seen.segments >= folders * 3,
        "the processes wrote too few segments: {seen:?}"
    );
}

#[test]
fn what_a_killed_process_acknowledged_is_there_in_the_folder_layout() {
    survives(Layout::Folder);
}

#[test]
fn what_a_killed_process_acknowledged_is_there_in_the_segment_layout() {
    survives(Layout::Segments);
}

#[test]
fn what_a_killed_process_acknowledged_is_there_in_plain_segments() {
    survives(Layout::Plain);
}

#[test]
fn the_campaign_notices_an_acknowledgement_that_comes_too_early() {
    for layout in crate::support::LAYOUTS {
        std::panic::catch_unwind(|| campaign(layout, 20, true))
            .expect_err("records were acknowledged before they were stored, and none was lost");
    }
}
