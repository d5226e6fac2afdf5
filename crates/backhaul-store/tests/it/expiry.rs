//! Records expire by the time that the device was on, whatever its clock says.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{
    Books, Clock as _, Lane, Limits, Position, Settled, Spool, Standing, State, Timestamp,
};
use backhaul_testkit::errno::EIO;
use backhaul_testkit::{Call, CrashStyle, Fault, Faults, FaultyDisk, ManualClock, Prng, SimDisk};

use crate::support::{DIR, LAYOUTS, Layout, deliver_all, numbered, open_at, options};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const TEN_YEARS: i64 = 10 * 365 * 24 * 3600 * 1_000_000;

/// A device with a spool, whose clock is moved.
struct Device {
    layout: Layout,
    disk: SimDisk,
    clock: ManualClock,
    faults: Faults,
    spool: Option<Spool>,
}

impl Device {
    fn new(layout: Layout) -> Self {
        let (disk, clock) = (SimDisk::new(), ManualClock::new());
        let mut device = Self { layout, disk, clock, faults: Faults::new(), spool: None };
        device.start();
        device
    }

    fn spool(&self) -> &Spool {
        self.spool.as_ref().unwrap()
    }

    fn start(&mut self) {
        self.faults = Faults::new();
        let disk = FaultyDisk::new(self.disk.clone(), self.faults.clone());
        self.spool = Some(open_at(Arc::new(disk), options(self.layout), &self.clock).unwrap());
    }

    /// Ends the process without a chance to write anything.
    fn kill(&mut self) {
        self.faults.add(Fault::any(&Call::ALL, EIO));
        self.disk.kill_process();
        self.spool = None;
    }

    fn reboot(&mut self, wall: Timestamp) {
        self.spool = None;
        self.clock.reboot();
        self.clock.set_wall(wall);
        self.start();
    }

    /// Lets time pass, and has the spool looked after, as it is each second on a device.
    fn pass(&self, time: Duration) {
        for _ in 0..time.as_secs() / 60 {
            self.clock.advance(MINUTE);
            self.spool().maintain().unwrap();
        }
    }

    fn append(&self, number: u64, limit: Duration) -> Position {
        self.spool().append(numbered(number, 10).expires_after(limit)).unwrap().position
    }

    fn wall_in(&self, micros: i64) -> Timestamp {
        Timestamp::from_micros(self.clock.now().wall.as_micros() + micros)
    }

    fn waiting(&self) -> BTreeMap<Position, Duration> {
        let mut waiting = BTreeMap::new();
        let visit = &mut |entry: backhaul_store::QueueEntry| {
            waiting.insert(entry.id.position, entry.age);
            ControlFlow::Continue(())
        };
        self.spool().each(Some(Standing::Pending), visit).unwrap();
        waiting
    }

    fn books(&self) -> Books {
        self.spool().status().unwrap().books
    }

    /// Expired, and waiting.
    fn expired_and_waiting(&self) -> (u64, u64) {
        let books = self.books();
        assert!(books.balance(), "{books:?}");
        (books.expired, books.pending)
    }
}

#[test]
fn a_clock_that_is_ten_years_ahead_or_behind_after_a_boot_expires_nothing_early() {
    for layout in LAYOUTS {
        for years in [TEN_YEARS, -TEN_YEARS] {
            let mut device = Device::new(layout);
            device.append(1, HOUR * 24);
            device.pass(HOUR);
            device.reboot(device.wall_in(years));
            device.pass(HOUR * 22);
            assert_eq!(device.expired_and_waiting(), (0, 1), "{layout:?} {years}");
            device.pass(HOUR + MINUTE * 16);
            assert_eq!(device.expired_and_waiting(), (1, 0), "{layout:?} {years}");
        }
    }
}

#[test]
fn boots_in_1970_add_up_until_a_record_expires() {
    for layout in LAYOUTS {
        let mut device = Device::new(layout);
        device.append(1, HOUR * 10);
        for boot in 0..10 {
            device.reboot(Timestamp::from_micros(0));
            assert_eq!(device.expired_and_waiting(), (0, 1), "{layout:?} {boot}");
            device.pass(HOUR);
        }
        // A boot is noted after 46 of its 60 minutes for the last time.
        device.pass(MINUTE * (14 * 10 + 1));
        assert_eq!(device.expired_and_waiting(), (1, 0), "{layout:?}");
    }
}

