//! Reading on from where one stopped: for what is derived from a spool's records,
//! and has to catch up with them after a crash.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use crate::error::Result;
use crate::id::{Chain, Sequence};
use crate::record::StoredRecord;
use crate::segment::Read;
use crate::spool::{Inner, Spool};

impl Spool {
    /// For each chain, the sequence that its next record will get. What was
    /// acknowledged before the call stands before these places.
    pub fn ends(&self) -> Result<BTreeMap<Chain, Sequence>> {
        self.inner.check_process()?;
        self.inner.catch_up()?;
        let chains = self.inner.store.chains();
        Ok(chains.into_iter().map(|(chain, (_, next))| (chain, Sequence(next))).collect())
    }

    /// For each chain, the sequences that stand on disk: from the oldest that was not removed
    /// to the one that its next record will get.
    ///
    /// # Errors
    /// As for [`ends`](Spool::ends).
    pub fn spans(&self) -> Result<BTreeMap<Chain, Range<Sequence>>> {
        self.inner.check_process()?;
        self.inner.catch_up()?;
        let chains = self.inner.store.chains().into_iter();
        Ok(chains.map(|(chain, (first, next))| (chain, Sequence(first)..Sequence(next))).collect())
    }

    /// Calls `visit` for each record on disk from the given places on (a chain that
    /// has none: from its beginning), chain by chain, in order, whatever became of
    /// them, until it breaks.
    pub fn each_from(
        &self,
        places: &BTreeMap<Chain, Sequence>,
        visit: &mut dyn FnMut(StoredRecord) -> ControlFlow<()>,
    ) -> Result<()> {
        self.inner.check_process()?;
        self.inner.catch_up()?;
        for (chain, (first, next)) in self.inner.store.chains() {
            let from = places.get(&chain).map_or(first, |place| place.0.max(first));
            if self.inner.read_chain(chain, from..next, &|at| at, visit)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Inner {
    /// Calls `visit` for each record of a chain within `places` until it breaks.
    /// `skip` says from which place on a look is worth it; what is damaged is
    /// stepped over.
    pub(crate) fn read_chain(
        &self,
        chain: Chain,
        places: Range<u64>,
        skip: &dyn Fn(u64) -> u64,
        visit: &mut dyn FnMut(StoredRecord) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut reader = None;
        let mut sequence = skip(places.start.max(1));
        while sequence < places.end {
            match self.store.read(chain, sequence, &mut reader)? {
                Read::End => break,
                Read::LostUpTo(end) => sequence = skip(end.max(sequence + 1)),
                Read::Record(record) => {
                    sequence = skip(sequence + 1);
                    if visit(*record).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
