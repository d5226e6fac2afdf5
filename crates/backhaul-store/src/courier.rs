//! The delivering side of a spool: takes waiting records in order, and writes
//! down what became of them. One process at a time holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Moment;
use crate::context::STATE;
use crate::disk::{Disk, DiskFile, Open};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::id::{Chain, Position, Sequence};
use crate::layout::Store;
use crate::ledger::{Account, Entry, Ledger, Settled, State};
use crate::record::{Flush, Stamp, StoredRecord};
use crate::segment::{Read, SegmentReader};
use crate::spool::{DEFAULT_DESTINATION, Inner, Spool, writer_lock_path};

/// No record is offered whose sequence is this far from the first unsettled one of
/// its chain, so that a receiver needs no more memory than that to know repeats.
pub const WINDOW: u64 = 4096;
/// A record that cannot be read for I/O errors this many times counts as damaged.
const READ_TRIES: u32 = 3;
/// No wait by the wall clock is longer. A time beyond it was written down by a clock
/// that has gone back since.
const LONGEST_WAIT_US: i64 = 24 * 3600 * 1_000_000;
/// How often delivered data is looked at, to name it so, or to remove it.
const PURGE: Duration = Duration::from_secs(10);
/// How often the folder is looked at for what other processes did.
const REFRESH: Duration = Duration::from_millis(200);

/// How much to take at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most records; at least 1. Default: 50, as the CEMAF document has it.
    pub records: usize,
    /// Most bytes of bodies; the first record is taken whatever its size. Default: 1 MB.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { records: 50, bytes: 1_000_000 }
    }
}

/// Records on offer to a destination, all of one chain, in order.
///
/// Records that are not settled when the batch is dropped wait again.
#[derive(Debug)]
pub struct Batch {
    /// The records and how often each was tried before.
    pub records: Vec<Offer>,
    /// The chain.
    pub chain: Chain,
    /// Everything of the chain before this is settled for good.
    pub floor: Sequence,
    /// Which take it comes from: a record may be on offer again by now.
    turn: u64,
    spool: Spool,
}

/// A record on offer.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The record.
    pub record: StoredRecord,
    /// Attempts before this one.
    pub attempts: u32,
    /// Those of them that count against its retries.
    pub spent_retries: u32,
}

impl Batch {
    /// Splits off the records from `at` on as a batch of their own, so that a part
    /// can be offered alone; none where there are not as many.
    pub fn split_off(&mut self, at: usize) -> Batch {
        let records = self.records.split_off(at.min(self.records.len()));
        let Batch { chain, floor, turn, .. } = *self;
        Batch { records, chain, floor, turn, spool: self.spool.clone() }
    }
}

impl Batch {
    /// Flushes files that another process, or one that was killed, appended without
    /// a flush. Segments are flushed when they are adopted or followed.
    fn make_durable(&self) -> Result<()> {
        let Store::Folder(store) = &self.spool.inner.store else { return Ok(()) };
        let relaxed: Vec<Position> = self
            .records
            .iter()
            .filter(|offer| offer.record.stamp.flush != Flush::Always.name())
            .map(|offer| offer.record.id.position)
            .collect();
        if relaxed.is_empty() { Ok(()) } else { store.flush(&relaxed) }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let mut courier = self.spool.inner.courier();
        for offer in &self.records {
            let position = offer.record.id.position;
            if courier.in_flight.get(&position).is_none_or(|offered| offered.turn != self.turn) {
                continue;
            }
            if let Some(offered) = courier.in_flight.remove(&position)
                && !courier.is_settled(position)
            {
                courier.cursor(self.chain).waiting.insert(position.sequence.0, offered.stream);
            }
        }
    }
}