#[test]
fn time_that_the_device_was_off_does_not_count() {
    for layout in LAYOUTS {
        let mut device = Device::new(layout);
        let record = device.append(1, HOUR);
        device.pass(MINUTE * 31);
        device.reboot(device.wall_in(30 * 24 * 3600 * 1_000_000));
        device.pass(MINUTE * 20);
        assert_eq!(device.waiting(), BTreeMap::from([(record, MINUTE * 51)]), "{layout:?}");
        device.pass(MINUTE * 10);
        assert_eq!(device.expired_and_waiting(), (1, 0), "{layout:?}");
    }
}

#[test]
fn what_expires_does_so_while_nothing_is_sent() {
    for layout in LAYOUTS {
        let device = Device::new(layout);
        // Behind others, in streams of others, put off, and in each lane.
        let stay = numbered(1, 10).stream("a");
        let first = device.spool().append(stay).unwrap().position;
        for (number, lane) in [(2, Lane::Critical), (3, Lane::Normal), (4, Lane::Bulk)] {
            let record = numbered(number, 10).lane(lane).stream("a").expires_after(HOUR);
            device.spool().append(record).unwrap();
        }
        let put_off = device.append(5, HOUR);
        let later = Settled::new(State::Later).not_before(device.wall_in(24 * 3600 * 1_000_000));
        device.spool().settle(&[(put_off, later)]).unwrap();
        device.pass(HOUR);
        assert_eq!(device.expired_and_waiting(), (0, 5), "{layout:?}");
        device.pass(MINUTE);
        assert_eq!(device.expired_and_waiting(), (4, 1), "{layout:?}");
        assert!(device.waiting().contains_key(&first));
        assert_eq!(deliver_all(device.spool()), [1]);
    }
}

#[test]
fn what_is_on_offer_or_held_does_not_expire_before_it_waits_again() {
    for layout in LAYOUTS {
        let device = Device::new(layout);
        let held = device.append(1, HOUR);
        device.spool().settle(&[(held, Settled::new(State::Held))]).unwrap();
        device.append(2, HOUR);
        let batch = device.spool().take(&Limits::default()).unwrap().unwrap();
        device.pass(HOUR * 2);
        assert_eq!(device.expired_and_waiting(), (0, 2), "{layout:?}");
        drop(batch);
        device.pass(MINUTE);
        assert_eq!(device.expired_and_waiting(), (1, 1), "{layout:?}");
        device.spool().requeue(held).unwrap();
        device.pass(MINUTE);
        assert_eq!(device.expired_and_waiting(), (2, 0), "{layout:?}");
    }
}

#[test]
fn an_expiry_is_counted_and_its_tombstone_says_what_how_many_and_when() {
    for layout in LAYOUTS {
        let mut device = Device::new(layout);
        for number in 1..=7 {
            device.append(number, HOUR);
        }
        device.spool().append(numbered(8, 10)).unwrap();
        device.clock.advance(HOUR + MINUTE);
        device.spool().maintain().unwrap();
        let status = device.spool().status().unwrap();
        assert_eq!((status.books.expired, status.lanes[&Lane::Normal].expired), (7, 7));
        let ledgers = device.disk.paths().into_iter().filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ledger-"))
        });
        let lines = ledgers.map(|path| device.disk.read_file(path).unwrap()).collect::<Vec<_>>();
        let text = String::from_utf8(lines.concat()).unwrap();
        let tombstones: Vec<_> = text.lines().filter(|line| line.contains("expired\",")).collect();
        let [tombstone] = tombstones[..] else { panic!("{layout:?}: {tombstones:?}") };
        let tombstone: serde_json::Value = serde_json::from_str(tombstone).unwrap();
        let entry = &tombstone["entry"];
        assert_eq!(
            (&entry["chain"], &entry["first"], &entry["last"], &entry["at"]),
            (&"normal".into(), &1.into(), &7.into(), &"2026-01-01T01:01:00Z".into())
        );
        assert_eq!(entry["settled"]["reason"], "older than its time to live");
        // It is not said anew after a restart, and nothing of them is left to read.
        device.reboot(device.wall_in(0));
        assert_eq!(device.expired_and_waiting(), (7, 1), "{layout:?}");
        if layout == Layout::Folder {
            let pending = format!("{DIR}/pending/");
            let of_pending = |path: &std::path::PathBuf| path.starts_with(&pending);
            assert_eq!(device.disk.paths().into_iter().filter(of_pending).count(), 1);
        }
        assert_eq!(deliver_all(device.spool()), [8]);
    }
}

