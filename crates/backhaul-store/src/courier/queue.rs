//! What is sent next: reads a chain in order, steps over what is settled, and puts
//! off what has to wait together with its stream.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::vec;

use super::choosing::Sketch;
use super::{CourierState, Limits, Offer, Taken, WINDOW};
use crate::clock::Moment;
use crate::error::Result;
use crate::id::{Chain, Position, Sequence};
use crate::ledger::Attempts;
use crate::record::StoredRecord;
use crate::segment::{Read, SegmentReader};
use crate::spool::Inner;

/// No wait by the wall clock is longer. A time beyond it was written down by a clock
/// that has gone back since.
const LONGEST_WAIT_US: i64 = 24 * 3600 * 1_000_000;

/// Where reading a chain goes on.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    pub(super) next: u64,
    pub(super) reader: Option<SegmentReader>,
    /// The same segment, for records that were read before.
    far_reader: Option<SegmentReader>,
    /// Read before and not offered, or put off since.
    pub(super) waiting: BTreeMap<u64, Known>,
}

/// What is known of a record that was read.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) stream: Option<String>,
    /// What a choice needs of it, where it was in the window of one.
    pub(super) sketch: Option<Box<Sketch>>,
}

/// A record in a batch.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) turn: u64,
    pub(super) known: Known,
}

/// A walk through a chain, from its first record that waits.
pub(super) struct Walk {
    chain: Chain,
    now: Moment,
    busy: Busy,
    /// Those that were read before. One that was requeued may stand behind records never
    /// looked at.
    again: Peekable<vec::IntoIter<u64>>,
    reader: Option<SegmentReader>,
    far_reader: Option<SegmentReader>,
    /// Records of which there is a sketch are not read again.
    by_sketch: bool,
}

/// A record that may be offered.
pub(super) enum Free {
    Read(Box<StoredRecord>),
    Sketched(u64),
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
    Free(Free),
    /// It has to wait, and its stream with it.
    Wait(Option<String>),
    /// It is settled by now.
    Gone,
    /// Nothing was appended there yet.
    End,
}

impl CourierState {
    /// The first records of the most urgent chain in which any is free.
    pub(super) fn take_in_order(
        &mut self,
        inner: &Inner,
        chains: &[Chain],
        limits: &Limits,
    ) -> Result<Option<Taken>> {
        for chain in chains {
            let taken = self.take_from(inner, *chain, limits)?;
            if !taken.is_empty() {
                return Ok(Some((*chain, taken)));
            }
        }
        Ok(None)
    }

    fn take_from(&mut self, inner: &Inner, chain: Chain, limits: &Limits) -> Result<Vec<Offer>> {
        self.turn += 1;
        let mut walk = self.walk(inner, chain, false)?;
        let mut taken = Vec::new();
        let mut bytes = 0usize;
        while taken.len() < limits.records.max(1) {
            let record = match self.next_free(inner, &mut walk) {
                Ok(Some(Free::Read(record))) => record,
                Ok(_) => break,
                // What was taken goes out first; the error comes again.
                Err(_) if !taken.is_empty() => break,
                Err(error) => return Err(error),
            };
            bytes += record.body.len();
            if !taken.is_empty() && bytes > limits.bytes {
                let waiting = &mut self.cursor(chain).waiting;
                let known = waiting.entry(record.id.position.sequence.0).or_default();
                known.stream = record.facts.stream;
                break;
            }
            taken.push(self.hand_out(*record, taken.len()));
        }
        self.end_walk(walk);
        Ok(taken)
    }

