//! Reads waiting records in the background, so that damage is found and booked while
//! it is young, also where nothing is delivered.

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
/// How long after one pass the next begins.
const REST: Duration = Duration::from_secs(24 * 3600);

/// How far the pass has got.
#[derive(Debug, Default)]
pub(super) struct Check {
    /// The next place to read; none: at the first chain's beginning.
    at: Option<(Chain, u64)>,
    reader: Option<SegmentReader>,
    /// When the last pass ended, since boot.
    ended: Option<Duration>,
}

impl CourierState {
    /// Reads on for a while; books what is damaged.
    ///
    /// # Errors
    /// The disk does not give a record: it is tried again next time.
    pub(super) fn check_some(&mut self, inner: &Inner) -> Result<()> {
        let now = inner.context.clock.now().since_boot;
        if self.check.ended.is_some_and(|ended| now.saturating_sub(ended) < REST) {
            return Ok(());
        }
        let (mut bytes, mut records) = (0, 0);
        while bytes < BYTES && records < RECORDS {
            let Some(position) = self.next_to_check(inner) else {
                self.check = Check { ended: Some(now), ..Check::default() };
                return Ok(());
            };
            let (chain, sequence) = (position.chain, position.sequence.0);
            let mut reader = self.check.reader.take();
            let read = match self.read(inner, position, &mut reader) {
                // Taking comes back to it, and books it in the end.
                Err(_) if self.must_wait(position, &inner.context.clock.now()) => {
                    self.check.at = Some((chain, sequence + 1));
                    continue;
                }
                read => read?,
            };
            let next = match read {
                Read::Record(record) => {
                    bytes += record.body.len();
                    sequence + 1
                }
                Read::LostUpTo(end) => {
                    self.settle_damaged(inner, chain, sequence, end);
                    end
                }
                Read::End => u64::MAX,
            };
            records += 1;
            self.check.at = Some((chain, next));
            self.check.reader = reader;
        }
        Ok(())
    }

    /// The next waiting record from where the pass has got to.
    fn next_to_check(&mut self, inner: &Inner) -> Option<Position> {
        let (from_chain, from) = self.check.at.unzip();
        for (chain, (_, next)) in inner.store.chains() {
            if from_chain.is_some_and(|from_chain| chain < from_chain) {
                continue;
            }
            let is_same = from_chain == Some(chain);
            if !is_same {
                self.check.reader = None;
            }
            let from = from.filter(|_| is_same).unwrap_or(1);
            let sequence =
                self.account(chain).map_or(from, |account| Account::next_unsettled(account, from));
            if sequence < next {
                return Some(Position { chain, sequence: Sequence(sequence) });
            }
        }
        None
    }
}
