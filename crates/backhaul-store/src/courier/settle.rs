//! Writing down what became of records.

use std::collections::BTreeSet;
use std::time::Duration;

use super::CourierState;
use crate::clock::Moment;
use crate::error::Result;
use crate::id::{Chain, Position};
use crate::layout::Store;
use crate::ledger::{Entry, Settled, State};
use crate::spool::{DEFAULT_DESTINATION, Inner};

impl CourierState {
    /// Writes down that a range of a chain is damaged. What there is of it goes to
    /// quarantine when the ledger says so durably.
    pub(crate) fn settle_damaged(&mut self, inner: &Inner, chain: Chain, first: u64, end: u64) {
        tracing::error!(%chain, first, last = end - 1, "records are damaged or missing on disk");
        let settled = Settled::new(State::Damaged).reason("damaged or missing on disk");
        self.record(inner, vec![self.entry(inner, chain, first, end - 1, settled.clone())]);
        let Store::Folder(store) = &inner.store else { return };
        let files = store.present_between(chain, first, end);
        if files.is_empty() {
            return;
        }
        self.to_place.extend(files.into_iter().map(|position| (position, settled.clone())));
        match self.flush_ledger(inner) {
            Ok(()) => self.place_settled(inner),
            Err(error) => inner.note_trouble(Some(&error)),
        }
    }

    pub(super) fn entry(
        &self,
        inner: &Inner,
        chain: Chain,
        first: u64,
        last: u64,
        settled: Settled,
    ) -> Entry {
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
    pub(super) fn record(&mut self, inner: &Inner, entries: Vec<Entry>) {
        if let Err(error) = self.ledger.record(&*inner.context.disk, entries) {
            inner.note_trouble(Some(&error));
        }
        self.ledger.tell(&inner.context.quota);
    }

    /// Makes what was written down durable, and tells the quota what it takes.
    pub(crate) fn flush_ledger(&mut self, inner: &Inner) -> Result<()> {
        let flushed = self.ledger.flush(&*inner.context.disk);
        self.ledger.tell(&inner.context.quota);
        flushed
    }

    pub(crate) fn settle(&mut self, inner: &Inner, settlements: &[(Position, Settled)]) {
        let now = inner.context.clock.now();
        for (position, settled) in settlements {
            self.note_wait(*position, settled, &now);
            if settled.state == State::Requeued {
                self.check.look_again_at(*position);
            }
            // While an attempt goes on the record stays on offer.
            if settled.state != State::Started
                && let Some(offered) = self.in_flight.remove(position)
                && !settled.state.is_final()
            {
                let waiting = &mut self.cursor(position.chain).waiting;
                waiting.insert(position.sequence.0, offered.known);
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
                    State::Started
                        | State::Rejected
                        | State::Dropped
                        | State::Evicted
                        | State::Requeued
                        | State::Held
                        | State::Unknown
                )
            });
        let taking_effect: Vec<_> = taking_effect.into_iter().cloned().collect();
        self.record(inner, entries);
        self.to_place.extend(taking_effect);
        let flushed = if must_last { self.flush_ledger(inner) } else { Ok(()) };
        match flushed {
            Ok(()) => {
                self.place_settled(inner);
                self.refill_reserve(inner);
            }
            Err(error) => inner.note_trouble(Some(&error)),
        }
    }

    /// Lets files show what became of their records. The ledger says so durably.
    pub(super) fn place_settled(&mut self, inner: &Inner) {
        for (position, settled) in std::mem::take(&mut self.to_place) {
            let placed = inner.store.project(position, settled.state, settled.reason.as_deref());
            if let Err(error) = placed {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::courier::Limits;
    use crate::options::Options;
    use crate::record::{Flush, Record};
    use crate::spool::Spool;

    /// Says of each record of a batch what `fate` says, or nothing.
    fn settle_batch(spool: &Spool, fate: impl Fn(u64) -> Option<Settled>) -> usize {
        let limits = Limits { records: 150, ..Limits::default() };
        let Some(batch) = spool.take(&limits).unwrap() else { return 0 };
        let positions = batch.records.iter().map(|offer| offer.record.id.position);
        let settlements: Vec<(Position, Settled)> =
            positions.filter_map(|position| Some((position, fate(position.sequence.0)?))).collect();
        spool.settle(&settlements).unwrap();
        settlements.len()
    }

    #[test]
    fn nothing_is_kept_in_memory_of_records_that_are_settled() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { flush: Flush::Never, ..Options::default() };
        let spool = Spool::open(dir.path(), options).unwrap();
        let delivered = || Settled::new(State::Delivered);
        for _ in 0..500 {
            for number in 0..100 {
                let record = Record::new("text", b"{}".to_vec()).stream(format!("{number}"));
                drop(spool.submit(record).unwrap());
            }
            spool.flush().unwrap();
            let now = spool.clock().now().wall;
            settle_batch(&spool, |sequence| match sequence % 3 {
                0 => Some(delivered()),
                1 => Some(Settled::new(State::Later).reason("busy").not_before(now)),
                _ => None,
            });
            while settle_batch(&spool, |_| Some(delivered())) > 0 {}
        }
        assert_eq!(spool.books().unwrap().delivered, 50_000);
        let courier = spool.inner.courier();
        let kept = [
            courier.in_flight.len(),
            courier.put_off.len(),
            courier.to_place.len(),
            courier.read_failures.len(),
            courier.cursors.values().map(|cursor| cursor.waiting.len()).sum(),
            courier
                .ledger
                .accounts
                .0
                .values()
                .flatten()
                .map(|(_, account)| account.open.len())
                .sum(),
        ];
        assert_eq!(kept, [0; 6]);
        // No range of settled records stands after the floor.
        let floors = courier.ledger.accounts.0.values().flatten().map(|(_, account)| account.floor);
        assert_eq!(floors.collect::<Vec<_>>(), [50_001]);
    }
}
