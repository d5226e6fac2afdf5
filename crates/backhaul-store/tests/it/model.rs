//! A plain model runs beside the real store on random steps; reopening, killing the
//! process and cutting the power are steps like any other.
//!
//! After each step the books balance and are the model's, and what waits is what
//! the model says, in its order. Only a power cut may change what the model did not
//! foresee, and only in the directions that `docs/guarantees.md` allows: settlements
//! that were not flushed are forgotten (the record waits again), and records that
//! were acknowledged without a flush are gone.
//!
//! `BACKHAUL_MODEL_CASES` asks for more cases than the ordinary run has,
//! `BACKHAUL_MODEL_SEED` for others.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backhaul_store::{
    Batch, Books, Chain, Clock, ErrorKind, Flush, Lane, Layout, Limits, Options, Position,
    QueueEntry, Record, RecordId, Sequence, Settled, Spool, Standing, State, Timestamp, WhenFull,
};
use backhaul_testkit::{Call, CrashStyle, Fault, Faults, FaultyDisk, ManualClock, Prng, SimDisk};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use crate::support::{numbered, open_at, options};

/// Cases per layout in the ordinary test run.
const CASES: u32 = 400;
/// Most steps of one case.
const STEPS: usize = 90;
const LANES: [Lane; 3] = [Lane::Critical, Lane::Normal, Lane::Bulk];
const LENGTHS: [usize; 5] = [0, 40, 300, 3_000, 9_000];

// --- Steps -------------------------------------------------------------------

#[derive(Debug, Clone)]
struct New {
    lane: usize,
    len: usize,
    stream: Option<u8>,
    expires_s: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Delivered,
    Duplicate,
    Later(u64),
    Rejected,
    Expired,
    Dropped,
    Held,
    /// Left unsettled when the batch is dropped.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Wait,
    DropAndMaintain,
    DropAndFlush,
}

#[derive(Debug, Clone)]
enum Step {
    Append(New),
    /// Acknowledged without a flush.
    AppendRelaxed(New),
    Burst(Vec<New>, End),
    Take {
        records: usize,
        bytes: usize,
    },
    /// Settles the oldest batch in flight, and drops it.
    Settle(Vec<Verdict>),
    /// Settles any record, in flight or not, settled or not.
    Operate(usize, Verdict),
    Requeue(usize),
    Advance(u64),
    Maintain,
    Flush,
    Reopen,
    Kill,
    PowerCut(u64),
}

#[derive(Debug, Clone)]
struct Setup {
    cap: Option<(u64, WhenFull)>,
    keep_s: u64,
}

fn new_record() -> impl Strategy<Value = New> {
    let stream = prop_oneof![3 => Just(None), 2 => (0..3u8).prop_map(Some)];
    let expires = prop_oneof![6 => Just(None), 1 => (1..20u64).prop_map(Some)];
    (0..LANES.len(), 0..LENGTHS.len(), stream, expires)
        .prop_map(|(lane, len, stream, expires_s)| New { lane, len, stream, expires_s })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        8 => Just(Verdict::Delivered),
        2 => Just(Verdict::Duplicate),
        3 => (0..12u64).prop_map(Verdict::Later),
        2 => Just(Verdict::Rejected),
        1 => Just(Verdict::Expired),
        1 => Just(Verdict::Dropped),
        1 => Just(Verdict::Held),
        2 => Just(Verdict::Nothing),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        4 => Just(End::Wait),
        1 => Just(End::DropAndMaintain),
        1 => Just(End::DropAndFlush),
    ];
    let bytes = prop_oneof![3 => Just(1 << 20), 1 => 0..10_000usize];
    prop_oneof![
        10 => new_record().prop_map(Step::Append),
        3 => new_record().prop_map(Step::AppendRelaxed),
        5 => (prop::collection::vec(new_record(), 1..10), end)
            .prop_map(|(records, end)| Step::Burst(records, end)),
        8 => (1..12usize, bytes).prop_map(|(records, bytes)| Step::Take { records, bytes }),
        8 => prop::collection::vec(verdict(), 1..6).prop_map(Step::Settle),
        2 => (any::<usize>(), verdict()).prop_map(|(which, verdict)| Step::Operate(which, verdict)),
        3 => any::<usize>().prop_map(Step::Requeue),
        4 => (1..8_000u64).prop_map(Step::Advance),
        5 => Just(Step::Maintain),
        1 => Just(Step::Flush),
        2 => Just(Step::Reopen),
        2 => Just(Step::Kill),
        3 => any::<u64>().prop_map(Step::PowerCut),
    ]
}

fn setup() -> impl Strategy<Value = Setup> {
    let policy = prop_oneof![
        Just(WhenFull::Reject),
        Just(WhenFull::DropOldest),
        Just(WhenFull::DropLowestPriority),
    ];
    let cap = prop_oneof![
        2 => Just(None),
        3 => (prop_oneof![Just(128u64 << 10), Just(192 << 10)], policy).prop_map(Some),
    ];
    let keep_s = prop_oneof![Just(1), Just(10), Just(7 * 24 * 3600)];
    (cap, keep_s).prop_map(|(cap, keep_s)| Setup { cap, keep_s })
}

