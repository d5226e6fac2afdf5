//! Taking what a chooser likes best. What exactly a take gives is the model's to say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_store::{
    Batch, Choice, Chooser, Lane, Limits, Record, Scorer, Settled, Spool, State, StoredRecord,
    Ticket,
};
use backhaul_testkit::errno::EIO;
use backhaul_testkit::{Call, Fault, Faults, FaultyDisk, ManualClock, SimDisk};
use proptest::prelude::*;

use crate::support::{LAYOUTS, Layout, number_of, numbered, open_at, options};

/// Takes its scores from a table, and counts the records that it is shown.
#[derive(Default)]
struct Table {
    scores: Arc<Mutex<BTreeMap<u64, f64>>>,
    choice: Choice,
    shown: AtomicUsize,
}

impl Table {
    fn new(choice: Choice) -> Arc<Self> {
        Arc::new(Self { choice, ..Self::default() })
    }

    fn set(&self, number: u64, score: f64) {
        self.scores.lock().unwrap().insert(number, score);
    }

    fn shown(&self) -> usize {
        self.shown.load(Ordering::Relaxed)
    }
}

impl Chooser for Table {
    fn scorer(&self, record: &StoredRecord) -> Scorer {
        self.shown.fetch_add(1, Ordering::Relaxed);
        let (number, scores) = (number_of(&record.body), Arc::clone(&self.scores));
        Box::new(move |_| scores.lock().unwrap().get(&number).copied().unwrap_or(0.0))
    }

    fn choice(&self) -> Choice {
        self.choice
    }
}

fn never_the_oldest() -> Choice {
    Choice { oldest_every: u32::MAX, ..Choice::default() }
}

fn limits(records: usize) -> Limits {
    Limits { records, ..Limits::default() }
}

fn take(spool: &Spool, records: usize, chooser: &Arc<Table>) -> Option<Batch> {
    let chooser: Arc<dyn Chooser> = Arc::clone(chooser) as _;
    spool.take_chosen(&limits(records), &chooser).unwrap()
}

/// The numbers of a batch in the order of the choice.
fn chosen(batch: &Batch) -> Vec<u64> {
    let mut offers: Vec<_> = batch.records.iter().collect();
    offers.sort_by_key(|offer| offer.place);
    offers.iter().map(|offer| number_of(&offer.record.body)).collect()
}

fn settle(spool: &Spool, batch: &Batch, state: State) {
    let settled: Vec<_> =
        batch.records.iter().map(|offer| (offer.record.id.position, Settled::new(state))).collect();
    spool.settle(&settled).unwrap();
}

/// Takes a batch and settles it as delivered.
fn deliver(spool: &Spool, records: usize, chooser: &Arc<Table>) -> Vec<u64> {
    let Some(batch) = take(spool, records, chooser) else { return Vec::new() };
    settle(spool, &batch, State::Delivered);
    chosen(&batch)
}

fn open(layout: Layout, clock: &ManualClock) -> Spool {
    open_at(Arc::new(SimDisk::new()), options(layout), clock).unwrap()
}

fn append(spool: &Spool, numbers: impl IntoIterator<Item = u64>) {
    let numbers = numbers.into_iter();
    let tickets: Vec<_> =
        numbers.map(|number| spool.submit(numbered(number, 20)).unwrap()).collect();
    wait_for(tickets);
}

fn wait_for(tickets: Vec<Ticket>) {
    for ticket in tickets {
        ticket.wait().unwrap();
    }
}

#[test]
fn the_best_of_the_window_goes_first_in_one_batch_in_the_order_of_its_chain() {
    for layout in LAYOUTS {
        let spool = open(layout, &ManualClock::new());
        append(&spool, 1..=6);
        let table = Table::new(never_the_oldest());
        for (number, score) in [(2, 5.0), (4, 9.0), (5, 5.0), (6, f64::NAN)] {
            table.set(number, score);
        }
        let batch = take(&spool, 4, &table).unwrap();
        let in_order: Vec<u64> =
            batch.records.iter().map(|offer| number_of(&offer.record.body)).collect();
        assert_eq!(in_order, [1, 2, 4, 5]);
        assert_eq!(chosen(&batch), [4, 2, 5, 1]);
        settle(&spool, &batch, State::Delivered);
        assert_eq!(deliver(&spool, 4, &table), [3, 6]);
    }
}