#[test]
fn more_than_are_remembered_at_once_expire_in_their_time_all_the_same() {
    let device = Device::new(Layout::Segments);
    let records = 4096 + 200;
    let mut tickets = Vec::new();
    for number in 0..records {
        let record = numbered(number, 1).expires_after(HOUR + Duration::from_millis(number));
        tickets.push(device.spool().submit(record).unwrap());
    }
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    device.pass(HOUR - MINUTE);
    assert_eq!(device.expired_and_waiting(), (0, records));
    device.pass(MINUTE * 2);
    assert_eq!(device.expired_and_waiting(), (4096, 200));
    // They are read again, some at a time.
    device.pass(MINUTE * 20);
    assert_eq!(device.expired_and_waiting(), (records, 0));
}

#[test]
fn a_copy_on_a_machine_that_has_been_on_for_long_expires_nothing_early() {
    for layout in LAYOUTS {
        let mut device = Device::new(layout);
        device.append(1, HOUR);
        device.spool = None;
        device.clock.reboot();
        device.clock.advance(HOUR * 24 * 100);
        let there = backhaul_store::Options {
            machine: Some("another machine".to_owned()),
            ..options(layout)
        };
        device.spool = Some(open_at(Arc::new(device.disk.clone()), there, &device.clock).unwrap());
        device.pass(HOUR);
        assert_eq!(device.expired_and_waiting(), (0, 1), "{layout:?}");
        device.pass(MINUTE);
        assert_eq!(device.expired_and_waiting(), (1, 0), "{layout:?}");
    }
}

// --- Random boots, jumps and power cuts -----------------------------------------------

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    None,
    /// The time while the device is off passes for time since a boot that never ended.
    OneBoot,
    /// Flushes of the ledger do nothing: a power cut takes what it notes of boots.
    UnflushedLedger,
}

/// A record, by the test's own count.
struct Known {
    limit: Duration,
    /// The power-on time at which it was appended.
    born: Duration,
    /// Power-on time since then that nobody may have noted.
    unnoted: Duration,
}

struct World {
    device: Device,
    sabotage: Sabotage,
    random: Prng,
    power_on: Duration,
    in_this_boot: Duration,
    known: BTreeMap<Position, Known>,
    gone: BTreeSet<Position>,
    number: u64,
}

impl World {
    fn new(layout: Layout, seed: u64, sabotage: Sabotage) -> Self {
        let device = Device::new(layout);
        if sabotage == Sabotage::UnflushedLedger {
            device.disk.ignore_flushes_of(format!("{DIR}/state/ledger.tmp"));
            for number in 0..1000 {
                let path = format!("{DIR}/state/ledger-{number:06}.jsonl");
                device.disk.ignore_flushes_of(path);
            }
        }
        Self {
            device,
            sabotage,
            random: Prng::new(seed),
            power_on: Duration::ZERO,
            in_this_boot: Duration::ZERO,
            known: BTreeMap::new(),
            gone: BTreeSet::new(),
            number: 0,
        }
    }

    fn step(&mut self) -> Result<(), String> {
        match self.random.below(8) {
            0..=2 => {
                self.number += 1;
                let limit = Duration::from_secs(60 * (1 + self.random.below(600)));
                let position = self.device.append(self.number, limit);
                let (born, unnoted) = (self.power_on, Duration::ZERO);
                self.known.insert(position, Known { limit, born, unnoted });
            }
            3 | 4 => {
                for _ in 0..self.random.below(90) {
                    self.device.pass(MINUTE);
                    self.power_on += MINUTE;
                    self.in_this_boot += MINUTE;
                    self.check()?;
                }
            }
            5 => self.jump(),
            6 => {
                self.device.kill();
                self.device.start();
            }
            _ => self.boot(),
        }
        self.check()
    }