// --- The model ---------------------------------------------------------------

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waiting,
    Delivered,
    Duplicate,
    Rejected,
    Expired,
    Dropped,
    Evicted,
}

/// One time that a record was asked for later.
#[derive(Debug, Clone)]
struct Try {
    not_before_us: i64,
    reason: String,
}

#[derive(Debug, Clone)]
struct Item {
    number: u64,
    len: usize,
    stream: Option<u8>,
    expires_s: Option<u64>,
    boot: String,
    since_boot: Duration,
    wall: Timestamp,
    fate: Fate,
    tries: Vec<Try>,
    held: bool,
    /// Why it was rejected, and after how many attempts.
    failure: Option<(String, u32)>,
    /// A power cut cannot take the record.
    durable: bool,
    /// Acknowledged without a flush by a process that was killed: in the folder layout
    /// that is known again only when the record is offered.
    orphaned: bool,
    /// A power cut cannot take what the ledger says of it.
    settled: bool,
}

impl Item {
    fn record(&self, lane: Lane) -> Record {
        let mut record = numbered(self.number, self.len).lane(lane);
        if let Some(stream) = self.stream {
            record = record.stream(format!("s{stream}"));
        }
        match self.expires_s {
            Some(seconds) => record.expires_after(Duration::from_secs(seconds)),
            None => record,
        }
    }

    /// Bytes that it takes on disk in a file of its own, with a sidecar.
    fn room(&self, lane: Lane) -> u64 {
        self.record(lane).body().len().next_multiple_of(4096) as u64 + 4096
    }

    fn age(&self, clock: &ManualClock) -> Duration {
        let now = clock.now();
        if self.boot == clock.boot_id() {
            now.since_boot.saturating_sub(self.since_boot)
        } else {
            now.wall.since(self.wall)
        }
    }

    fn is_expired(&self, clock: &ManualClock) -> bool {
        self.expires_s.is_some_and(|limit| self.age(clock) > Duration::from_secs(limit))
    }

    fn must_wait(&self, clock: &ManualClock) -> bool {
        let now = clock.now().wall.as_micros();
        self.held || self.tries.last().is_some_and(|last| last.not_before_us > now)
    }

    fn can_be_requeued(&self) -> bool {
        self.fate == Fate::Rejected || (self.fate == Fate::Waiting && self.held)
    }

    fn last_error(&self) -> Option<&str> {
        match &self.failure {
            Some((reason, _)) => Some(reason),
            None => self.tries.last().map(|last| last.reason.as_str()),
        }
    }
}

type Place = (Lane, u64);

fn position(place: Place) -> Position {
    Position { chain: Chain { lane: place.0, writer: 0 }, sequence: Sequence(place.1) }
}

fn place(position: Position) -> Place {
    (position.chain.lane, position.sequence.0)
}

/// What was seen in all cases of a run, to tell that they reached what they should.
#[derive(Debug, Default)]
struct Seen {
    cases: AtomicU64,
    steps: AtomicU64,
    long_cases: AtomicU64,
    power_cuts: AtomicU64,
    kills: AtomicU64,
    waiting_again: AtomicU64,
    relaxed_lost: AtomicU64,
    evicted: AtomicU64,
    refused: AtomicU64,
    requeued: AtomicU64,
    expired: AtomicU64,
}

impl Seen {
    fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
}

type Outcome<T = ()> = Result<T, String>;

macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

struct Run<'a> {
    layout: Layout,
    setup: Setup,
    seen: &'a Seen,
    disk: SimDisk,
    faults: Faults,
    clock: ManualClock,
    spool: Option<Spool>,
    batches: Vec<(u64, Batch)>,
    /// Which batch a record is on offer in.
    in_flight: BTreeMap<Place, u64>,
    turn: u64,
    items: BTreeMap<Place, Item>,
    next: BTreeMap<Lane, u64>,
    number: u64,
    /// Relaxed records that a power cut took.
    lost: u64,
    name: Option<RecordId>,
    segments: BTreeSet<String>,
}

impl<'a> Run<'a> {
    fn start(layout: Layout, setup: Setup, disk: SimDisk, seen: &'a Seen) -> Outcome<Self> {
        let mut run = Self {
            layout,
            setup,
            seen,
            disk,
            faults: Faults::new(),
            clock: ManualClock::new(),
            spool: None,
            batches: Vec::new(),
            in_flight: BTreeMap::new(),
            turn: 0,
            items: BTreeMap::new(),
            next: BTreeMap::new(),
            number: 0,
            lost: 0,
            name: None,
            segments: BTreeSet::new(),
        };
        run.open()?;
        Ok(run)
    }

    fn open(&mut self) -> Outcome {
        let options = Options {
            segment_bytes: 16 << 10,
            max_bytes: self.setup.cap.map(|(bytes, _)| bytes),
            when_full: self.setup.cap.map(|(_, policy)| policy).unwrap_or_default(),
            keep_delivered_for: Duration::from_secs(self.setup.keep_s),
            ..options(self.layout)
        };
        self.faults = Faults::new();
        let disk = FaultyDisk::new(self.disk.clone(), self.faults.clone());
        let opened = open_at(Arc::new(disk), options, &self.clock);
        self.spool = Some(opened.map_err(|error| format!("does not open: {error}"))?);
        Ok(())
    }

