//! Three days without a link: two power cuts, a clock that is wrong, a data cap. The device
//! is in memory and on a moved clock; its hub is a process of its own, whose store is
//! counted.

mod device;

use std::collections::BTreeMap;
use std::time::Duration;

use backhaul::observability::RunRecord;
use backhaul::store::{Clock as _, Lane, StoredRecord, Timestamp};
use backhaul::sync::{BlockedKind, SyncReport, SyncStatus};
use backhaul_testkit::{Ends, FaultLink, Item, LinkFault, Oracle, Point, Prng};
use serde_json::Value;
use tokio::runtime::Runtime;

use self::device::{Boot, Device, Run};
use crate::support::{Hub, stored};

/// The data cap and what of it is kept for critical records, in MB: fifty times less than
/// the 100 MB of a cheap contract.
const CAP: (u64, u64) = (2, 1);
const MB: u64 = 1_000_000;
const STEP: Duration = Duration::from_secs(15 * 60);
const STEPS_OF_A_DAY: u64 = 96;
const DAY_US: i64 = 24 * 3600 * 1_000_000;
const TEN_YEARS: i64 = 3650 * DAY_US;
const STREAMS: [&str; 4] = ["boiler", "gate", "pump", "roof"];
/// No request of a healthy link takes as long, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    None,
    /// Flushes do nothing.
    NoFlushes,
    /// Every clock counts as right.
    TrustTheWallClock,
    /// Critical runs are stored as any others.
    NothingIsCritical,
}

/// What three days, and the days after them, came to.
#[derive(Debug, Default)]
struct Figures {
    acknowledged: usize,
    critical: usize,
    /// Runs that a power cut fell into, and what came of them.
    cut_short: usize,
    days_to_drain: u64,
    most_in_a_day: u64,
    /// In one second of the device's time.
    most_requests: u64,
    duplicates: u64,
}

struct World {
    runtime: Runtime,
    dir: tempfile::TempDir,
    hub: Hub,
    link: FaultLink,
    device: Device,
    boot: Option<Boot>,
    /// Microseconds since 1970, by the true time.
    truth: i64,
    oracle: Oracle,
    /// Runs that were acknowledged and have not been sent: whether critical, when stored.
    written: BTreeMap<String, (bool, i64)>,
    /// Runs that a power cut fell into: nobody was told that they are stored.
    cut_short: Vec<String>,
    /// The one that was open with all its events flushed when the power went.
    open: Option<Run>,
    number: u64,
    random: Prng,
    figures: Figures,
}

