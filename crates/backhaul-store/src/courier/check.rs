//! Reads waiting records in the background, so that damage is found and booked while
//! it is young, and what expires expires, also where nothing is delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::CourierState;
use crate::error::Result;
use crate::id::{Chain, Position, Sequence};
use crate::ledger::Account;
use crate::segment::{Read, SegmentReader};
use crate::spool::Inner;

/// Bytes of records that are read at a time, once a second: a gigabyte takes a
/// quarter of an hour.
const BYTES: usize = 1_000_000;
/// Records that are read at a time, where each is a file.
const RECORDS: usize = 256;
/// How long after one pass the next begins that reads all of them.
const REST: Duration = Duration::from_secs(24 * 3600);

/// How far the pass has got.
#[derive(Debug, Default)]
pub(super) struct Check {
    /// For each chain, the next place to read.
    at: BTreeMap<Chain, u64>,
    /// Records that wait again: they may stand before that place.
    again: BTreeSet<Position>,
    reader: Option<(Chain, SegmentReader)>,
    /// When it had read all there was, since boot. What is appended later is read as it
    /// comes.
    ended: Option<Duration>,
}

impl Check {
    /// Has a record read that waits again.
    pub(super) fn look_again_at(&mut self, position: Position) {
        self.again.insert(position);
    }

    /// A record was looked at; the one after it in its chain, but for those that wait again.
    fn pass(&mut self, position: Position, next: u64) {
        if !self.again.remove(&position) {
            self.at.insert(position.chain, next);
        }
    }
}

impl CourierState {
    /// Has all records that wait read from the first one on.
    pub(super) fn begin_check(&mut self) {
        let mut check = Check::default();
        for chain in self.given_sequences().into_keys() {
            let requeued = self.account(chain).into_iter().flat_map(|account| &account.requeued);
            check
                .again
                .extend(requeued.map(|sequence| Position { chain, sequence: Sequence(*sequence) }));
        }
        self.check = check;
    }

    /// Reads on for a while; books what is damaged, and notes what expires when.
    ///
    /// # Errors
    /// The disk does not give a record: it is tried again next time.
    pub(super) fn check_some(&mut self, inner: &Inner) -> Result<()> {
        let now = inner.context.clock.now();
        let is_due =
            self.check.ended.is_some_and(|ended| now.since_boot.saturating_sub(ended) >= REST);
        if is_due || self.expiry.wants_another_pass() {
            self.begin_check();
        }
        let (mut bytes, mut records) = (0, 0);
        while bytes < BYTES && records < RECORDS {
            let Some(position) = self.next_to_check(inner) else {
                self.check.ended.get_or_insert(now.since_boot);
                self.check.reader = None;
                return Ok(());
            };
            let (chain, sequence) = (position.chain, position.sequence.0);
            let mut reader = self.check.reader.take_if(|(of, _)| *of == chain).unzip().1;
            let read = match self.read(inner, position, &mut reader) {
                // Taking comes back to it, and books it in the end.
                Err(_) if self.must_wait(position, &now) => {
                    self.check.pass(position, sequence + 1);
                    continue;
                }
                read => read?,
            };
            let next = match read {
                Read::Record(record) => {
                    bytes += record.body.len();
                    self.note_expiry(inner, &record);
                    sequence + 1
                }
                Read::LostUpTo(end) => {
                    self.settle_damaged(inner, chain, sequence, end);
                    end
                }
                Read::End => inner.store.next(chain).max(sequence + 1),
            };
            records += 1;
            self.check.pass(position, next);
            self.check.reader = reader.map(|reader| (chain, reader));
        }
        Ok(())
    }

    /// Reads all records that wait, and books what is damaged.
    ///
    /// # Errors
    /// The disk does not give one of them.
    pub(crate) fn check_all(&mut self, inner: &Inner) -> Result<()> {
        self.begin_check();
        while self.check.ended.is_none() {
            self.check_some(inner)?;
        }
        self.flush_ledger(inner)
    }

    /// The next waiting record from where the pass has got to.
    fn next_to_check(&mut self, inner: &Inner) -> Option<Position> {
        while let Some(&position) = self.check.again.first() {
            if !self.is_settled(position) {
                return Some(position);
            }
            self.check.again.remove(&position);
        }
        inner.store.chains().into_iter().find_map(|(chain, (_, next))| {
            let from = self.check.at.get(&chain).copied().unwrap_or(1);
            let sequence =
                self.account(chain).map_or(from, |account| Account::next_unsettled(account, from));
            (sequence < next).then_some(Position { chain, sequence: Sequence(sequence) })
        })
    }
}