    fn spool(&self) -> &Spool {
        self.spool.as_ref().expect("the spool is open between steps")
    }

    fn step(&mut self, step: &Step) -> Outcome {
        let mut appended = None;
        match step {
            Step::Append(new) => appended = self.append(new, Flush::Always)?,
            Step::AppendRelaxed(new) => {
                appended = self.append(new, Flush::Every(Duration::from_secs(1)))?;
            }
            Step::Burst(new, end) => appended = self.burst(new, *end)?,
            Step::Take { records, bytes } => self.take(*records, *bytes)?,
            Step::Settle(verdicts) => self.settle(verdicts)?,
            Step::Operate(which, verdict) => self.operate(*which, *verdict)?,
            Step::Requeue(which) => self.requeue(*which)?,
            Step::Advance(ms) => self.clock.advance(Duration::from_millis(*ms)),
            Step::Maintain => self.maintain()?,
            Step::Flush => {
                self.spool().flush().map_err(|error| format!("flush: {error}"))?;
                self.records_are_durable();
            }
            Step::Reopen => {
                self.batches.clear();
                self.in_flight.clear();
                self.spool = None;
                self.records_are_durable();
                self.ledger_is_durable();
                self.open()?;
                self.check_ends()?;
                self.check_bodies()?;
            }
            Step::Kill => {
                self.die();
                for item in self.items.values_mut().filter(|item| !item.durable) {
                    item.orphaned = self.layout == Layout::Folder;
                }
                self.open()?;
                self.check_ends()?;
                self.check_bodies()?;
            }
            Step::PowerCut(seed) => {
                self.power_cut(*seed)?;
                self.check_bodies()?;
            }
        }
        self.check(appended)
    }

    // --- Appending -------------------------------------------------------------

    fn item(&mut self, new: &New, flush: Flush) -> Item {
        self.number += 1;
        let now = self.clock.now();
        Item {
            number: self.number,
            len: LENGTHS[new.len],
            stream: new.stream,
            expires_s: new.expires_s,
            boot: self.clock.boot_id().to_owned(),
            since_boot: now.since_boot,
            wall: now.wall,
            fate: Fate::Waiting,
            tries: Vec::new(),
            held: false,
            failure: None,
            durable: flush == Flush::Always,
            orphaned: false,
            settled: true,
        }
    }

    /// The lane of the record, if an eviction was allowed for its sake.
    fn append(&mut self, new: &New, flush: Flush) -> Outcome<Option<Lane>> {
        let lane = LANES[new.lane];
        let item = self.item(new, flush);
        let result = self
            .spool()
            .submit_with(item.record(lane), flush)
            .and_then(backhaul_store::Ticket::wait);
        match result {
            Ok(id) => self.accept(id, lane, item)?,
            Err(error) => self.refused(error.kind(), &error.to_string(), item.room(lane))?,
        }
        Ok(Some(lane))
    }

    fn accept(&mut self, id: RecordId, lane: Lane, item: Item) -> Outcome {
        let expected = self.take_place(lane);
        ensure!(place(id.position) == expected, "{id} was given, {expected:?} was next");
        let name = *self.name.get_or_insert(id);
        ensure!(
            (name.device, name.epoch) == (id.device, id.epoch),
            "the spool's name changed from {name} to {id}"
        );
        self.items.insert(expected, item);
        Ok(())
    }

    fn take_place(&mut self, lane: Lane) -> Place {
        let next = self.next.entry(lane).or_insert(1);
        *next += 1;
        (lane, *next - 1)
    }

    /// `asked`: bytes of the bodies, each in blocks of its own, with a sidecar.
    fn refused(&self, kind: ErrorKind, error: &str, asked: u64) -> Outcome {
        ensure!(kind == ErrorKind::Full && self.setup.cap.is_some(), "append: {error}");
        Seen::add(&self.seen.refused, 1);
        let (cap, _) = self.setup.cap.unwrap_or_default();
        let used = self.measured();
        // Beside the records a segment for each lane, and the ledger's lines.
        ensure!(used + asked + (48 << 10) > cap, "{used} of {cap} bytes are used, and: {error}");
        Ok(())
    }

    /// Bytes that the spool's files take on disk.
    fn measured(&self) -> u64 {
        let files = self.disk.paths().into_iter().map(|path| self.disk.read_file(path).unwrap());
        files.map(|bytes| bytes.len().next_multiple_of(4096) as u64).sum()
    }