    /// Begins a walk through a chain. `by_sketch`: without reading what is known well
    /// enough to choose among.
    pub(super) fn walk(&mut self, inner: &Inner, chain: Chain, by_sketch: bool) -> Result<Walk> {
        if !inner.is_flushed()
            && let Err(error) = inner.flush_store()
        {
            tracing::warn!(%error, "what was appended could not be flushed before it is offered");
        }
        let again: Vec<u64> = self.cursor(chain).waiting.keys().copied().collect();
        Ok(Walk {
            chain,
            now: inner.context.clock.now(),
            busy: self.busy(),
            again: again.into_iter().peekable(),
            reader: self.cursor(chain).reader.take(),
            far_reader: self.cursor(chain).far_reader.take(),
            by_sketch,
        })
    }

    pub(super) fn end_walk(&mut self, walk: Walk) {
        let cursor = self.cursor(walk.chain);
        cursor.reader = walk.reader;
        // A segment that is read to its end may be removed, and takes room while it is open.
        let Some(reader) = &cursor.reader else { return };
        cursor.far_reader = walk.far_reader.filter(|far| far.is_the_segment_of(reader));
    }

    /// The next record that may be offered. `Ok(None)`: there is none, or none that
    /// receivers could tell from a repeat.
    pub(super) fn next_free(&mut self, inner: &Inner, walk: &mut Walk) -> Result<Option<Free>> {
        let Walk { chain, ref now, ref mut busy, .. } = *walk;
        loop {
            let in_order = self.peek_in_order(chain);
            let again = walk.again.next_if(|sequence| *sequence < in_order);
            let sequence = match again {
                Some(sequence) => sequence,
                None => self.next_in_order(chain),
            };
            if again.is_none() && sequence >= self.floor(chain).saturating_add(WINDOW) {
                self.cursor(chain).next = sequence;
                return Ok(None);
            }
            let position = Position { chain, sequence: Sequence(sequence) };
            if again.is_some() && self.still_waits(position, now, busy) {
                continue;
            }
            let reader = if again.is_some() { &mut walk.far_reader } else { &mut walk.reader };
            let sketched =
                if walk.by_sketch { self.look_at_sketch(inner, position, now, busy) } else { None };
            let look = match sketched {
                Some(look) => look,
                None => self.look_at(inner, position, reader, now, busy)?,
            };
            match look {
                Look::End => return Ok(None),
                Look::Gone => {
                    self.cursor(chain).waiting.remove(&sequence);
                }
                Look::Wait(stream) => {
                    self.cursor(chain).waiting.entry(sequence).or_default().stream = stream;
                }
                Look::Free(free) => return Ok(Some(free)),
            }
        }
    }

