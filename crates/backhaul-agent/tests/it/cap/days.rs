//! Thirty days of a device with a data cap, in a process that is killed and whose clock is
//! wrong. Its bytes are counted by a proxy in this process, by the true time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use backhaul_agent::OfflineQueue;
use backhaul_store::{Standing, Timestamp};
use backhaul_sync::BandwidthOptions;
use backhaul_testkit::{Ends, FaultLink, FaultServer, Intake, LinkFault, Oracle, Point, Prng};

use super::device::{Device, MOST_BYTES, Start, Synced, record};
use super::{MB, bytes};

const DAYS: u64 = 30;
const HOUR: Duration = Duration::from_secs(3600);
const DAY_US: i64 = 24 * 3600 * 1_000_000;
const TEN_YEARS: i64 = 3650 * DAY_US;
const LIMIT_MB: u64 = 2;
const RESERVE_MB: u64 = 1;
/// Bytes of noise in a record. A day writes more of them than normal traffic may send.
const NORMAL: usize = MOST_BYTES;
const CRITICAL: usize = 40_000;

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    None,
    /// Every clock counts as right.
    TrustTheWallClock,
    /// Nothing is kept for critical records.
    NoReserve,
    /// What was counted is gone with each process.
    Forget,
}

/// What thirty days came to.
#[derive(Debug, Default)]
struct Figures {
    days: u64,
    boots: u64,
    kills: u64,
    kills_in_requests: u64,
    jumps: u64,
    megabytes: u64,
    records: u64,
    /// Critical records that passed when all others were held back.
    critical_in_reserve: u64,
}

struct World {
    sabotage: Sabotage,
    folder: tempfile::TempDir,
    intake: Intake,
    _server: FaultServer,
    link: FaultLink,
    device: Option<Device>,
    start: Start,
    /// Microseconds since 1970, by the true time.
    truth: i64,
    counted: u64,
    /// Bytes over the link by the true day.
    carried: BTreeMap<i64, u64>,
    oracle: Oracle,
    /// Critical records of this true day that have not arrived.
    critical: Vec<String>,
    random: Prng,
    figures: Figures,
}

impl World {
    fn new(seed: u64, sabotage: Sabotage) -> Self {
        // A kill takes nothing that the kernel has: in memory, flushes cost no time.
        let in_memory = tempfile::tempdir_in("/dev/shm");
        let folder = in_memory.or_else(|_| tempfile::tempdir()).unwrap();
        let intake = Intake::new();
        let server = FaultServer::hub(&intake).unwrap();
        let link = FaultLink::to(server.address()).unwrap();
        let truth = Timestamp::parse("2026-03-10T00:00:00Z").unwrap();
        let reserve = if sabotage == Sabotage::NoReserve { 0 } else { RESERVE_MB };
        let start = Start {
            boot_id: "boot-0".to_owned(),
            since_boot: Duration::ZERO,
            wall: truth,
            is_synchronised: true,
            options: BandwidthOptions {
                daily_limit_mb: Some(LIMIT_MB),
                priority_reserve_mb: reserve,
                ..BandwidthOptions::default()
            },
            bandwidth_dir: PathBuf::new(),
        };
        Self {
            sabotage,
            folder,
            intake,
            _server: server,
            link,
            device: None,
            start,
            truth: truth.as_micros(),
            counted: 0,
            carried: BTreeMap::new(),
            oracle: Oracle::new(),
            critical: Vec::new(),
            random: Prng::new(seed),
            figures: Figures::default(),
        }
    }

    // --- The device ----------------------------------------------------------------

    fn device(&mut self) -> &mut Device {
        self.device.get_or_insert_with(|| {
            let name = match self.sabotage {
                Sabotage::Forget => format!("bandwidth-{}", self.random.next_u64()),
                _ => "bandwidth".to_owned(),
            };
            self.start.bandwidth_dir = self.folder.path().join(name);
            Device::start(self.folder.path(), &self.link.url(), &self.start)
        })
    }