impl Spool {
    /// The most urgent waiting records. `Ok(None)`: nothing can be sent now.
    ///
    /// Within a stream one record is on offer at a time, in order of appending; one
    /// that has to wait holds back its stream and no other.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while another process delivers from this spool.
    pub fn take(&self, limits: &Limits) -> Result<Option<Batch>> {
        self.inner.check_process()?;
        self.inner.check_writable()?;
        self.inner.look_around()?;
        let mut courier = self.inner.courier();
        courier.require(&self.inner)?;
        courier.open_accounts(&self.inner)?;
        let mut chains: Vec<Chain> = self.inner.store.chains().into_keys().collect();
        chains.sort();
        for chain in chains {
            let records = courier.take_from(&self.inner, chain, limits)?;
            if !records.is_empty() {
                let floor = Sequence(courier.floor(chain));
                let (turn, spool) = (courier.turn, self.clone());
                drop(courier);
                let batch = Batch { records, chain, floor, turn, spool };
                batch.make_durable()?;
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Writes down what became of records.
    ///
    /// The accounts hold it at once, whatever the disk says; on disk, losing the
    /// newest of it in a power cut means only that records are sent again.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while another process delivers from this spool.
    pub fn settle(&self, settlements: &[(Position, Settled)]) -> Result<()> {
        self.inner.check_process()?;
        self.inner.check_writable()?;
        let mut courier = self.inner.courier();
        courier.require(&self.inner)?;
        courier.settle(&self.inner, settlements);
        Ok(())
    }

    /// Puts a rejected or held record back among the waiting. `Ok(false)`: it was neither.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while another process delivers from this spool.
    pub fn requeue(&self, position: Position) -> Result<bool> {
        self.inner.check_process()?;
        self.inner.check_writable()?;
        let mut courier = self.inner.courier();
        courier.require(&self.inner)?;
        let account = courier.account(position.chain);
        let failed =
            account.is_some_and(|account| account.failed.contains_key(&position.sequence.0));
        let held = account
            .and_then(|account| account.open.get(&position.sequence.0))
            .is_some_and(|attempts| attempts.held.is_some());
        if failed || held {
            courier.settle(&self.inner, &[(position, Settled::new(State::Requeued))]);
        }
        if failed {
            // One that was held is among those to look at, with its stream.
            courier.cursor(position.chain).waiting.insert(position.sequence.0, None);
        }
        Ok(failed || held)
    }
}

/// What the one delivering process knows.
#[derive(Debug)]
pub(crate) struct CourierState {
    pub(crate) ledger: Ledger,
    /// Held by the process that delivers.
    lock: Option<Box<dyn DiskFile>>,
    cursors: BTreeMap<Chain, Cursor>,
    /// On offer now.
    in_flight: BTreeMap<Position, Offered>,
    /// Counts the batches.
    turn: u64,
    looked_around: Option<Duration>,
    last_purge: Option<Duration>,
    read_failures: BTreeMap<Position, u32>,
    /// Until when records wait that were put off in this process, as time since boot.
    put_off: BTreeMap<Position, Duration>,
}

/// Where reading a chain goes on.
#[derive(Debug, Default)]
struct Cursor {
    next: u64,
    reader: Option<SegmentReader>,
    /// Read before and put off: sequences with their streams.
    waiting: BTreeMap<u64, Option<String>>,
}

/// A record in a batch.
#[derive(Debug)]
struct Offered {
    turn: u64,
    stream: Option<String>,
}

/// What a look at one record says.
enum Look {
    Take(Box<StoredRecord>),
    /// It has to wait, and its stream with it.
    Wait(Option<String>),
    /// It is settled by now.
    Gone,
    /// Nothing was appended there yet.
    End,
}

impl CourierState {
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            lock: None,
            cursors: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            turn: 0,
            looked_around: None,
            last_purge: None,
            read_failures: BTreeMap::new(),
            put_off: BTreeMap::new(),
        }
    }

    /// For each chain, the sequence after the last that the ledger mentions.
    pub(crate) fn given_sequences(&self) -> BTreeMap<Chain, u64> {
        let mut given: BTreeMap<Chain, u64> = BTreeMap::new();
        for (chain, account) in self.ledger.accounts.0.values().flatten() {
            if let Ok(chain) = chain.parse() {
                let beyond = given.entry(chain).or_default();
                *beyond = account.beyond().max(*beyond);
            }
        }
        given
    }

    pub(crate) fn account(&self, chain: Chain) -> Option<&Account> {
        self.ledger.accounts.account(DEFAULT_DESTINATION, chain)
    }

    pub(crate) fn is_settled(&self, position: Position) -> bool {
        self.account(position.chain).is_some_and(|account| account.is_settled(position.sequence.0))
    }

    pub(crate) fn floor(&self, chain: Chain) -> u64 {
        self.account(chain).map_or(1, |account| account.floor)
    }

    fn cursor(&mut self, chain: Chain) -> &mut Cursor {
        self.cursors.entry(chain).or_default()
    }

    /// Whether this process delivers from the spool.
    pub(crate) fn is_claimed(&self) -> bool {
        self.lock.is_some()
    }

    /// Becomes the delivering process if nobody else is. `Ok(false)`: somebody is.
    pub(crate) fn claim(&mut self, inner: &Inner) -> Result<bool> {
        if self.is_claimed() {
            return Ok(true);
        }
        let context = &inner.context;
        let path = context.state("courier.lock");
        let file = context.disk.open(&path, Open::Create).doing("open a lock file", &path)?;
        if !file.try_lock().doing("take a lock", &path)? {
            return Ok(false);
        }
        self.lock = Some(file);
        self.look(inner)?;
        if self.ledger.was_lost && !inner.is_new {
            inner.redraw_epoch("the ledger of the spool is lost")?;
        }
        self.open_accounts(inner)?;
        self.recall_requeued();
        if let Store::Folder(_) = &inner.store {
            self.reconcile_files(inner);
            self.void_gaps(inner);
        }
        Ok(true)
    }

    /// Becomes the delivering process, or at least sees what that one wrote.
    pub(crate) fn claim_or_look(&mut self, inner: &Inner) -> Result<()> {
        if self.claim(inner)? { Ok(()) } else { self.look(inner) }
    }

    /// Reads the ledger again.
    pub(crate) fn look(&mut self, inner: &Inner) -> Result<()> {
        let context = &inner.context;
        self.ledger = Ledger::load(&*context.disk, &context.dir.join(STATE))?;
        Ok(())
    }

    pub(crate) fn require(&mut self, inner: &Inner) -> Result<()> {
        if self.claim(inner)? {
            return Ok(());
        }
        Err(Error::at(
            ErrorKind::Busy,
            &inner.context.dir,
            "another process delivers from this spool: ask that one, or stop it",
        ))
    }

    /// Every chain has an account from its first record on. Only where the ledger was
    /// lost, nothing is known of what came before the files that are there.
    fn open_accounts(&mut self, inner: &Inner) -> Result<()> {
        let lost = self.ledger.was_lost;
        for (chain, (first, _)) in inner.store.chains() {
            let base = if lost { first.max(1) } else { 1 };
            self.ledger.accounts.open(DEFAULT_DESTINATION, &chain.to_string(), base);
        }
        // An entry alone could not say that an account starts late.
        if lost { self.ledger.snapshot(&*inner.context.disk) } else { Ok(()) }
    }

    /// Reading in order steps over records that were settled once: those that wait
    /// again are put among the ones to look at.
    fn recall_requeued(&mut self) {
        let chains: Vec<Chain> = self.given_sequences().into_keys().collect();
        for chain in chains {
            let requeued = self.account(chain).map(|account| account.requeued.clone());
            let waiting = &mut self.cursor(chain).waiting;
            waiting.extend(requeued.into_iter().flatten().map(|sequence| (sequence, None)));
        }
    }

    /// Places without a file were never acknowledged, or their file was removed by hand.
    fn void_gaps(&mut self, inner: &Inner) {
        let Store::Folder(store) = &inner.store else { return };
        let mut entries = Vec::new();
        for (chain, (_, next)) in store.chains() {
            let Some(account) = self.account(chain) else { continue };
            let mut from = account.next_unsettled(account.floor);
            while from < next {
                let end = store.next_file(chain, from).unwrap_or(next);
                if from < end {
                    tracing::warn!(%chain, first = from, last = end - 1, "there are no records in these places");
                    let settled = Settled::new(State::Void).reason("no file at opening");
                    entries.push(self.entry(inner, chain, from, end - 1, settled));
                }
                from = account.next_unsettled(end + 1);
            }
        }
        self.record(inner, entries);
    }

    /// Makes files and ledger agree after a crash between the two.
    fn reconcile_files(&mut self, inner: &Inner) {
        use crate::folder::Place;
        let Store::Folder(store) = &inner.store else { return };
        if let Err(error) = store.remove_doubles() {
            tracing::warn!(%error, "a record's file stands in two folders");
        }
        let mut settlements = Vec::new();
        for (position, entry) in store.files() {
            let account = self.account(position.chain);
            let settled = account.is_some_and(|account| account.is_settled(position.sequence.0));
            let failure = account.and_then(|account| account.failed.get(&position.sequence.0));
            let moved = match (entry.place, settled, failure) {
                (Place::Synced, false, _) => {
                    settlements.push((position, Settled::new(State::Delivered)));
                    Ok(())
                }
                (Place::Failed, false, _)
                    if !account
                        .is_some_and(|account| account.requeued.contains(&position.sequence.0)) =>
                {
                    let why = "it lies in failed/, and the ledger does not say why";
                    settlements.push((position, Settled::new(State::Rejected).reason(why)));
                    Ok(())
                }
                (Place::Failed, false, _) => store.place(position, Place::Pending, None),
                (_, true, Some(failure)) => {
                    store.place(position, Place::Failed, Some(&failure.reason))
                }
                (_, true, None) => store.place(position, Place::Synced, None),
                (Place::Pending, false, _) => Ok(()),
            };
            if let Err(error) = moved {
                tracing::warn!(%position, %error, "a record's file is not where it belongs");
            }
        }
        self.settle(inner, &settlements);
    }

    /// What is read was flushed: a record that a power cut could still take back
    /// must not be known elsewhere under its name.
    fn flush_before_offering(inner: &Inner) -> Result<()> {
        let pending = !inner.unflushed.lock().is_ok_and(|unflushed| unflushed.is_empty());
        if pending { inner.flush_store() } else { Ok(()) }
    }

    fn take_from(&mut self, inner: &Inner, chain: Chain, limits: &Limits) -> Result<Vec<Offer>> {
        Self::flush_before_offering(inner)?;
        self.turn += 1;
        let now = inner.context.clock.now();
        let mut taken = Vec::new();
        let mut bytes = 0usize;
        // Streams with a record on offer, or with one that has to wait.
        let mut busy: BTreeSet<String> = self.streams_in_flight();
        let put_off: Vec<u64> = self.cursor(chain).waiting.keys().copied().collect();
        let mut put_off = put_off.into_iter().peekable();
        let mut reader = self.cursor(chain).reader.take();
        let mut far_reader = None;
        while taken.len() < limits.records.max(1) {
            // One that was requeued may stand behind records never looked at.
            let in_order = self.peek_in_order(chain);
            let again = put_off.next_if(|sequence| *sequence < in_order);
            let sequence = match again {
                Some(sequence) => sequence,
                None => self.next_in_order(chain),
            };
            if again.is_none() && sequence >= self.floor(chain).saturating_add(WINDOW) {
                self.cursor(chain).next = sequence;
                break;
            }
            let position = Position { chain, sequence: Sequence(sequence) };
            if again.is_some() && self.still_waits(position, &now, &mut busy) {
                continue;
            }
            let reader = if again.is_some() { &mut far_reader } else { &mut reader };
            let look = match self.look_at(inner, position, reader, &now, &mut busy) {
                Ok(look) => look,
                // What was taken goes out first; the error comes again.
                Err(_) if !taken.is_empty() => break,
                Err(error) => return Err(error),
            };
            match look {
                Look::End => break,
                Look::Gone => {
                    self.cursor(chain).waiting.remove(&sequence);
                }
                Look::Wait(stream) => {
                    self.cursor(chain).waiting.insert(sequence, stream);
                }
                Look::Take(record)
                    if !taken.is_empty() && bytes + record.body.len() > limits.bytes =>
                {
                    self.cursor(chain).waiting.insert(sequence, record.facts.stream);
                    break;
                }
                Look::Take(record) => {
                    bytes += record.body.len();
                    self.cursor(chain).waiting.remove(&sequence);
                    let stream = record.facts.stream.clone();
                    self.in_flight.insert(position, Offered { turn: self.turn, stream });
                    taken.push(self.offer(*record));
                }
            }
        }
        self.cursor(chain).reader = reader;
        Ok(taken)
    }

    /// Whether a record that was put off has to wait on, without reading it again.
    fn still_waits(
        &mut self,
        position: Position,
        now: &Moment,
        busy: &mut BTreeSet<String>,
    ) -> bool {
        let waiting = &self.cursor(position.chain).waiting;
        let stream = waiting.get(&position.sequence.0).cloned().flatten();
        let is_requeued = || {
            let account = self.account(position.chain);
            account.is_some_and(|account| account.requeued.contains(&position.sequence.0))
        };
        // Its stream may not be known yet, and has to wait with it.
        if stream.is_none() && is_requeued() {
            return false;
        }
        let held_back = stream.as_ref().is_some_and(|stream| busy.contains(stream));
        let waits = held_back || (self.must_wait(position, now) && !self.is_settled(position));
        if waits {
            busy.extend(stream);
        }
        waits
    }

    fn streams_in_flight(&self) -> BTreeSet<String> {
        self.in_flight.values().filter_map(|offered| offered.stream.clone()).collect()
    }

    fn offer(&self, record: StoredRecord) -> Offer {
        let position = record.id.position;
        let attempts = self
            .account(position.chain)
            .and_then(|account| account.open.get(&position.sequence.0))
            .cloned()
            .unwrap_or_default();
        Offer { record, attempts: attempts.count, spent_retries: attempts.spent }
    }

    /// The next sequence that was not looked at yet.
    fn peek_in_order(&mut self, chain: Chain) -> u64 {
        let from = self.cursor(chain).next;
        match self.account(chain) {
            Some(account) => account.next_unsettled(from),
            None => from.max(1),
        }
    }

    /// The next sequence that was not looked at yet; moves the cursor behind it.
    fn next_in_order(&mut self, chain: Chain) -> u64 {
        let sequence = self.peek_in_order(chain);
        self.cursor(chain).next = sequence + 1;
        sequence
    }

    fn look_at(
        &mut self,
        inner: &Inner,
        position: Position,
        reader: &mut Option<SegmentReader>,
        now: &Moment,
        busy: &mut BTreeSet<String>,
    ) -> Result<Look> {
        let sequence = position.sequence.0;
        if self.is_settled(position) || self.in_flight.contains_key(&position) {
            return Ok(Look::Gone);
        }
        let record = match self.read(inner, position, reader)? {
            Read::Record(record) => record,
            Read::End => {
                self.cursor(position.chain).next = sequence;
                return Ok(Look::End);
            }
            Read::LostUpTo(end) => {
                self.settle_damaged(inner, position.chain, sequence, end);
                return Ok(Look::Gone);
            }
        };
        let stream = record.facts.stream.clone();
        if self.must_wait(position, now)
            || stream.as_ref().is_some_and(|stream| busy.contains(stream))
        {
            busy.extend(stream.clone());
            return Ok(Look::Wait(stream));
        }
        if is_expired(&record.facts, &record.stamp, now, inner.context.clock.boot_id()) {
            let why = "older than its time to live";
            self.settle(inner, &[(position, Settled::new(State::Expired).reason(why))]);
            return Ok(Look::Gone);
        }
        busy.extend(stream);
        Ok(Look::Take(record))
    }

    fn must_wait(&self, position: Position, now: &Moment) -> bool {
        self.account(position.chain)
            .and_then(|account| account.open.get(&position.sequence.0))
            .is_some_and(|attempts| {
                let wait_us = attempts.not_before_us.map_or(0, |at| at - now.wall.as_micros());
                // The wall clock counts only where the wait began before a restart.
                let later = match self.put_off.get(&position) {
                    Some(until) => *until > now.since_boot,
                    None => (1..=LONGEST_WAIT_US).contains(&wait_us),
                };
                later || attempts.held.is_some()
            })
    }

    /// Reads a record; one that the disk fails to give again and again is damaged.
    fn read(
        &mut self,
        inner: &Inner,
        position: Position,
        reader: &mut Option<SegmentReader>,
    ) -> Result<Read> {
        match inner.store.read(position.chain, position.sequence.0, reader) {
            Ok(read) => Ok(read),
            Err(error) => {
                *reader = None;
                let failures = self.read_failures.entry(position).or_default();
                *failures += u32::from(error.is_of_the_medium());
                if *failures < READ_TRIES {
                    self.cursor(position.chain).next = position.sequence.0;
                    return Err(error);
                }
                self.read_failures.remove(&position);
                tracing::error!(%position, %error, "a record cannot be read: it counts as damaged");
                Ok(Read::LostUpTo(position.sequence.0 + 1))
            }
        }
    }

    /// Writes down that a range of a chain is damaged.
    fn settle_damaged(&mut self, inner: &Inner, chain: Chain, first: u64, end: u64) {
        tracing::error!(%chain, first, last = end - 1, "records are damaged or missing on disk");
        let settled = Settled::new(State::Damaged).reason("damaged or missing on disk");
        self.record(inner, vec![self.entry(inner, chain, first, end - 1, settled)]);
    }

    fn entry(&self, inner: &Inner, chain: Chain, first: u64, last: u64, settled: Settled) -> Entry {
        Entry {
            at: inner.context.clock.now().wall.to_string(),
            destination: DEFAULT_DESTINATION.to_owned(),
            chain: chain.to_string(),
            first,
            last,
            settled,
        }
    }

    /// Hands entries to the ledger. What the disk does not take now is tried again.
    fn record(&mut self, inner: &Inner, entries: Vec<Entry>) {
        if let Err(error) = self.ledger.record(&*inner.context.disk, entries) {
            inner.note_trouble(Some(&error));
        }
    }

    pub(crate) fn settle(&mut self, inner: &Inner, settlements: &[(Position, Settled)]) {
        let now = inner.context.clock.now();
        for (position, settled) in settlements {
            self.note_wait(*position, settled, &now);
            if let Some(offered) = self.in_flight.remove(position)
                && !settled.state.is_final()
            {
                let waiting = &mut self.cursor(position.chain).waiting;
                waiting.insert(position.sequence.0, offered.stream);
            }
        }
        let taking_effect = self.taking_effect(settlements);
        let entries = self.entries(inner, &taking_effect);
        // A file that is moved may be in neither folder after a crash; then the ledger
        // has to say what became of it.
        let must_last = matches!(inner.store, Store::Folder(_))
            || settlements.iter().any(|(_, settled)| {
                matches!(
                    settled.state,
                    State::Rejected
                        | State::Dropped
                        | State::Evicted
                        | State::Requeued
                        | State::Held
                        | State::Unknown
                )
            });
        self.record(inner, entries);
        if must_last && let Err(error) = self.ledger.flush(&*inner.context.disk) {
            inner.note_trouble(Some(&error));
        }
        for (position, settled) in taking_effect {
            let projected =
                inner.store.project(*position, settled.state, settled.reason.as_deref());
            if let Err(error) = projected {
                tracing::warn!(%position, %error, "a record's file is not where it belongs");
            }
        }
    }

    /// Ledger entries for settlements; neighbours that fared alike share one.
    fn entries(&self, inner: &Inner, settlements: &[&(Position, Settled)]) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for (position, settled) in settlements {
            let chain = position.chain.to_string();
            let sequence = position.sequence.0;
            match entries.last_mut() {
                Some(last)
                    if last.chain == chain
                        && last.last + 1 == sequence
                        && last.settled == *settled =>
                {
                    last.last = sequence;
                }
                _ => {
                    let settled = settled.clone();
                    entries.push(self.entry(inner, position.chain, sequence, sequence, settled));
                }
            }
        }
        entries
    }

