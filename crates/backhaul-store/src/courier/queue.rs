//! What is sent next: reads a chain in order, steps over what is settled, and puts
//! off what has to wait together with its stream.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{CourierState, Limits, Offer, WINDOW};
use crate::clock::Moment;
use crate::error::Result;
use crate::id::{Chain, Position, Sequence};
use crate::ledger::{Settled, State};
use crate::record::{Facts, Stamp, StoredRecord};
use crate::segment::{Read, SegmentReader};
use crate::spool::Inner;

/// A record that the medium does not give this many times is put off, so that others
/// go on.
const READ_TRIES: u32 = 3;
/// Tries closer together count as one: a loose card may come back.
const READ_TRIES_APART: Duration = Duration::from_secs(20);
/// For how long it is put off.
const READ_AGAIN: Duration = Duration::from_secs(600);
/// One that was not given for so long counts as damaged.
const READ_GIVEN_UP: Duration = Duration::from_secs(24 * 3600);
/// No wait by the wall clock is longer. A time beyond it was written down by a clock
/// that has gone back since.
const LONGEST_WAIT_US: i64 = 24 * 3600 * 1_000_000;

/// Where reading a chain goes on.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    pub(super) next: u64,
    pub(super) reader: Option<SegmentReader>,
    /// Read before and put off: sequences with their streams.
    pub(super) waiting: BTreeMap<u64, Option<String>>,
}

/// A record in a batch.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) turn: u64,
    pub(super) stream: Option<String>,
}

/// Tries to read a record that the medium did not give.
#[derive(Debug)]
pub(super) struct ReadFailures {
    count: u32,
    /// When the first and the last one were counted, since boot.
    first: Duration,
    last: Duration,
}

/// Streams with a record on offer, or with one that has to wait.
#[derive(Debug, Default)]
struct Busy {
    streams: BTreeSet<String>,
    /// A record waits whose stream is not known: it may be any.
    any: bool,
}

impl Busy {
    fn holds_back(&self, stream: Option<&String>) -> bool {
        stream.is_some_and(|stream| self.any || self.streams.contains(stream))
    }
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
    pub(super) fn take_from(
        &mut self,
        inner: &Inner,
        chain: Chain,
        limits: &Limits,
    ) -> Result<Vec<Offer>> {
        if !inner.is_flushed()
            && let Err(error) = inner.flush_store()
        {
            tracing::warn!(%error, "what was appended could not be flushed before it is offered");
        }
        self.turn += 1;
        let now = inner.context.clock.now();
        let mut taken = Vec::new();
        let mut bytes = 0usize;
        let mut busy = Busy { streams: self.streams_in_flight(), any: false };
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
    fn still_waits(&mut self, position: Position, now: &Moment, busy: &mut Busy) -> bool {
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
        let waits = busy.holds_back(stream.as_ref())
            || (self.must_wait(position, now) && !self.is_settled(position));
        if waits {
            busy.any |= self.read_failures.contains_key(&position);
            busy.streams.extend(stream);
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
        busy: &mut Busy,
    ) -> Result<Look> {
        let sequence = position.sequence.0;
        if self.is_settled(position) || self.in_flight.contains_key(&position) {
            return Ok(Look::Gone);
        }
        let read = match self.read(inner, position, reader) {
            Err(_) if self.is_put_off(position, now) => {
                busy.any = true;
                return Ok(Look::Wait(None));
            }
            Err(error) => {
                self.cursor(position.chain).next = sequence;
                return Err(error);
            }
            Ok(read) => read,
        };
        let record = match read {
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
        if self.must_wait(position, now) || busy.holds_back(stream.as_ref()) {
            busy.streams.extend(stream.clone());
            return Ok(Look::Wait(stream));
        }
        if is_expired(&record.facts, &record.stamp, now, inner.context.clock.boot_id()) {
            let why = "older than its time to live";
            self.settle(inner, &[(position, Settled::new(State::Expired).reason(why))]);
            return Ok(Look::Gone);
        }
        busy.streams.extend(stream);
        Ok(Look::Take(record))
    }

    pub(super) fn must_wait(&self, position: Position, now: &Moment) -> bool {
        let attempts =
            self.account(position.chain).and_then(|account| account.open.get(&position.sequence.0));
        // The wall clock counts only where the wait began before a restart.
        let waits = || {
            let at = attempts.and_then(|attempts| attempts.not_before_us);
            at.is_some_and(|at| (1..=LONGEST_WAIT_US).contains(&(at - now.wall.as_micros())))
        };
        attempts.is_some_and(|attempts| attempts.held.is_some())
            || if self.put_off.contains_key(&position) {
                self.is_put_off(position, now)
            } else {
                waits()
            }
    }

    fn is_put_off(&self, position: Position, now: &Moment) -> bool {
        self.put_off.get(&position).is_some_and(|until| *until > now.since_boot)
    }

    /// Counts a failure, and puts the record off after a few. `true`: there is no hope
    /// for it any more.
    fn note_read_failure(&mut self, inner: &Inner, position: Position) -> bool {
        let now = inner.context.clock.now().since_boot;
        let none_before = ReadFailures { count: 1, first: now, last: now };
        let failures = self.read_failures.entry(position).or_insert(none_before);
        if now.saturating_sub(failures.last) >= READ_TRIES_APART {
            failures.count += 1;
            failures.last = now;
        }
        if failures.count >= READ_TRIES {
            self.put_off.insert(position, now + READ_AGAIN);
        }
        failures.count >= READ_TRIES && now.saturating_sub(failures.first) >= READ_GIVEN_UP
    }

    /// Records that the medium did not give when they were read last.
    pub(crate) fn unreadable(&self) -> usize {
        self.read_failures.len()
    }

    /// Reads a record; one that the medium has not given for a day is damaged.
    pub(super) fn read(
        &mut self,
        inner: &Inner,
        position: Position,
        reader: &mut Option<SegmentReader>,
    ) -> Result<Read> {
        let mut read = inner.store.read(position.chain, position.sequence.0, reader);
        if matches!(read, Ok(Read::LostUpTo(_))) && position.chain.writer != inner.writer {
            *reader = None;
            let look_again = inner.store.look_again();
            read = look_again
                .and_then(|()| inner.store.read(position.chain, position.sequence.0, reader));
        }
        let Err(error) = &read else {
            if self.read_failures.remove(&position).is_some() {
                self.put_off.remove(&position);
            }
            return read;
        };
        *reader = None;
        if !error.is_of_the_medium() || !self.note_read_failure(inner, position) {
            return read;
        }
        self.read_failures.remove(&position);
        tracing::error!(%position, %error, "a record could not be read for a day: it counts as damaged");
        Ok(Read::LostUpTo(position.sequence.0 + 1))
    }
}

/// Whether a record is older than it may get. Age is power-on time where the boots
/// tell it, and wall time between boots.
fn is_expired(facts: &Facts, stamp: &Stamp, now: &Moment, boot_id: &str) -> bool {
    facts
        .expires_after_ms
        .is_some_and(|limit| stamp.age(now, boot_id) > Duration::from_millis(limit))
}