#[test]
fn a_record_is_shown_once_however_often_it_is_scored() {
    for layout in LAYOUTS {
        let spool = open(layout, &ManualClock::new());
        append(&spool, 1..=40);
        let table = Table::new(Choice { window_records: 30, ..never_the_oldest() });
        // Given back, put off and taken up again: the scores change, the window stays.
        table.set(20, 1.0);
        assert_eq!(chosen(&take(&spool, 1, &table).unwrap()), [20]);
        table.set(21, 2.0);
        let later = take(&spool, 1, &table).unwrap();
        assert_eq!(chosen(&later), [21]);
        settle(&spool, &later, State::Later);
        drop(later);
        assert_eq!(chosen(&take(&spool, 2, &table).unwrap()), [21, 20]);
        assert_eq!(table.shown(), 30);
        let delivered: BTreeSet<u64> = (0..10).flat_map(|_| deliver(&spool, 5, &table)).collect();
        assert_eq!(delivered.len(), 40);
        assert_eq!(table.shown(), 40);
    }
}

#[test]
fn a_chooser_never_goes_by_what_another_one_thought() {
    let spool = open(Layout::Segments, &ManualClock::new());
    append(&spool, 1..=3);
    let (first, second) = (Table::new(never_the_oldest()), Table::new(never_the_oldest()));
    first.set(3, 1.0);
    second.set(2, 1.0);
    let held = take(&spool, 1, &first).unwrap();
    assert_eq!(chosen(&held), [3]);
    assert_eq!(chosen(&take(&spool, 1, &second).unwrap()), [2]);
    drop(held);
    second.set(3, 2.0);
    assert_eq!(chosen(&take(&spool, 1, &second).unwrap()), [3]);
    assert_eq!(
        spool.take(&limits(1)).unwrap().unwrap().records[0].record.id.position.sequence.0,
        1
    );
    assert_eq!((first.shown(), second.shown()), (3, 3));
}

#[test]
fn large_bodies_end_the_window_early() {
    let spool = open(Layout::Folder, &ManualClock::new());
    let tickets: Vec<_> =
        (1..=9).map(|number| spool.submit(numbered(number, 1000)).unwrap()).collect();
    wait_for(tickets);
    let table = Table::new(Choice { window_bytes: 2500, ..never_the_oldest() });
    table.set(9, 9.0);
    table.set(3, 1.0);
    assert_eq!(deliver(&spool, 1, &table), [3]);
    assert_eq!(table.shown(), 3);
    let tiny = Table::new(Choice { window_bytes: 1, window_records: 0, oldest_every: 0 });
    assert_eq!(deliver(&spool, 5, &tiny), [1]);
}

#[test]
fn what_is_lost_in_the_window_is_booked_and_the_next_best_goes() {
    let disk = SimDisk::new();
    let clock = ManualClock::new();
    let spool = open_at(Arc::new(disk.clone()), options(Layout::Folder), &clock).unwrap();
    // Larger than what a window keeps.
    for number in 1..=3 {
        spool.append(numbered(number, 5000)).unwrap();
    }
    let table = Table::new(never_the_oldest());
    table.set(2, 2.0);
    table.set(3, 1.0);
    drop(take(&spool, 1, &table));
    let gone = disk.paths().into_iter().find(|path| path.to_string_lossy().ends_with("run_2.json"));
    backhaul_store::Disk::remove(&disk, &gone.unwrap()).unwrap();
    assert_eq!(deliver(&spool, 1, &table), [3]);
    assert_eq!(deliver(&spool, 1, &table), [1]);
    assert_eq!(spool.status().unwrap().books.damaged, 1);
}

#[test]
fn a_lane_that_cannot_be_read_does_not_keep_the_share_of_the_oldest_from_others() {
    let (faults, clock) = (Faults::new(), ManualClock::new());
    let disk = FaultyDisk::new(SimDisk::new(), faults.clone());
    let spool = open_at(Arc::new(disk), options(Layout::Folder), &clock).unwrap();
    spool.append(numbered(1, 20).lane(Lane::Bulk)).unwrap();
    clock.advance(Duration::from_secs(5));
    append(&spool, 2..=3);
    let always = Table::new(Choice { oldest_every: 1, ..Choice::default() });
    faults.add(Fault::any(&[Call::Read], EIO).on_path("run_1.json"));
    assert_eq!(deliver(&spool, 2, &always), [2, 3]);
    let chooser: Arc<dyn Chooser> = Arc::clone(&always) as _;
    assert!(spool.take_chosen(&limits(2), &chooser).unwrap_err().to_string().contains("run_1"));
    faults.clear();
    assert_eq!(deliver(&spool, 2, &always), [1]);
}

#[derive(Debug, Clone)]
struct Arrival {
    lane: usize,
    score: f64,
    stream: Option<u8>,
    len: usize,
}

fn arrival() -> impl Strategy<Value = Arrival> {
    let stream = prop_oneof![2 => Just(None), 1 => (0..3u8).prop_map(Some)];
    (0..Lane::ALL.len(), 0..100i32, stream, 0..400usize).prop_map(|(lane, score, stream, len)| {
        Arrival { lane, score: f64::from(score), stream, len }
    })
}

#[derive(Debug, Clone)]
struct Round {
    arrivals: Vec<Arrival>,
    records: usize,
    bytes: usize,
}