    fn jump(&mut self) {
        let micros = *self.random.pick(&[TEN_YEARS, -TEN_YEARS, 3_600_000_000, -1]);
        self.device.clock.set_wall(self.device.wall_in(micros));
    }

    fn boot(&mut self) {
        let style = CrashStyle::random(&mut self.random);
        let off = Duration::from_secs(3600 * self.random.below(100));
        if self.sabotage == Sabotage::UnflushedLedger || self.random.chance(0.5) {
            self.device.kill();
            let style = match self.sabotage {
                Sabotage::UnflushedLedger => CrashStyle { keep_names: 1.0, ..CrashStyle::DROP_ALL },
                _ => style,
            };
            self.device.disk.power_cut(&mut self.random, &style);
        }
        self.device.spool = None;
        let unnoted = (self.in_this_boot / 2 + MINUTE).min(MINUTE * 16);
        self.known.values_mut().for_each(|known| known.unnoted += unnoted);
        self.in_this_boot = Duration::ZERO;
        match self.sabotage {
            Sabotage::OneBoot => self.device.clock.advance(off),
            _ => self.device.clock.reboot(),
        }
        let wall = match self.random.below(4) {
            0 => Timestamp::from_micros(0),
            1 => self.device.wall_in(TEN_YEARS),
            2 => self.device.wall_in(0),
            _ => self.device.wall_in(i64::try_from(off.as_micros()).unwrap()),
        };
        self.device.clock.set_wall(wall);
        self.device.start();
    }

    /// Nothing expired early, and nothing that is too old waits.
    fn check(&mut self) -> Result<(), String> {
        self.device.spool().maintain().map_err(|error| error.to_string())?;
        let waiting = self.device.waiting();
        for (position, known) in &self.known {
            let age = self.power_on - known.born;
            match waiting.get(position) {
                None if age <= known.limit => {
                    return Err(format!("{position} of {:?} is gone after {age:?}", known.limit));
                }
                None => {
                    self.gone.insert(*position);
                }
                Some(_) if age > known.limit + known.unnoted + MINUTE => {
                    return Err(format!("{position} of {:?} waits after {age:?}", known.limit));
                }
                Some(told) if *told > age => {
                    return Err(format!("{position} counts as {told:?} old after {age:?}"));
                }
                Some(_) => {}
            }
        }
        let books = self.device.books();
        if books.balance() && books.expired == self.gone.len() as u64 {
            return Ok(());
        }
        Err(format!("{} are gone: {books:?}", self.gone.len()))
    }
}

/// Runs cases; the violation that one ends with, or how many records have expired.
fn run(layout: Layout, seeds: u64, sabotage: Sabotage) -> Result<usize, String> {
    let mut expired = 0;
    for seed in 0..seeds {
        let mut world = World::new(layout, seed, sabotage);
        for _ in 0..80 {
            world.step().map_err(|why| format!("seed {seed}: {why}"))?;
        }
        expired += world.gone.len();
    }
    Ok(expired)
}

#[test]
fn nothing_expires_early_or_late_over_boots_jumps_and_power_cuts() {
    for layout in LAYOUTS {
        let seeds = layout.wanted("BACKHAUL_EXPIRY_SEEDS", 12);
        let expired = run(layout, seeds, Sabotage::None).unwrap_or_else(|why| panic!("{why}"));
        println!("{layout:?}: {seeds} seeds, {expired} records expired in their time");
        assert!(expired as u64 >= seeds * 5, "{layout:?}: {expired}");
    }
}

#[test]
fn the_campaign_notices_when_the_time_off_counts() {
    let why = run(Layout::Segments, 12, Sabotage::OneBoot).unwrap_err();
    assert!(why.contains("is gone after"), "{why}");
}

#[test]
fn the_campaign_notices_when_the_ledger_is_not_durable() {
    let why = run(Layout::Segments, 12, Sabotage::UnflushedLedger).unwrap_err();
    // An expired one that waits again, or one that outlives its time.
    assert!(why.contains("waits after") || why.contains("are gone"), "{why}");
}
