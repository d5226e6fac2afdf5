//! Makes ledger and files agree when a process begins to deliver.

use std::collections::BTreeSet;

use super::{Chains, CourierState, Known};
use crate::error::Result;
use crate::folder::{FolderStore, Place};
use crate::id::Chain;
use crate::layout::Store;
use crate::ledger::{Account, Settled, State};
use crate::spool::{DEFAULT_DESTINATION, Inner};

impl CourierState {
    /// Every chain has an account from its first record on. Only where the ledger was
    /// lost, nothing is known of what came before the files that are there.
    pub(super) fn open_accounts(&mut self, inner: &Inner) -> Result<()> {
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
    pub(super) fn recall_requeued(&mut self) {
        let chains: Vec<Chain> = self.given_sequences().into_keys().collect();
        for chain in chains {
            let requeued = self.account(chain).map(|account| account.requeued.clone());
            let waiting = &mut self.cursor(chain).waiting;
            waiting.extend(
                requeued.into_iter().flatten().map(|sequence| (sequence, Known::default())),
            );
        }
    }

    /// Writes down up to where records were acknowledged, so that they are missed if
    /// their files vanish. `flushed`: the chains at a moment when all of them was flushed.
    pub(crate) fn note_accepted(&mut self, inner: &Inner, flushed: &Chains) {
        let mut entries = Vec::new();
        for (&chain, &(_, next)) in flushed {
            // Files of other processes may not be flushed, and do not say so.
            let is_flushed =
                chain.writer == inner.writer || matches!(inner.store, Store::Segments(_));
            let noted = self.account(chain).map_or(1, Account::beyond).max(1);
            if is_flushed && next > noted {
                let accepted = Settled::new(State::Accepted);
                entries.push(self.entry(inner, chain, noted, next - 1, accepted));
            }
        }
        self.record(inner, entries);
    }

    /// Writes down, durably, that the places of a chain before `end` are given away.
    pub(super) fn note_given(&mut self, inner: &Inner, chain: Chain, end: u64) -> Result<()> {
        if self.noted.get(&chain).is_some_and(|noted| *noted >= end) {
            return Ok(());
        }
        self.note_accepted(inner, &Chains::from([(chain, (1, end))]));
        self.flush_ledger(inner)?;
        self.noted.insert(chain, end);
        Ok(())
    }

    /// Whether records of a writer were noted as acknowledged that no segment holds.
    pub(super) fn misses_records(&self, inner: &Inner, writer: u16) -> bool {
        let mut chains = self.given_sequences().into_keys().filter(|chain| chain.writer == writer);
        chains.any(|chain| !self.lost_end(inner, chain).is_empty())
    }

    fn lost_end(&self, inner: &Inner, chain: Chain) -> Vec<(u64, u64)> {
        self.account(chain).map_or_else(Vec::new, |account| {
            let end = account.accepted.max(account.floor);
            account.unsettled_between(inner.store.next(chain), end)
        })
    }

    /// Books the ends of chains that were acknowledged and are in no segment any more,
    /// for writers that are this process or dead: somebody cut or removed the files.
    pub(super) fn book_lost_ends(&mut self, inner: &Inner, writers: &BTreeSet<u16>) -> Result<()> {
        let mut lost = Vec::new();
        for chain in self.given_sequences().into_keys() {
            if writers.contains(&chain.writer) {
                let stretches = self.lost_end(inner, chain).into_iter();
                lost.extend(stretches.map(|(first, end)| (chain, first, end)));
            }
        }
        if lost.is_empty() {
            return Ok(());
        }
        // What else was named since the last note, nobody knows.
        inner.redraw_epoch("acknowledged records are not on disk any more")?;
        for (chain, first, end) in lost {
            self.settle_damaged(inner, chain, first, end);
        }
        Ok(())
    }

    /// Books places without a file: acknowledged records whose files somebody removed,
    /// and places that never held any.
    pub(super) fn book_missing_files(&mut self, inner: &Inner) -> Result<()> {
        let Store::Folder(store) = &inner.store else { return Ok(()) };
        let mut missing = self.missing_files(inner, store);
        if missing.iter().any(|(chain, ..)| chain.writer != inner.writer) {
            store.look_again()?;
            missing = self.missing_files(inner, store);
        }
        let mut entries = Vec::new();
        for (chain, first, end) in missing {
            // One that was requeued was settled once, and so accepted.
            let accepted = self.account(chain).map_or(1, |one| one.accepted.max(one.floor));
            let accepted_end = accepted.clamp(first, end);
            if first < accepted_end {
                tracing::error!(%chain, first, last = accepted_end - 1, "records are missing on disk");
            }
            let damaged = Settled::new(State::Damaged).reason("its file is gone");
            let void = Settled::new(State::Void).reason("no file at opening");
            for (first, end, settled) in [(first, accepted_end, damaged), (accepted_end, end, void)]
            {
                if first < end {
                    entries.push(self.entry(inner, chain, first, end - 1, settled));
                }
            }
        }
        if entries.is_empty() {
            return Ok(());
        }
        self.record(inner, entries);
        // Before anything is noted as accepted that stands behind these places.
        self.flush_ledger(inner)
    }

    /// Unsettled places without a file: chain, first, and where the stretch ends.
    fn missing_files(&self, inner: &Inner, store: &FolderStore) -> Vec<(Chain, u64, u64)> {
        let mut missing = Vec::new();
        for (chain, (_, next)) in self.chains(inner) {
            let Some(account) = self.account(chain) else { continue };
            for (first, end) in account.unsettled_between(1, next) {
                let stretches = store.missing_between(chain, first, end);
                missing.extend(stretches.into_iter().map(|(first, end)| (chain, first, end)));
            }
        }
        missing
    }

    /// Makes files and ledger agree after a crash between the two.
    pub(super) fn reconcile_files(&mut self, inner: &Inner) {
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
}
