//! Takes the best of what waits, as a chooser has it.

use std::fmt;
use std::sync::Arc;

use super::choice::{Candidate, Choice, Chooser, Score, Scorer, Waited, best, order_windows};
use super::queue::{Free, Known};
use super::{Batch, CourierState, Limits, Taken};
use crate::error::{Error, Result};
use crate::id::{Chain, Position, Sequence};
use crate::ledger::Settled;
use crate::record::{Stamp, StoredRecord};
use crate::spool::{Inner, Spool};

/// Bodies up to this size are kept in the window: reading records of a segment out of order
/// costs far more than reading on. With 256 of them it is a megabyte.
const SMALL: usize = 4096;

/// Who chose last, and how many batches were answered.
#[derive(Default)]
pub(super) struct Choosing {
    chooser: Option<Arc<dyn Chooser>>,
    batches: u64,
    last_answered: u64,
}

impl fmt::Debug for Choosing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choosing").field("batches", &self.batches).finish_non_exhaustive()
    }
}

impl Spool {
    /// As [`take`](Spool::take), with the best records of the most urgent lane in which
    /// any may be offered. Order within a stream stays as it is: the choice is among the
    /// first that each stream may offer.
    ///
    /// Nothing starves: the record that has waited longest of all that may be offered is
    /// in one of [`Choice::oldest_every`] batches of which something is settled, whatever its
    /// lane and its score. A record in a more urgent lane waits for that batch at most.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use backhaul_store::{Chooser, Limits, Options, Record, Scorer, Spool, StoredRecord};
    ///
    /// /// Small records first.
    /// struct SmallFirst;
    /// impl Chooser for SmallFirst {
    ///     fn scorer(&self, record: &StoredRecord) -> Scorer {
    ///         let score = -(record.body.len() as f64);
    ///         Box::new(move |_| score)
    ///     }
    /// }
    ///
    /// # let dir = std::env::temp_dir().join(format!("backhaul-choose-{}", std::process::id()));
    /// let spool = Spool::open(&dir, Options::default())?;
    /// spool.append(Record::new("run", br#"{"large": "record"}"#.to_vec()))?;
    /// spool.append(Record::new("run", b"{}".to_vec()))?;
    ///
    /// let chooser: Arc<dyn Chooser> = Arc::new(SmallFirst);
    /// let one = Limits { records: 1, ..Limits::default() };
    /// let batch = spool.take_chosen(&one, &chooser)?.expect("two wait");
    /// assert_eq!(batch.records[0].record.body, b"{}");
    /// # drop(batch); drop(spool); std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), backhaul_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`take`](Spool::take).
    pub fn take_chosen(
        &self,
        limits: &Limits,
        chooser: &Arc<dyn Chooser>,
    ) -> Result<Option<Batch>> {
        self.take_with(limits, |courier, inner, chains| {
            courier.take_chosen(inner, chains, limits, chooser)
        })
    }
}

/// What a choice needs of a record.
pub(super) struct Sketch {
    pub(super) stamp: Stamp,
    pub(super) expires_after_ms: Option<u64>,
    pub(super) bytes: usize,
    pub(super) scorer: Scorer,
    /// The record itself, where it is small and was not offered yet.
    pub(super) record: Option<Box<StoredRecord>>,
}