    fn burst(&mut self, new: &[New], end: End) -> Outcome<Option<Lane>> {
        let mut items = Vec::new();
        let mut tickets = Vec::new();
        for new in new {
            let lane = LANES[new.lane];
            let item = self.item(new, Flush::Always);
            let ticket = self.spool().submit(item.record(lane));
            tickets.push(ticket.map_err(|error| format!("submit: {error}"))?);
            items.push((lane, item));
        }
        let most_urgent = items.iter().map(|(lane, _)| *lane).min();
        if end == End::Wait {
            let results: Vec<_> = tickets.into_iter().map(backhaul_store::Ticket::wait).collect();
            let stored = results.iter().filter(|result| result.is_ok()).count();
            ensure!(stored == 0 || stored == items.len(), "{stored} of {} stored", items.len());
            let asked = items.iter().map(|(lane, item)| item.room(*lane)).sum();
            for (result, (lane, item)) in results.into_iter().zip(items) {
                match result {
                    Ok(id) => self.accept(id, lane, item)?,
                    Err(error) => self.refused(error.kind(), &error.to_string(), asked)?,
                }
            }
            return Ok(most_urgent);
        }
        drop(tickets);
        if end == End::DropAndMaintain {
            self.maintain()?;
        } else {
            self.spool().flush().map_err(|error| format!("flush: {error}"))?;
            self.records_are_durable();
        }
        // Nobody was told whether they fitted: all of them or none.
        let ends = self.ends()?;
        let grown: u64 = LANES
            .iter()
            .map(|lane| ends.get(lane).copied().unwrap_or(1) - self.next.get(lane).unwrap_or(&1))
            .sum();
        ensure!(grown == 0 || grown == items.len() as u64, "{grown} of {} stored", items.len());
        ensure!(grown > 0 || self.setup.cap.is_some(), "dropped tickets were not committed");
        if grown > 0 {
            for (lane, item) in items {
                let place = self.take_place(lane);
                self.items.insert(place, item);
            }
        }
        Ok(most_urgent)
    }

    fn ends(&self) -> Outcome<BTreeMap<Lane, u64>> {
        let ends = self.spool().ends().map_err(|error| format!("ends: {error}"))?;
        for chain in ends.keys() {
            ensure!(chain.writer == 0, "there is a second writer: {chain}");
        }
        // A lane whose first segment was made in vain is as good as one never used.
        let used = ends.into_iter().filter(|(_, end)| end.0 > 1);
        Ok(used.map(|(chain, end)| (chain.lane, end.0)).collect())
    }

    // --- Delivering --------------------------------------------------------------

    fn take(&mut self, records: usize, bytes: usize) -> Outcome {
        let expected = self.expect_take(records, bytes);
        let taken = self
            .spool()
            .take(&Limits { records, bytes })
            .map_err(|error| format!("take: {error}"))?;
        self.records_are_durable();
        let places: Vec<Place> = taken
            .iter()
            .flat_map(|batch| &batch.records)
            .map(|offer| place(offer.record.id.position))
            .collect();
        ensure!(places == expected, "take gave {places:?}, the model {expected:?}");
        for offer in taken.iter().flat_map(|batch| &batch.records) {
            let place = place(offer.record.id.position);
            let item = self.items.get_mut(&place).unwrap();
            // What is offered a power cut cannot take back, whoever appended it.
            (item.durable, item.orphaned) = (true, false);
            ensure!(
                offer.record.body == item.record(place.0).body(),
                "the body of {place:?} is not what was appended"
            );
            ensure!(
                usize::try_from(offer.attempts) == Ok(item.tries.len()),
                "{place:?}: {} attempts, the model has {}",
                offer.attempts,
                item.tries.len()
            );
        }
        self.turn += 1;
        self.in_flight.extend(places.into_iter().map(|place| (place, self.turn)));
        self.batches.extend(taken.map(|batch| (self.turn, batch)));
        Ok(())
    }

    /// What a take has to give; records that are too old on the way expire.
    fn expect_take(&mut self, records: usize, limit: usize) -> Vec<Place> {
        let in_flight = &self.in_flight;
        let on_offer: BTreeSet<u8> =
            in_flight.keys().filter_map(|place| self.items.get(place)?.stream).collect();
        let must_last = self.layout == Layout::Folder;
        let mut expired = false;
        for lane in LANES {
            let mut busy = on_offer.clone();
            let mut taken: Vec<Place> = Vec::new();
            let mut bytes = 0;
            for (place, item) in self.items.range_mut((lane, 0)..=(lane, u64::MAX)) {
                if taken.len() >= records {
                    break;
                }
                if item.fate != Fate::Waiting || in_flight.contains_key(place) {
                    continue;
                }
                let held_back = item.stream.is_some_and(|stream| busy.contains(&stream));
                if held_back || item.must_wait(&self.clock) {
                    busy.extend(item.stream);
                    continue;
                }
                if item.is_expired(&self.clock) {
                    (item.fate, item.settled) = (Fate::Expired, false);
                    expired = true;
                    continue;
                }
                let len = item.record(lane).body().len();
                if !taken.is_empty() && bytes + len > limit {
                    break;
                }
                bytes += len;
                busy.extend(item.stream);
                taken.push(*place);
            }
            if !taken.is_empty() || lane == LANES[LANES.len() - 1] {
                if expired && must_last {
                    self.ledger_is_durable();
                }
                return taken;
            }
        }
        Vec::new()
    }