fn round() -> impl Strategy<Value = Round> {
    (prop::collection::vec(arrival(), 0..6), 1..9usize, 200..4000usize)
        .prop_map(|(arrivals, records, bytes)| Round { arrivals, records, bytes })
}

/// A spool, and what is known of the records in it.
struct World {
    spool: Spool,
    clock: ManualClock,
    table: Arc<Table>,
    waiting: BTreeMap<u64, Arrival>,
    number: u64,
}

impl World {
    fn new(layout: Layout, choice: Choice) -> Self {
        let clock = ManualClock::new();
        let spool = open(layout, &clock);
        let table = Table::new(choice);
        Self { spool, clock, table, waiting: BTreeMap::new(), number: 0 }
    }

    fn append(&mut self, arrival: &Arrival) {
        self.number += 1;
        self.clock.advance(Duration::from_secs(1));
        self.table.set(self.number, arrival.score);
        let record: Record = numbered(self.number, arrival.len).lane(Lane::ALL[arrival.lane]);
        let record = match arrival.stream {
            // A stream that is to stay in order stays in its lane.
            Some(stream) => record.stream(format!("s{stream}-{}", arrival.lane)),
            None => record,
        };
        self.spool.append(record).unwrap();
        self.waiting.insert(self.number, arrival.clone());
    }

    /// Delivers a batch, which has to keep the limits and the order of streams.
    fn deliver(&mut self, records: usize, bytes: usize) -> Result<Vec<u64>, TestCaseError> {
        let chooser: Arc<dyn Chooser> = Arc::clone(&self.table) as _;
        let taken = self
            .spool
            .take_chosen(&Limits { records, bytes, ..Limits::default() }, &chooser)
            .unwrap();
        let Some(batch) = taken else { return Ok(Vec::new()) };
        let sent: usize = batch.records.iter().map(|offer| offer.record.body.len()).sum();
        prop_assert!(batch.records.len() <= records);
        prop_assert!(batch.records.len() == 1 || sent <= bytes, "{sent} of {bytes} bytes");
        settle(&self.spool, &batch, State::Delivered);
        let numbers = chosen(&batch);
        for number in &numbers {
            let arrival = self.waiting.remove(number);
            let arrival = arrival.ok_or_else(|| TestCaseError::fail(format!("{number} twice")))?;
            let overtaken = self.waiting.iter().find(|(other, waiting)| {
                *other < number
                    && arrival.stream.is_some()
                    && (waiting.stream, waiting.lane) == (arrival.stream, arrival.lane)
            });
            prop_assert!(overtaken.is_none(), "{number} overtakes {overtaken:?} in its stream");
        }
        Ok(numbers)
    }
}

/// What is better goes on arriving, and still the oldest of all is in one of `every` batches.
fn nothing_starves(layout: Layout, every: u32, rounds: &[Round]) -> Result<(), TestCaseError> {
    let choice = Choice { oldest_every: every, window_records: 8, ..Choice::default() };
    let mut world = World::new(layout, choice);
    world.append(&Arrival { lane: Lane::ALL.len() - 1, score: -1000.0, stream: Some(0), len: 300 });
    let mut waited = 0;
    for round in rounds {
        round.arrivals.iter().for_each(|arrival| world.append(arrival));
        let Some(oldest) = world.waiting.keys().next().copied() else { continue };
        let delivered = world.deliver(round.records, round.bytes)?;
        prop_assert!(!delivered.is_empty(), "{oldest} waits, and nothing is given");
        waited = if world.waiting.contains_key(&oldest) { waited + 1 } else { 0 };
        prop_assert!(waited < every, "{oldest} was passed over {waited} times");
    }
    while !world.waiting.is_empty() {
        prop_assert!(!world.deliver(5, 4000)?.is_empty(), "{:?} stay behind", world.waiting);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_starves_and_streams_and_limits_are_kept(
        folder in any::<bool>(),
        every in 1..12u32,
        rounds in prop::collection::vec(round(), 1..50),
    ) {
        let layout = if folder { Layout::Folder } else { Layout::Segments };
        nothing_starves(layout, every, &rounds)?;
    }
}

#[test]
fn without_a_share_the_oldest_starves() {
    let better = Arrival { lane: 0, score: 50.0, stream: None, len: 10 };
    let rounds = vec![Round { arrivals: vec![better], records: 1, bytes: 4000 }; 50];
    nothing_starves(Layout::Segments, 10, &rounds).unwrap();
    let mut world = World::new(Layout::Segments, never_the_oldest());
    world.append(&Arrival { lane: 4, score: -1000.0, stream: None, len: 10 });
    for round in &rounds {
        world.append(&round.arrivals[0]);
        world.deliver(1, 4000).unwrap();
    }
    assert!(world.waiting.contains_key(&1));
}