    /// Lets time pass while the device is on.
    fn pass(&mut self, time: Duration) {
        self.device().pass(time);
        self.start.since_boot += time;
        self.start.wall = later(self.start.wall, time);
        self.truth += micros(time);
    }

    /// Sets the clock, and says whether it is known to be right.
    fn set_clock(&mut self, wall: i64, is_synchronised: bool) {
        let is_trusted = self.sabotage == Sabotage::TrustTheWallClock;
        (self.start.wall, self.start.is_synchronised) =
            (Timestamp::from_micros(wall), is_synchronised || is_trusted);
        let Start { wall, is_synchronised, .. } = self.start;
        if let Some(device) = &mut self.device {
            device.set_clock(wall, is_synchronised);
        }
    }

    fn kill(&mut self) {
        if let Some(device) = self.device.take() {
            device.kill();
            self.figures.kills += 1;
        }
    }

    /// The battery dies, and the device comes back after a while with some clock.
    fn reboot(&mut self) {
        self.kill();
        self.figures.boots += 1;
        let off = Duration::from_secs(60 * self.random.below(90));
        self.truth += micros(off);
        self.start.boot_id = format!("boot-{}", self.figures.boots);
        self.start.since_boot = Duration::ZERO;
        let stopped = self.start.wall.as_micros();
        let wall = *self.random.pick(&[0, self.truth + TEN_YEARS, stopped, self.truth]);
        self.set_clock(wall, false);
    }