    fn settle(&mut self, verdicts: &[Verdict]) -> Outcome {
        if self.batches.is_empty() {
            return Ok(());
        }
        let (turn, batch) = self.batches.remove(0);
        let places: Vec<(Place, Verdict)> = batch
            .records
            .iter()
            .zip(verdicts.iter().cycle())
            .map(|(offer, verdict)| (place(offer.record.id.position), *verdict))
            .collect();
        self.pronounce(&places)?;
        drop(batch);
        self.in_flight.retain(|_, of| *of != turn);
        Ok(())
    }

    fn operate(&mut self, which: usize, verdict: Verdict) -> Outcome {
        if self.items.is_empty() {
            return Ok(());
        }
        let place = *self.items.keys().nth(which % self.items.len()).unwrap();
        // What a power cut may still take is nobody's to judge.
        if !self.items[&place].durable {
            return Ok(());
        }
        self.pronounce(&[(place, verdict)])
    }

    /// Settles records, really and in the model.
    fn pronounce(&mut self, verdicts: &[(Place, Verdict)]) -> Outcome {
        let mut settlements = Vec::new();
        let mut must_last = self.layout == Layout::Folder;
        for (place, verdict) in verdicts {
            self.number += 1;
            let reason = format!("because {}", self.number);
            let state = match verdict {
                Verdict::Delivered => State::Delivered,
                Verdict::Duplicate => State::Duplicate,
                Verdict::Later(_) => State::Later,
                Verdict::Rejected => State::Rejected,
                Verdict::Expired => State::Expired,
                Verdict::Dropped => State::Dropped,
                Verdict::Held => State::Held,
                Verdict::Nothing => continue,
            };
            let wall = self.clock.now().wall.as_micros();
            let mut settled = Settled::new(state).reason(reason.clone());
            let mut not_before_us = i64::MIN;
            if let Verdict::Later(seconds) = verdict {
                not_before_us = wall + i64::try_from(seconds * 1_000_000).unwrap();
                settled = settled.not_before(Timestamp::from_micros(not_before_us));
            }
            must_last |= matches!(state, State::Rejected | State::Dropped | State::Held);
            settlements.push((position(*place), settled));
            self.in_flight.remove(place);
            if let Some(item) = self.items.get_mut(place) {
                item.apply(state, Try { not_before_us, reason });
            }
        }
        self.spool().settle(&settlements).map_err(|error| format!("settle: {error}"))?;
        if must_last && !settlements.is_empty() {
            self.ledger_is_durable();
        }
        Ok(())
    }

    fn requeue(&mut self, which: usize) -> Outcome {
        if self.items.is_empty() {
            return Ok(());
        }
        // Mostly one that can be requeued, sometimes any.
        let failed: Vec<Place> = self
            .items
            .iter()
            .filter(|(_, item)| item.can_be_requeued())
            .map(|(place, _)| *place)
            .collect();
        let all: Vec<Place> = self.items.keys().copied().collect();
        let from = if failed.is_empty() || which.is_multiple_of(5) { &all } else { &failed };
        let place = from[which % from.len()];
        let done =
            self.spool().requeue(position(place)).map_err(|error| format!("requeue: {error}"))?;
        let item = self.items.get_mut(&place).unwrap();
        let expected = item.can_be_requeued();
        ensure!(done == expected, "requeue of {place:?} said {done}");
        if item.fate == Fate::Rejected {
            item.fate = Fate::Waiting;
            item.failure = None;
            item.tries.clear();
        }
        if done {
            item.held = false;
            Seen::add(&self.seen.requeued, 1);
            self.ledger_is_durable();
        }
        Ok(())
    }

    fn maintain(&self) -> Outcome {
        if let Err(error) = self.spool().maintain() {
            // Sealing and growing need room for a while; at the cap there may be none.
            ensure!(error.is_full() && self.setup.cap.is_some(), "maintain: {error}");
        }
        Ok(())
    }

    // --- What survives -----------------------------------------------------------

    fn records_are_durable(&mut self) {
        self.items.values_mut().for_each(|item| item.durable |= !item.orphaned);
    }

    fn ledger_is_durable(&mut self) {
        self.items.values_mut().for_each(|item| item.settled = true);
    }

    /// The process ends without a word: what it still does no longer reaches the disk.
    fn die(&mut self) {
        Seen::add(&self.seen.kills, 1);
        self.disk.kill_process();
        self.faults.add(Fault::any(&ALL_CALLS, backhaul_testkit::errno::EIO));
        self.batches.clear();
        self.in_flight.clear();
        self.spool = None;
    }

    fn power_cut(&mut self, seed: u64) -> Outcome {
        Seen::add(&self.seen.power_cuts, 1);
        let mut random = Prng::new(seed);
        let style = CrashStyle::random(&mut random);
        self.disk.kill_process();
        self.faults.add(Fault::any(&ALL_CALLS, backhaul_testkit::errno::EIO));
        self.disk.power_cut(&mut random, &style);
        self.batches.clear();
        self.in_flight.clear();
        self.spool = None;
        self.clock.reboot();
        self.open()?;
        self.resynchronise().map_err(|why| format!("after a power cut, {style:?}: {why}"))?;
        self.check_ends()?;
        // What was found is durable by now, whatever it was before.
        self.items.values_mut().for_each(|item| item.orphaned = false);
        self.records_are_durable();
        self.ledger_is_durable();
        Ok(())
    }