impl World {
    fn new(seed: u64, sabotage: Sabotage) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::start(&dir.path().join("hub"));
        let link = FaultLink::to(hub.address).unwrap();
        link.refuse();
        let device = Device::new(sabotage);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let mut world = Self {
            runtime: runtime.unwrap(),
            dir,
            hub,
            link,
            truth: device.clock.now().wall.as_micros(),
            device,
            boot: None,
            oracle: Oracle::new(),
            written: BTreeMap::new(),
            cut_short: Vec::new(),
            open: None,
            number: 0,
            random: Prng::new(seed),
            figures: Figures::default(),
        };
        world.start(Duration::from_millis(60), true);
        world
    }

    // --- The device ------------------------------------------------------------------

    fn boot(&self) -> &Boot {
        self.boot.as_ref().unwrap()
    }

    fn start(&mut self, timeout: Duration, is_synchronised: bool) {
        let url = self.link.url();
        let boot = self.device.boot(&url, timeout, is_synchronised);
        self.boot = Some(self.runtime.block_on(boot));
    }

    fn pass(&mut self, time: Duration) {
        self.device.pass(time, self.boot());
        self.truth += micros(time);
    }

    /// The battery is empty. The device comes back hours later, with another idea of time.
    fn power_cut(&mut self, wall: impl Fn(i64) -> i64, timeout: Duration) {
        let boot = self.boot.take().unwrap();
        self.device.power_cut(boot, &mut self.random);
        self.truth += micros(Duration::from_secs(60 * self.random.below(300)));
        self.device.clock.set_wall(Timestamp::from_micros(wall(self.truth)));
        self.start(timeout, false);
    }

    fn next_run(&mut self) -> Run {
        self.number += 1;
        let random = &mut self.random;
        let is_critical = random.chance(0.15);
        let stream = (!is_critical && random.chance(0.5)).then(|| *random.pick(&STREAMS));
        let bytes = 2_000 + random.index(24_000);
        Run { number: self.number, bytes, is_critical, stream }
    }

    /// Writes a run. Where the power goes meanwhile nothing was promised.
    fn write(&mut self) {
        let run = self.next_run();
        let is_marked = self.device.sabotage != Sabotage::NothingIsCritical;
        let marked = Run { is_critical: run.is_critical && is_marked, ..run.clone() };
        self.boot().begin(&marked);
        match self.boot().end() {
            Some(record) if !self.device.is_cut() => self.acknowledged(&run, &record),
            _ => self.cut_short.push(run.id()),
        }
    }

    fn acknowledged(&mut self, run: &Run, record: &RunRecord) {
        self.oracle.acknowledged(run.id(), run.stream, record.to_json());
        self.written.insert(run.id(), (run.is_critical, self.truth));
    }

    // --- Offline ---------------------------------------------------------------------

    /// A quarter of an hour without a link: some runs, and a look for the link.
    fn step_offline(&mut self) -> Result<(), String> {
        for _ in 0..self.random.below(3) {
            self.write();
        }
        if self.device.is_cut() {
            return Ok(());
        }
        // Only as long as requests are given up soon.
        let is_half_open = self.open.is_none() && self.random.chance(0.03);
        if is_half_open {
            self.link.down();
        }
        let before = self.link.counts().connections;
        let report = self.runtime.block_on(self.boot().courier.sync_now());
        let connections = self.link.counts().connections - before;
        self.link.refuse();
        self.pass(STEP);
        if self.device.is_cut() {
            return Ok(());
        }
        ensure(connections <= 2, || format!("{connections} connections for one look"))?;
        ensure(report.synced == 0, || format!("{report:?} without a link"))?;
        let pending = self.boot().courier.status().pending_count;
        let written = self.written.len() as u64;
        let most = written + self.cut_short.len() as u64 + u64::from(self.open.is_some());
        let is_known = (written..=most).contains(&pending);
        ensure(is_known, || format!("{pending} wait, {written} were written"))?;
        self.ensure_age()?;
        self.explain(BlockedKind::Offline)
    }

    /// Anybody can see what waits, and why.
    fn explain(&self, why: BlockedKind) -> Result<(), String> {
        let status = self.boot().courier.status();
        self.explains(&status, why).map_err(|wrong| format!("{wrong}: {status:?}"))
    }

    fn explains(&self, status: &SyncStatus, why: BlockedKind) -> Result<(), String> {
        let pending = status.pending_count;
        if pending == 0 {
            return Ok(());
        }
        let by_lane: u64 = status.pending_by_lane.values().sum();
        ensure(by_lane == pending, || "the lanes do not add up".to_owned())?;
        let lanes: Vec<&Lane> = status.pending_by_lane.keys().collect();
        let known = lanes.iter().all(|lane| matches!(lane, Lane::Critical | Lane::Normal));
        ensure(known, || format!("{lanes:?} wait"))?;
        let blocked_by = status.blocked_by.as_ref().map(|blocked| blocked.kind);
        ensure(blocked_by == Some(why), || format!("not blocked by {why:?}"))?;
        ensure(status.last_error.is_some(), || "no error is told".to_owned())?;
        let now = self.device.clock.now();
        let next = status.next_attempt_at.map(|at| at.as_micros() - now.wall.as_micros());
        let is_soon = next.is_some_and(|next| (0..=70_000_000).contains(&next));
        ensure(is_soon, || format!("the next attempt is due in {next:?} us"))?;
        ensure(status.oldest_age.is_some(), || "no age is told".to_owned())
    }

    /// While all wait, the oldest is as old as it is where the clock is right, and never
    /// younger than the boot.
    fn ensure_age(&self) -> Result<(), String> {
        let oldest = self.boot().courier.status().oldest_age.unwrap_or_default();
        let now = self.device.clock.now();
        let since = self.written.values().map(|(_, at)| self.truth - at).max().unwrap_or(0);
        let since = Duration::from_micros(u64::try_from(since).unwrap());
        let second = Duration::from_secs(1);
        if now.wall.as_micros() == self.truth {
            let is_right = oldest + second >= since && oldest <= since + second;
            return ensure(is_right, || format!("{oldest:?} told of {since:?}"));
        }
        let least = since.min(now.since_boot);
        ensure(oldest + second >= least, || format!("{oldest:?} told of {least:?} at least"))
    }

    /// Three days, and what happens in them. Fewer do where records come in a wrong order.
    fn three_days(&mut self) -> Result<(), String> {
        let days = if self.device.sabotage == Sabotage::NothingIsCritical { 1 } else { 3 };
        let steps = days * STEPS_OF_A_DAY;
        let first_cut = 20 + self.random.below(steps / 2);
        let second_cut = first_cut + 20 + self.random.below(steps / 3);
        for step in 0..steps {
            if step == first_cut {
                // At some flush of the agent, the courier or the data cap.
                let flushes = self.random.below(60);
                let mut random = self.random.fork();
                self.device.cut_after(flushes, &mut random);
            }
            if step == second_cut {
                let run = self.next_run();
                self.boot().begin(&run);
                self.open = Some(run);
                self.power_cut(|truth| truth + TEN_YEARS, PATIENCE);
            }
            self.step_offline().map_err(|why| format!("step {step}: {why}"))?;
            if self.device.is_cut() {
                self.power_cut(|_| 0, Duration::from_millis(60));
            }
        }
        ensure(self.cut_short.len() <= 40, || format!("{} cut short", self.cut_short.len()))
    }

    // --- Back ------------------------------------------------------------------------

    /// The link is back: everything goes, as the cap allows.
    fn drain(&mut self) -> Result<(), String> {
        self.link.up();
        for _ in 0..3 {
            let point = [Point::Request, Point::AnswerLost, Point::AnswerBody(3)];
            self.link.pass(self.random.below(4));
            self.link.next(1, LinkFault::reset(*self.random.pick(&point)));
        }
        self.boot.as_mut().unwrap().answered();
        let mut carried: BTreeMap<i64, u64> = BTreeMap::new();
        let first_day = self.truth.div_euclid(DAY_US);
        for look in 0..30 * STEPS_OF_A_DAY {
            let before = self.link.counts();
            let report = self.runtime.block_on(self.boot().courier.sync_now());
            let after = self.link.counts();
            let answered = self.boot.as_mut().unwrap().answered();
            let requests = after.requests - before.requests;
            self.ensure_no_stampede(look == 0, requests, &answered)?;
            let day = self.truth.div_euclid(DAY_US);
            let of_day = carried.entry(day).or_default();
            *of_day += after.bytes_up + after.bytes_down - before.bytes_up - before.bytes_down;
            let of_day = *of_day;
            ensure(of_day <= CAP.0 * MB, || format!("{of_day} bytes in one day"))?;
            self.figures.most_in_a_day = self.figures.most_in_a_day.max(of_day);
            if report.remaining == 0 {
                self.figures.days_to_drain = u64::try_from(day - first_day).unwrap() + 1;
                return Ok(());
            }
            self.explain_what_remains(&report)?;
            self.pass(STEP);
            self.maybe_jump();
        }
        Err(format!("it never arrives: {:?}", self.boot().courier.status()))
    }

    /// Begins with one record, at most doubles, and asks for nothing in vain.
    fn ensure_no_stampede(
        &mut self,
        is_first: bool,
        requests: u64,
        answered: &[u64],
    ) -> Result<(), String> {
        self.figures.most_requests = self.figures.most_requests.max(requests);
        let most = answered.len() as u64 + 3;
        ensure(requests <= most, || format!("{requests} requests for {answered:?}"))?;
        let mut most = if is_first { 1 } else { 50 };
        for records in answered {
            ensure(*records <= most, || format!("batches of {answered:?}"))?;
            most = (most * 2).min(50);
        }
        Ok(())
    }

    fn explain_what_remains(&self, report: &SyncReport) -> Result<(), String> {
        match report.blocked_by.as_ref().map(|blocked| blocked.kind) {
            Some(BlockedKind::Cap) => {
                self.explain(BlockedKind::Cap)?;
                let status = self.boot().courier.status();
                let cap = status.bandwidth.ok_or("nothing is told of the cap")?;
                let used = cap.used_bytes;
                ensure(used > 0 && used <= CAP.0 * MB, || format!("{used} bytes used"))
            }
            // A request that broke off.
            Some(BlockedKind::Offline) => self.explain(BlockedKind::Offline),
            other => Err(format!("blocked by {other:?}")),
        }
    }

    /// The clock, of which nobody knows whether it is right, jumps from time to time.
    fn maybe_jump(&mut self) {
        if self.random.chance(0.02) {
            let wall = self.device.clock.now().wall.as_micros();
            let by = *self.random.pick(&[DAY_US, 2 * DAY_US, -DAY_US, TEN_YEARS]);
            self.device.clock.set_wall(Timestamp::from_micros(wall + by));
        }
    }

    // --- At the hub ------------------------------------------------------------------

    /// Holds what was acknowledged against what the hub's store holds.
    fn check(self) -> Result<Figures, String> {
        let Self { hub, dir, oracle, written, cut_short, open, mut figures, boot, runtime, .. } =
            self;
        let boot = boot.unwrap();
        runtime.block_on(boot.courier.stop());
        let books = boot.queue().stats().unwrap().books;
        ensure(books.balance() && books.pending + books.rejected == 0, || format!("{books:?}"))?;
        hub.terminate();
        let mut arrived = BTreeMap::new();
        let mut items = Vec::new();
        let mut times: [Vec<i64>; 2] = [Vec::new(), Vec::new()];
        for record in stored(&dir.path().join("hub")) {
            let id = run_id(&record);
            *arrived.entry(id.clone()).or_insert(0) += 1;
            if let Some((is_critical, _)) = written.get(&id) {
                times[usize::from(!is_critical)].push(record.stamp.wall.as_micros());
            }
            if open.as_ref().is_some_and(|open| open.id() == id) {
                let calls = tool_calls(&record);
                ensure(calls == 3, || format!("{calls} tool calls of the open run are left"))?;
            }
            if written.contains_key(&id) {
                items.push(Item::new(id, record.body));
            }
        }
        for id in cut_short.iter().chain(open.as_ref().map(Run::id).as_ref()) {
            let times = arrived.get(id).copied().unwrap_or(0);
            ensure(times <= 1, || format!("{id}, cut short, arrived {times} times"))?;
        }
        let known = |id: &String| written.contains_key(id) || cut_short.contains(id);
        let open_id = open.map(|open| open.id());
        let stranger = arrived.keys().find(|id| !known(id) && Some(*id) != open_id.as_ref());
        ensure(stranger.is_none(), || format!("nobody wrote {stranger:?}"))?;
        let opened = open_id.is_none_or(|id| arrived.contains_key(&id));
        ensure(opened, || "the run that was open has not arrived".to_owned())?;
        let ends = Ends { arrived: items, ..Ends::default() };
        oracle.check(&ends).map_err(|wrong| wrong.to_string())?;
        let [critical, others] = times;
        let is_first = critical.iter().max() <= others.iter().min();
        ensure(is_first, || "critical records came behind others".to_owned())?;
        (figures.acknowledged, figures.critical) = (oracle.len(), critical.len());
        (figures.cut_short, figures.duplicates) = (cut_short.len(), books.duplicates);
        Ok(figures)
    }
}