    /// The device is killed while it waits for an answer; the hub may have stored it all.
    fn kill_in_a_request(&mut self) {
        let point = *self.random.pick(&[
            Point::Request,
            Point::RequestByte(30_000),
            Point::RequestEnd,
            Point::AnswerLost,
        ]);
        let before = self.link.counts();
        self.link.next(1, LinkFault::stall(point));
        self.device().begin_sync();
        // Where nothing may be sent it is done without a request.
        let is_stalled = loop {
            let is_stalled = self.link.counts().faults > before.faults;
            if is_stalled || self.device().is_done() {
                break is_stalled;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        self.kill();
        self.figures.kills_in_requests += u64::from(is_stalled);
        self.link.clear();
    }

    // --- What happens ---------------------------------------------------------------

    fn something_happens(&mut self) {
        match self.random.below(8) {
            0 => self.kill(),
            1 | 2 => self.reboot(),
            3 => {
                self.figures.jumps += 1;
                let wall = self.start.wall.as_micros();
                let by = *self.random.pick(&[DAY_US, -DAY_US, TEN_YEARS, -TEN_YEARS, 3 * DAY_US]);
                self.set_clock(wall + by, false);
            }
            4 => self.set_clock(self.truth, true),
            _ => {}
        }
    }

    fn write(&mut self, bytes: usize, is_critical: bool) -> String {
        self.figures.records += 1;
        let run_id = format!("run_{}", self.figures.records);
        let id = self.device().write(&run_id, bytes, is_critical);
        self.oracle.acknowledged(&id, None, record(&run_id, bytes, is_critical).to_json());
        id
    }

    /// Has all go that may go now.
    fn sync(&mut self) -> Result<Synced, String> {
        for _ in 0..self.random.below(3) {
            let point = *self.random.pick(&[Point::Request, Point::AnswerHead, Point::AnswerLost]);
            self.link.next(1, LinkFault::reset(point));
        }
        let mut synced = self.device().sync();
        for _ in 0..3 {
            if synced.blocked_by != "offline" {
                break;
            }
            self.pass(Duration::from_secs(60));
            synced = self.device().sync();
        }
        self.link.clear();
        self.count()?;
        Ok(synced)
    }

    /// Counts what the link has carried, which is all of this true day.
    fn count(&mut self) -> Result<(), String> {
        let now = bytes(&self.link);
        let day = self.truth.div_euclid(DAY_US);
        let carried = self.carried.entry(day).or_default();
        *carried += now - std::mem::replace(&mut self.counted, now);
        if *carried > LIMIT_MB * MB {
            let time = Timestamp::from_micros(self.truth);
            return Err(format!(
                "{carried} bytes on the day of {time}, the device has {:?}",
                self.start
            ));
        }
        Ok(())
    }

    fn day(&mut self) -> Result<(), String> {
        let end = (self.truth.div_euclid(DAY_US) + 1) * DAY_US;
        for quarter in 1..=4 {
            self.something_happens();
            for _ in 0..2 {
                self.write(NORMAL, false);
            }
            let synced = self.sync()?;
            let critical = self.write(CRITICAL, true);
            self.critical.push(critical);
            if self.random.chance(0.2) {
                self.kill_in_a_request();
                self.count()?;
            }
            self.sync()?;
            let arrived = self.intake.keys();
            let waiting = self.critical.len();
            self.critical.retain(|id| !arrived.contains(id));
            if synced.blocked_by == "cap" && synced.remaining > 0 {
                self.figures.critical_in_reserve += (waiting - self.critical.len()) as u64;
            }
            // Long enough for the day to end with the last of them.
            let until = end - (4 - quarter) * micros(HOUR * 5);
            let left = u64::try_from((until - self.truth).max(0)).unwrap();
            self.pass(Duration::from_secs(left / 1_000_000));
        }
        if self.critical.is_empty() {
            return Ok(());
        }
        Err(format!("critical records of this day have not arrived: {:?}", self.critical))
    }

    /// Holds what was acknowledged against what there is.
    fn check(&mut self) -> Result<(), String> {
        self.kill();
        let queue = OfflineQueue::new(self.folder.path().join("queue")).unwrap();
        let waiting = queue.list(Some(Standing::Pending)).unwrap();
        let ends = Ends {
            arrived: self.intake.items(),
            failed: Vec::new(),
            waiting: waiting.iter().map(|entry| entry.id.to_string()).collect(),
        };
        self.oracle.check(&ends).map_err(|wrong| wrong.to_string())?;
        let books = queue.stats().unwrap().books;
        if books.balance() && books.accepted == self.oracle.len() as u64 {
            return Ok(());
        }
        Err(format!("{books:?} of {} records", self.oracle.len()))
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap()
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_micros(time.as_micros() + micros(by))
}

fn run(seed: u64, sabotage: Sabotage) -> Result<Figures, String> {
    let mut world = World::new(seed, sabotage);
    for day in 0..DAYS {
        world.day().map_err(|why| format!("seed {seed}, day {day}: {why}"))?;
        world.figures.days += 1;
    }
    world.check()?;
    world.figures.megabytes = world.carried.values().sum::<u64>() / MB;
    Ok(world.figures)
}

#[test]
fn in_thirty_days_of_kills_and_wrong_clocks_no_day_carries_more_than_the_cap() {
    let seeds = std::env::var("BACKHAUL_CAP_DAYS_SEEDS");
    for seed in 0..seeds.map_or(1, |text| text.parse().unwrap()) {
        let figures = run(seed, Sabotage::None).unwrap_or_else(|why| panic!("{why}"));
        println!("seed {seed}: {figures:?}");
        assert_eq!(figures.days, DAYS);
        assert!(figures.boots >= 5 && figures.jumps >= 2, "{figures:?}");
        assert!(figures.kills_in_requests >= 2 && figures.critical_in_reserve >= 30, "{figures:?}");
        // A clock that nobody knows costs at most half of what the days could carry.
        assert!(figures.megabytes >= DAYS * LIMIT_MB / 4, "{figures:?}");
    }
}

#[test]
fn the_count_of_the_days_notices_a_clock_that_is_trusted() {
    let why = run(4, Sabotage::TrustTheWallClock).unwrap_err();
    assert!(why.contains("bytes on the day"), "{why}");
}

#[test]
fn the_count_of_the_days_notices_a_count_that_is_forgotten() {
    let why = run(1, Sabotage::Forget).unwrap_err();
    assert!(why.contains("bytes on the day"), "{why}");
}

#[test]
fn the_days_notice_that_nothing_is_kept_for_critical_records() {
    let why = run(1, Sabotage::NoReserve).unwrap_err();
    assert!(why.contains("critical records of this day"), "{why}");
}