    /// After opening: no place of a record is given again. The place of one that a
    /// power cut took may be.
    fn check_ends(&mut self) -> Outcome {
        let ends = self.ends()?;
        for (lane, sequence) in self.items.keys() {
            let next = ends.get(lane).copied().unwrap_or(1);
            ensure!(*sequence < next, "{lane}/{sequence} is there, and {next} is given next");
        }
        ensure!(
            ends == self.next || self.lost > 0,
            "{ends:?} are given next, the model has {:?}",
            self.next
        );
        self.next = ends;
        Ok(())
    }

    /// Takes over what the power cut changed, where it was allowed to.
    fn resynchronise(&mut self) -> Outcome {
        let waiting = self.list(Standing::Pending)?;
        let mut gone = Vec::new();
        let (mut again, mut lost) = (0, 0);
        for (place, item) in &mut self.items {
            match (item.fate, waiting.get(place)) {
                (Fate::Waiting, None) => {
                    ensure!(!item.durable, "{place:?} was acknowledged and is lost");
                    gone.push(*place);
                    lost += 1;
                }
                (Fate::Delivered | Fate::Duplicate | Fate::Expired, Some(_)) => {
                    ensure!(!item.settled, "{place:?} was {:?}, and waits again", item.fate);
                    item.fate = Fate::Waiting;
                    again += 1;
                }
                _ => {}
            }
            if let (Fate::Waiting, Some(entry)) = (item.fate, waiting.get(place)) {
                item.forget_tries(entry).map_err(|why| format!("{place:?}: {why}"))?;
            }
        }
        gone.iter().for_each(|place| drop(self.items.remove(place)));
        self.lost += lost;
        Seen::add(&self.seen.waiting_again, again);
        Seen::add(&self.seen.relaxed_lost, gone.len());
        Ok(())
    }

    // --- Comparing -----------------------------------------------------------------

    fn list(&self, standing: Standing) -> Outcome<BTreeMap<Place, QueueEntry>> {
        let mut entries = BTreeMap::new();
        let mut order = Vec::new();
        self.spool()
            .each(Some(standing), &mut |entry| {
                order.push(place(entry.id.position));
                entries.insert(place(entry.id.position), entry);
                ControlFlow::Continue(())
            })
            .map_err(|error| format!("list: {error}"))?;
        ensure!(order.is_sorted(), "listed out of order: {order:?}");
        ensure!(order.len() == entries.len(), "listed twice: {order:?}");
        Ok(entries)
    }