    /// The records of these places that are still there and free, all of them found so in
    /// this turn.
    pub(super) fn take_these(
        &mut self,
        inner: &Inner,
        chain: Chain,
        places: &[u64],
    ) -> Result<Vec<Offer>> {
        self.turn += 1;
        let now = inner.context.clock.now();
        let (mut busy, mut reader, mut taken) = (self.busy(), None, Vec::new());
        let mut in_order: Vec<(u64, usize)> = places.iter().copied().zip(0..).collect();
        in_order.sort_unstable();
        for (sequence, place) in in_order {
            let position = Position { chain, sequence: Sequence(sequence) };
            let look = match self.kept(position) {
                Some(record) => Ok(Look::Free(Free::Read(record))),
                None => self.look_at(inner, position, &mut reader, &now, &mut busy),
            };
            match look {
                Ok(Look::Free(Free::Read(record))) => taken.push(self.hand_out(*record, place)),
                Ok(Look::Gone) => {
                    self.cursor(chain).waiting.remove(&sequence);
                }
                Ok(_) => {}
                Err(_) if !taken.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    /// Whether a record that was put off has to wait on, without reading it again.
    fn still_waits(&mut self, position: Position, now: &Moment, busy: &mut Busy) -> bool {
        let known = self.known(position);
        let stream = known.and_then(|known| known.stream.clone());
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

    pub(super) fn known(&self, position: Position) -> Option<&Known> {
        self.cursors.get(&position.chain)?.waiting.get(&position.sequence.0)
    }

    /// The record itself, where a window has kept it.
    fn kept(&mut self, position: Position) -> Option<Box<StoredRecord>> {
        let waiting = &mut self.cursor(position.chain).waiting;
        waiting.get_mut(&position.sequence.0)?.sketch.as_mut()?.record.take()
    }

    /// The streams with a record on offer.
    fn busy(&self) -> Busy {
        let streams = self.in_flight.values().filter_map(|offered| offered.known.stream.clone());
        Busy { streams: streams.collect(), any: false }
    }

    /// Puts a record on offer. `place`: how many of its batch go before it.
    fn hand_out(&mut self, record: StoredRecord, place: usize) -> Offer {
        let position = record.id.position;
        let waiting = &mut self.cursor(position.chain).waiting;
        let mut known = waiting.remove(&position.sequence.0).unwrap_or_default();
        known.stream.clone_from(&record.facts.stream);
        self.in_flight.insert(position, Offered { turn: self.turn, known });
        let attempts = self.attempts(position).cloned().unwrap_or_default();
        Offer {
            record,
            place,
            attempts: attempts.count,
            spent_retries: attempts.spent,
            is_begun: attempts.is_begun,
            is_oversized: attempts.is_oversized,
            is_summarized: attempts.is_summarized,
        }
    }

    /// The attempts made so far; `None`: none.
    pub(super) fn attempts(&self, position: Position) -> Option<&Attempts> {
        self.account(position.chain)?.open.get(&position.sequence.0)
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
        let is_expired = self.is_expired(inner, record.facts.expires_after_ms, &record.stamp, now);
        let held_up = self.hold_up(inner, position, stream, is_expired, now, busy);
        Ok(held_up.unwrap_or(Look::Free(Free::Read(record))))
    }

    /// A look at a record of which there is a sketch, without reading it.
    fn look_at_sketch(
        &mut self,
        inner: &Inner,
        position: Position,
        now: &Moment,
        busy: &mut Busy,
    ) -> Option<Look> {
        let known = self.known(position)?;
        let Sketch { stamp, expires_after_ms, .. } = &**known.sketch.as_ref()?;
        let stream = known.stream.clone();
        let is_expired = self.is_expired(inner, *expires_after_ms, stamp, now);
        if self.is_settled(position) || self.in_flight.contains_key(&position) {
            return Some(Look::Gone);
        }
        let held_up = self.hold_up(inner, position, stream, is_expired, now, busy);
        Some(held_up.unwrap_or(Look::Free(Free::Sketched(position.sequence.0))))
    }

    /// What keeps a record from being offered; `None`: nothing does. Its stream is busy
    /// from here on, unless it has expired.
    fn hold_up(
        &mut self,
        inner: &Inner,
        position: Position,
        stream: Option<String>,
        is_expired: bool,
        now: &Moment,
        busy: &mut Busy,
    ) -> Option<Look> {
        if self.must_wait(position, now) || busy.holds_back(stream.as_ref()) {
            busy.streams.extend(stream.clone());
            return Some(Look::Wait(stream));
        }
        if is_expired && !self.is_begun(position) {
            self.expire(inner, &[position]);
            return Some(Look::Gone);
        }
        busy.streams.extend(stream);
        None
    }

    pub(super) fn must_wait(&self, position: Position, now: &Moment) -> bool {
        let attempts = self.attempts(position);
        // The wall clock counts only where the wait began before a restart.
        let waits = || {
            let at = attempts.and_then(|attempts| attempts.not_before_us);
            at.is_some_and(|at| (1..=LONGEST_WAIT_US).contains(&(at - now.wall.as_micros())))
        };
        self.is_held(position)
            || if self.put_off.contains_key(&position) {
                self.is_put_off(position, now)
            } else {
                waits()
            }
    }

    fn is_put_off(&self, position: Position, now: &Moment) -> bool {
        self.put_off.get(&position).is_some_and(|until| *until > now.since_boot)
    }
}