    /// The settlements that change what is known of their records: a record that is
    /// settled stays as it is, and so does its file.
    fn taking_effect<'a>(
        &self,
        settlements: &'a [(Position, Settled)],
    ) -> Vec<&'a (Position, Settled)> {
        let mut closed = BTreeSet::new();
        let takes_effect = |(position, settled): &&(Position, Settled)| {
            let account = self.account(position.chain);
            let sequence = position.sequence.0;
            let has_failed = account.is_some_and(|account| account.failed.contains_key(&sequence));
            let is_open = match settled.state {
                State::Requeued => true,
                State::Dropped | State::Evicted | State::Damaged if has_failed => true,
                _ => !account.is_some_and(|account| account.is_settled(sequence)),
            };
            is_open && (!settled.state.is_final() || closed.insert(*position))
        };
        settlements.iter().filter(takes_effect).collect()
    }

    /// Notes by the boot clock until when a record is put off.
    fn note_wait(&mut self, position: Position, settled: &Settled, now: &Moment) {
        self.put_off.remove(&position);
        if let Some(at) = settled.not_before_us {
            let wait = u64::try_from(at - now.wall.as_micros()).unwrap_or(0);
            self.put_off.insert(position, now.since_boot + Duration::from_micros(wait));
        }
    }

    /// Purges and flushes, as far as this process delivers.
    /// `Ok(true)`: something was removed.
    pub(crate) fn maintain(&mut self, inner: &Inner) -> Result<bool> {
        if !self.claim(inner)? {
            return Ok(false);
        }
        let now = inner.context.clock.now();
        let due = self.last_purge.is_none_or(|last| now.since_boot.saturating_sub(last) >= PURGE);
        if !due {
            return Ok(false);
        }
        self.last_purge = Some(now.since_boot);
        let removed = self.purge(inner, &now)?;
        self.ledger.flush(&*inner.context.disk)?;
        Ok(removed)
    }

    /// The last words of a spool that is closed.
    pub(crate) fn close(&mut self, disk: &dyn Disk) {
        if self.is_claimed()
            && let Err(error) = self.ledger.flush(disk)
        {
            tracing::warn!(%error, "the ledger was not flushed: records may be sent again");
        }
        self.lock = None;
    }
}