fn ensure(is_so: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(wrong()) }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap()
}

fn body(record: &StoredRecord) -> Value {
    serde_json::from_slice(&record.body).unwrap()
}

fn run_id(record: &StoredRecord) -> String {
    body(record)["run_id"].as_str().unwrap().to_owned()
}

fn tool_calls(record: &StoredRecord) -> usize {
    body(record)["tool_calls"].as_array().map_or(0, Vec::len)
}

fn run(seed: u64, sabotage: Sabotage) -> Result<Figures, String> {
    let mut world = World::new(seed, sabotage);
    world.three_days()?;
    world.drain()?;
    world.check()
}

#[test]
fn three_days_offline_with_two_power_cuts_arrive_whole_inside_the_cap() {
    let seeds = std::env::var("BACKHAUL_THREE_DAYS_SEEDS");
    for seed in 0..seeds.map_or(1, |text| text.parse().unwrap()) {
        let figures = run(seed, Sabotage::None).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        println!("seed {seed}: {figures:?}");
        assert!(figures.acknowledged > 150 && figures.critical > 10, "{figures:?}");
        assert!(figures.days_to_drain >= 2 && figures.most_in_a_day > MB / 2, "{figures:?}");
    }
}

#[test]
fn the_three_days_notice_flushes_that_do_nothing() {
    let why = run(0, Sabotage::NoFlushes).unwrap_err();
    assert!(why.contains("is lost") || why.contains("wait,"), "{why}");
}

#[test]
fn the_three_days_notice_a_clock_that_is_trusted() {
    let why = run(6, Sabotage::TrustTheWallClock).unwrap_err();
    assert!(why.contains("bytes in one day"), "{why}");
}

#[test]
fn the_three_days_notice_critical_records_that_wait_for_their_turn() {
    let why = run(0, Sabotage::NothingIsCritical).unwrap_err();
    assert!(why.contains("critical records came behind"), "{why}");
}
