//! Records that are not worth sending any more, found while nothing is sent too.

use std::collections::BTreeSet;
use std::time::Duration;

use super::CourierState;
use crate::clock::Moment;
use crate::id::Position;
use crate::ledger::{Settled, State};
use crate::record::{Stamp, StoredRecord};
use crate::spool::Inner;

/// Records whose end is remembered. Where more wait that have one, they are read again
/// when these are through.
const MOST: usize = 4096;
/// A record may get as old as its limit, and no older.
const TICK: Duration = Duration::from_nanos(1);

/// What expires next.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// The soonest, and from when on, as time since boot.
    soonest: BTreeSet<(Duration, Position)>,
    /// Others were read that expire after all of these.
    are_more: bool,
}

impl Expiry {
    fn add(&mut self, at: Duration, position: Position) {
        self.soonest.insert((at, position));
        if self.soonest.len() > MOST {
            self.soonest.pop_last();
            self.are_more = true;
        }
    }

    /// Whether what waits has to be read once more to know what expires next.
    pub(super) fn wants_another_pass(&mut self) -> bool {
        self.soonest.is_empty() && std::mem::take(&mut self.are_more)
    }
}

impl CourierState {
    /// How old a record is, in power-on time where that is known.
    pub(crate) fn age(&self, inner: &Inner, stamp: &Stamp, now: &Moment) -> Duration {
        let boot_id = inner.context.clock.boot_id();
        let power_on = self.ledger.boots.power_on_since(stamp, now, boot_id);
        power_on.unwrap_or_else(|| stamp.age(now, boot_id))
    }

    /// Whether a record is older than it may get.
    pub(super) fn is_expired(
        &self,
        inner: &Inner,
        after_ms: Option<u64>,
        stamp: &Stamp,
        now: &Moment,
    ) -> bool {
        after_ms.is_some_and(|limit| self.age(inner, stamp, now) > Duration::from_millis(limit))
    }

    /// Remembers when a record that was read expires.
    pub(super) fn note_expiry(&mut self, inner: &Inner, record: &StoredRecord) {
        let Some(limit) = record.facts.expires_after_ms.map(Duration::from_millis) else { return };
        let now = inner.context.clock.now();
        if let Some(boot) = self.ledger.boots.unknown(&record.stamp) {
            self.note_boot(inner, boot);
        }
        let age = self.age(inner, &record.stamp, &now);
        let left = limit.checked_sub(age).map_or(Duration::ZERO, |left| left.saturating_add(TICK));
        self.expiry.add(now.since_boot.saturating_add(left), record.id.position);
    }

    /// Settles what has expired, but for what is on offer, held or begun.
    pub(super) fn expire_some(&mut self, inner: &Inner) {
        let now = inner.context.clock.now().since_boot;
        let due: Vec<(Duration, Position)> =
            self.expiry.soonest.iter().take_while(|(at, _)| *at <= now).copied().collect();
        let mut expired = Vec::new();
        for entry in due {
            let position = entry.1;
            if self.in_flight.contains_key(&position) {
                continue;
            }
            self.expiry.soonest.remove(&entry);
            if !self.is_settled(position) && !self.is_held(position) && !self.is_begun(position) {
                expired.push(position);
            }
        }
        self.expire(inner, &expired);
    }

    /// Settles records as expired.
    pub(super) fn expire(&mut self, inner: &Inner, positions: &[Position]) {
        let Some(first) = positions.first() else { return };
        tracing::warn!(records = positions.len(), %first, "records were not sent in their time, and expired");
        let expired = Settled::new(State::Expired).reason("older than its time to live");
        let settlements: Vec<_> =
            positions.iter().map(|position| (*position, expired.clone())).collect();
        self.settle(inner, &settlements);
    }

    /// Whether what a record does may have happened: that is to be found out, however old it is.
    pub(super) fn is_begun(&self, position: Position) -> bool {
        self.attempts(position).is_some_and(|attempts| attempts.is_begun)
    }

    pub(super) fn is_held(&self, position: Position) -> bool {
        let account = self.account(position.chain);
        let attempts = account.and_then(|account| account.open.get(&position.sequence.0));
        attempts.is_some_and(|attempts| attempts.held.is_some())
    }
}