    fn check(&mut self, appended: Option<Lane>) -> Outcome {
        let status = self.spool().status().map_err(|error| format!("status: {error}"))?;
        let waiting = self.list(Standing::Pending)?;
        self.take_over_evictions(&status.books, &waiting, appended)?;
        self.compare(Fate::Waiting, &waiting)?;
        self.compare(Fate::Rejected, &self.list(Standing::Failed)?)?;
        self.check_books(&status.books, waiting.len() as u64)?;
        for path in self.disk.paths() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(".jsonl.gz") {
                self.segments.insert(name.replace(".synced", ""));
            }
        }
        Ok(())
    }

    fn take_over_evictions(
        &mut self,
        books: &Books,
        waiting: &BTreeMap<Place, QueueEntry>,
        appended: Option<Lane>,
    ) -> Outcome {
        let known = self.count(Fate::Evicted);
        let new = books.evicted.checked_sub(known).ok_or("evictions were forgotten")?;
        if new == 0 {
            return Ok(());
        }
        let missing: Vec<Place> = self
            .items
            .iter()
            .filter(|(place, item)| item.fate == Fate::Waiting && !waiting.contains_key(place))
            .map(|(place, _)| *place)
            .collect();
        ensure!(missing.len() as u64 == new, "{new} evicted, {missing:?} are missing");
        let (Some(lane), Some((_, policy))) = (appended, self.setup.cap) else {
            return Err(format!("{missing:?} were evicted, and nothing asked for room"));
        };
        ensure!(policy != WhenFull::Reject, "{missing:?} were evicted from a spool that rejects");
        // A failed record keeps its whole file from being evicted.
        let nothing_failed = self.count(Fate::Rejected) == 0;
        for (evicted_lane, sequence) in &missing {
            let oldest = waiting.keys().find(|(of, _)| of == evicted_lane);
            ensure!(
                !nothing_failed || oldest.is_none_or(|(_, oldest)| oldest > sequence),
                "{evicted_lane}/{sequence} was evicted, {oldest:?} is older"
            );
            ensure!(
                policy != WhenFull::DropLowestPriority || *evicted_lane >= lane,
                "{evicted_lane}/{sequence} was evicted for a record in {lane}"
            );
        }
        let critical = missing.iter().any(|(lane, _)| *lane == Lane::Critical);
        let others = waiting.keys().any(|(lane, sequence)| {
            // What was appended just now came after.
            *lane != Lane::Critical && self.next.get(lane).is_some_and(|next| sequence + 12 < *next)
        });
        ensure!(
            !critical || !others || !nothing_failed,
            "critical records were evicted before others: {missing:?}"
        );
        for place in &missing {
            self.in_flight.remove(place);
            let item = self.items.get_mut(place).unwrap();
            (item.fate, item.held) = (Fate::Evicted, false);
        }
        Seen::add(&self.seen.evicted, missing.len());
        self.ledger_is_durable();
        Ok(())
    }

    fn compare(&self, fate: Fate, found: &BTreeMap<Place, QueueEntry>) -> Outcome {
        let expected: Vec<Place> = self
            .items
            .iter()
            .filter(|(_, item)| item.fate == fate)
            .map(|(place, _)| *place)
            .collect();
        let places: Vec<Place> = found.keys().copied().collect();
        ensure!(places == expected, "{fate:?}: found {places:?}, the model has {expected:?}");
        for (place, entry) in found {
            let item = &self.items[place];
            let record = item.record(place.0);
            let attempts = match &item.failure {
                Some((_, attempts)) => *attempts,
                None => u32::try_from(item.tries.len()).unwrap(),
            };
            let found = (
                entry.facts.labels.get("run_id").map(String::as_str),
                entry.facts.stream.as_deref(),
                entry.facts.expires_after_ms,
                entry.size_bytes,
                entry.attempts,
                entry.last_error.as_deref(),
            );
            let (run_id, stream) =
                (format!("run_{}", item.number), item.stream.map(|stream| format!("s{stream}")));
            let expected = (
                Some(run_id.as_str()),
                stream.as_deref(),
                item.expires_s.map(|seconds| seconds * 1000),
                record.body().len(),
                attempts,
                item.last_error(),
            );
            ensure!(found == expected, "{place:?}: found {found:?}, the model has {expected:?}");
        }
        Ok(())
    }

    fn count(&self, fate: Fate) -> u64 {
        self.items.values().filter(|item| item.fate == fate).count() as u64
    }

    fn check_books(&self, books: &Books, waiting: u64) -> Outcome {
        ensure!(books.balance(), "the books do not balance: {books:?}");
        let duplicates = self.count(Fate::Duplicate);
        // Relaxed records that a power cut took may be known by their places.
        let missing = books.accepted.checked_sub(self.items.len() as u64);
        let missing = missing.ok_or_else(|| format!("accepted too few: {books:?}"))?;
        ensure!(missing <= self.lost, "{missing} too many accepted: {books:?}");
        let expected = Books {
            accepted: self.items.len() as u64 + missing,
            delivered: self.count(Fate::Delivered) + duplicates,
            duplicates,
            expired: self.count(Fate::Expired),
            evicted: self.count(Fate::Evicted),
            rejected: self.count(Fate::Rejected),
            dropped: self.count(Fate::Dropped),
            superseded: 0,
            damaged: books.damaged,
            pending: waiting + missing - books.damaged.min(missing),
            void: books.void,
        };
        ensure!(*books == expected, "the books say {books:?}, the model {expected:?}");
        ensure!(books.void <= self.lost, "{} places are void: {books:?}", books.void);
        Ok(())
    }

    fn check_bodies(&self) -> Outcome {
        for (at, item) in self.items.iter().filter(|(_, item)| item.fate == Fate::Waiting) {
            let (_, record) =
                self.spool().get(position(*at)).map_err(|error| format!("get {at:?}: {error}"))?;
            ensure!(
                record.body == item.record(at.0).body(),
                "the body of {at:?} is not what was appended"
            );
            if let Some(name) = self.name {
                ensure!(
                    (record.id.device, record.id.epoch) == (name.device, name.epoch),
                    "{} was named {name} before",
                    record.id
                );
            }
        }
        Ok(())
    }
}

impl Item {
    /// What a settlement makes of a record; one that waits no more changes no more,
    /// but for a failed one that is dropped.
    fn apply(&mut self, state: State, attempt: Try) {
        let droppable = self.fate == Fate::Rejected && state == State::Dropped;
        if self.fate != Fate::Waiting && !droppable {
            return;
        }
        match state {
            State::Later => {
                self.tries.push(attempt);
                self.settled = false;
                return;
            }
            State::Held => {
                self.held = true;
                self.settled = false;
                return;
            }
            State::Rejected => {
                let attempts = u32::try_from(self.tries.len()).unwrap() + 1;
                self.failure = Some((attempt.reason, attempts));
                self.fate = Fate::Rejected;
            }
            State::Delivered => self.fate = Fate::Delivered,
            State::Duplicate => self.fate = Fate::Duplicate,
            State::Expired => self.fate = Fate::Expired,
            _ => {
                self.failure = None;
                self.fate = Fate::Dropped;
            }
        }
        // What is forgotten of a delivery leaves a record that was held before held again.
        self.held &= matches!(self.fate, Fate::Delivered | Fate::Duplicate | Fate::Expired);
        self.settled = false;
    }

