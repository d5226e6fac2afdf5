//! What the ledger is told of records that were carried here.

use super::CourierState;
use crate::error::Result;
use crate::id::{Chain, Position};
use crate::ledger::{Settled, State};
use crate::spool::Inner;

impl CourierState {
    /// Whether a record waits no more, and did not fail.
    pub(crate) fn is_settled_for_good(&self, position: Position) -> bool {
        let has_failed = self
            .account(position.chain)
            .is_some_and(|account| account.failed.contains_key(&position.sequence.0));
        self.is_settled(position) && !has_failed
    }

    /// Writes down, durably, where carried records stand that do not simply wait, and which
    /// places of chains hold no record: chain, first, and where the stretch ends.
    pub(crate) fn note_carried(
        &mut self,
        inner: &Inner,
        settled: &[(Position, Settled)],
        void: &[(Chain, u64, u64)],
    ) -> Result<()> {
        let settled = settled.iter().map(|(position, settled)| {
            let sequence = position.sequence.0;
            self.entry(inner, position.chain, sequence, sequence, settled.clone())
        });
        let is_void = Settled::new(State::Void).reason("it was not carried here");
        let void = void
            .iter()
            .map(|(chain, first, end)| self.entry(inner, *chain, *first, end - 1, is_void.clone()));
        let entries = settled.chain(void).collect();
        self.record(inner, entries);
        self.flush_ledger(inner)
    }
}