impl Inner {
    /// Sees what other processes appended, and takes over what dead ones left.
    fn look_around(&self) -> Result<()> {
        let now = self.context.clock.now().since_boot;
        {
            let mut courier = self.courier();
            courier.require(self)?;
            if courier.looked_around.is_some_and(|last| now.saturating_sub(last) < REFRESH) {
                return Ok(());
            }
            courier.looked_around = Some(now);
        }
        // Commits wait meanwhile. The courier's lock is always taken after this one.
        let _paused = self.committer.pause();
        self.store.refresh()?;
        let writers: BTreeSet<u16> = self.store.chains().keys().map(|chain| chain.writer).collect();
        for writer in writers.into_iter().filter(|writer| *writer != self.writer) {
            let path = writer_lock_path(&self.context.dir, writer);
            let file =
                self.context.disk.open(&path, Open::Create).doing("open a lock file", &path)?;
            if file.try_lock().doing("take a lock", &path)? {
                self.store.adopt(writer)?;
            }
        }
        Ok(())
    }
}

/// Whether a record is older than it may get. Age is power-on time where the boots
/// tell it, and wall time between boots.
fn is_expired(facts: &crate::record::Facts, stamp: &Stamp, now: &Moment, boot_id: &str) -> bool {
    facts
        .expires_after_ms
        .is_some_and(|limit| stamp.age(now, boot_id) > Duration::from_millis(limit))
}