    /// After a power cut some attempts may be forgotten, where they were not flushed.
    fn forget_tries(&mut self, entry: &QueueEntry) -> Outcome {
        let kept = usize::try_from(entry.attempts).unwrap();
        if kept == self.tries.len() {
            return Ok(());
        }
        ensure!(!self.settled, "{kept} attempts are left of {}", self.tries.len());
        ensure!(kept < self.tries.len(), "{kept} attempts, the model has {}", self.tries.len());
        let last = entry.last_error.as_deref();
        let known = self.tries.iter().position(|attempt| Some(attempt.reason.as_str()) == last);
        self.tries = match known {
            Some(at) if kept > 0 => vec![self.tries[at].clone(); kept],
            _ => Vec::new(),
        };
        Ok(())
    }
}

const ALL_CALLS: [Call; 14] = [
    Call::CreateDir,
    Call::Open,
    Call::Create,
    Call::List,
    Call::Rename,
    Call::Remove,
    Call::SyncDir,
    Call::Space,
    Call::Read,
    Call::Write,
    Call::Len,
    Call::SetLen,
    Call::Flush,
    Call::Lock,
];

// --- Running -------------------------------------------------------------------

fn run_case(
    layout: Layout,
    setup: &Setup,
    steps: &[Step],
    sabotage: fn(&SimDisk),
    seen: &Seen,
) -> Outcome {
    let disk = SimDisk::new();
    sabotage(&disk);
    let mut run = Run::start(layout, setup.clone(), disk, seen)?;
    for (index, step) in steps.iter().enumerate() {
        run.step(step).map_err(|why| format!("step {index}, {step:?}: {why}"))?;
        Seen::add(&seen.steps, 1);
    }
    Seen::add(&seen.cases, 1);
    let is_long = layout == Layout::Folder || run.segments.len() >= 3;
    Seen::add(&seen.long_cases, usize::from(is_long));
    let expired = usize::try_from(run.count(Fate::Expired)).unwrap();
    Seen::add(&seen.expired, expired);
    Ok(())
}

fn number_from(variable: &str, otherwise: u32) -> u32 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect(variable))
}

fn run_all(
    layout: Layout,
    cases: u32,
    shrink: bool,
    sabotage: fn(&SimDisk),
) -> Result<Seen, String> {
    let seed = number_from("BACKHAUL_MODEL_SEED", 1).to_le_bytes();
    let mut seeds = [0; 32];
    seeds[..4].copy_from_slice(&seed);
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: if shrink { 20_000 } else { 0 },
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seeds));
    let seen = Seen::default();
    // Three parts, so that hardly a case is short, and every case can shrink to one step.
    let part = || prop::collection::vec(step(), 0..STEPS / 3);
    let steps = (part(), part(), part()).prop_map(|(a, b, c)| [a, b, c].concat());
    let result = runner.run(&(setup(), steps), |(setup, steps)| {
        run_case(layout, &setup, &steps, sabotage, &seen).map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => Ok(seen),
        Err(TestError::Fail(why, (setup, steps))) => {
            let list: Vec<String> = steps.iter().map(|step| format!("    {step:?}")).collect();
            Err(format!("{layout:?}, {setup:?}:\n{}\n{why}", list.join("\n")))
        }
        Err(TestError::Abort(why)) => Err(why.to_string()),
    }
}

fn agrees(layout: Layout) {
    let cases = number_from("BACKHAUL_MODEL_CASES", CASES);
    let seen = run_all(layout, cases, true, |_| {}).unwrap_or_else(|why| panic!("{why}"));
    println!("{layout:?}: {seen:?}");
    let reached = |counter: &AtomicU64| counter.load(Ordering::Relaxed) > 0;
    assert!(seen.cases.load(Ordering::Relaxed) >= u64::from(cases));
    assert!(
        seen.long_cases.load(Ordering::Relaxed) * 10 >= u64::from(cases) * 9,
        "too few cases span three segments"
    );
    for counter in [
        &seen.power_cuts,
        &seen.kills,
        &seen.relaxed_lost,
        &seen.evicted,
        &seen.refused,
        &seen.requeued,
        &seen.expired,
    ] {
        assert!(reached(counter), "the cases did not reach everything: {seen:?}");
    }
}

#[test]
fn the_store_agrees_with_a_model_in_the_folder_layout() {
    agrees(Layout::Folder);
}

#[test]
fn the_store_agrees_with_a_model_in_the_segment_layout() {
    agrees(Layout::Segments);
}

#[test]
fn the_model_notices_a_missing_flush() {
    for layout in crate::support::LAYOUTS {
        run_all(layout, 200, false, |disk| disk.ignore_flushes(true))
            .expect_err("flushes were ignored, and nothing was lost");
    }
}

#[test]
fn the_model_notices_a_missing_directory_sync() {
    for layout in crate::support::LAYOUTS {
        run_all(layout, 200, false, |disk| disk.ignore_dir_syncs(true))
            .expect_err("directory syncs were ignored, and nothing was lost");
    }
}