impl fmt::Debug for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sketch").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl CourierState {
    /// The best of the most urgent lane in which something is free; now and then, of the
    /// chain with the oldest record.
    pub(super) fn take_chosen(
        &mut self,
        inner: &Inner,
        chains: &[Chain],
        limits: &Limits,
        chooser: &Arc<dyn Chooser>,
    ) -> Result<Option<Taken>> {
        self.listen_to(chooser);
        let mut choice = chooser.choice();
        choice.window_records = choice.window_records.max(limits.records).max(1);
        let oldest_first = choice.is_of_the_oldest(self.choosing.batches);
        let is_together = |left: &Chain, right: &Chain| oldest_first || left.lane == right.lane;
        for chains in chains.chunk_by(is_together) {
            let (mut windows, error) = self.look_ahead(inner, chains, &**chooser, &choice);
            order_windows(&mut windows, oldest_first);
            for (chain, mut window) in windows {
                while !window.is_empty() {
                    let places = best(&window, limits, &choice, oldest_first);
                    let taken = self.take_these(inner, chain, &places)?;
                    if !taken.is_empty() {
                        return Ok(Some((chain, taken)));
                    }
                    // They turned out to be damaged.
                    window.retain(|candidate| !places.contains(&candidate.sequence));
                }
            }
            // What can be read goes out first; the error comes again.
            error.map_or(Ok(()), Err)?;
        }
        Ok(None)
    }

    /// Counts the batches of which something is settled now. Those that were not answered do
    /// not count: an outage must not use up the share of the oldest.
    pub(super) fn note_answers(&mut self, settlements: &[(Position, Settled)]) {
        for (position, _) in settlements {
            let turn = self.in_flight.get(position).map_or(0, |offered| offered.turn);
            if turn > self.choosing.last_answered {
                self.choosing.last_answered = turn;
                self.choosing.batches += 1;
            }
        }
    }

    /// Forgets what another chooser thought.
    fn listen_to(&mut self, chooser: &Arc<dyn Chooser>) {
        let before = self.choosing.chooser.replace(Arc::clone(chooser));
        if before.is_some_and(|before| std::ptr::addr_eq(&*before, &**chooser)) {
            return;
        }
        let waiting = self.cursors.values_mut().flat_map(|cursor| cursor.waiting.values_mut());
        let offered = self.in_flight.values_mut().map(|offered| &mut offered.known);
        waiting.chain(offered).for_each(|known| known.sketch = None);
    }

    /// The windows of chains, and what kept one from being looked at.
    fn look_ahead(
        &mut self,
        inner: &Inner,
        chains: &[Chain],
        chooser: &dyn Chooser,
        choice: &Choice,
    ) -> (Vec<(Chain, Vec<Candidate>)>, Option<Error>) {
        let (mut windows, mut first_error) = (Vec::new(), None);
        for chain in chains {
            match self.window_of(inner, *chain, chooser, choice) {
                Ok(window) => windows.push((*chain, window)),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        (windows, first_error)
    }

    fn window_of(
        &mut self,
        inner: &Inner,
        chain: Chain,
        chooser: &dyn Chooser,
        choice: &Choice,
    ) -> Result<Vec<Candidate>> {
        let mut walk = self.walk(inner, chain, true)?;
        let (mut window, mut bytes) = (Vec::<Candidate>::new(), 0);
        while window.len() < choice.window_records
            && (window.is_empty() || bytes < choice.window_bytes)
        {
            let sequence = match self.next_free(inner, &mut walk) {
                Ok(Some(Free::Sketched(sequence))) => sequence,
                Ok(Some(Free::Read(record))) => self.sketch(record, chooser),
                Ok(None) => break,
                Err(_) if !window.is_empty() => break,
                Err(error) => return Err(error),
            };
            let position = Position { chain, sequence: Sequence(sequence) };
            let Some(candidate) = self.score(inner, position) else { break };
            bytes += candidate.bytes;
            window.push(candidate);
        }
        self.end_walk(walk);
        Ok(window)
    }

    /// Keeps what a choice needs of a record.
    fn sketch(&mut self, record: Box<StoredRecord>, chooser: &dyn Chooser) -> u64 {
        let Position { chain, sequence } = record.id.position;
        let stream = record.facts.stream.clone();
        let sketch = Sketch {
            scorer: chooser.scorer(&record),
            bytes: record.body.len(),
            expires_after_ms: record.facts.expires_after_ms,
            stamp: record.stamp.clone(),
            record: Some(record).filter(|record| record.body.len() <= SMALL),
        };
        let known = Known { stream, sketch: Some(Box::new(sketch)) };
        self.cursor(chain).waiting.insert(sequence.0, known);
        sequence.0
    }

    fn score(&mut self, inner: &Inner, position: Position) -> Option<Candidate> {
        let clock = &inner.context.clock;
        let attempts = self.attempts(position).map_or(0, |attempts| attempts.count);
        let known = self.cursor(position.chain).waiting.get_mut(&position.sequence.0)?;
        let sketch = known.sketch.as_mut()?;
        let age = sketch.stamp.age(&clock.now(), clock.boot_id());
        let score = Score::new((sketch.scorer)(&Waited { age, attempts }));
        Some(Candidate { sequence: position.sequence.0, score, age, bytes: sketch.bytes })
    }
}
