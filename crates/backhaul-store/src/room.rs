//! Making room: delivered data goes when its time is over, or when room is
//! needed; waiting data only where the owner said so. What another reader still wants
//! stays.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::clock::Moment;
use crate::courier::CourierState;
use crate::error::Result;
use crate::id::{Chain, Lane, Position, Sequence};
use crate::layout::{Prepared, Store, Unit};
use crate::ledger::{Settled, State};
use crate::options::WhenFull;
use crate::quota::on_disk;
use crate::segment::Read;
use crate::spool::{Inner, Spool};

/// Up to where another reader has done with the records of each chain.
#[derive(Debug)]
pub(crate) struct Released(Mutex<BTreeMap<Chain, Sequence>>);

impl Released {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    fn covers(&self, unit: &Unit) -> bool {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(&unit.chain).is_some_and(|end| unit.next <= end.0)
    }
}

impl Spool {
    /// Lets segments go whose records stand before these places, now that another
    /// reader has done with them: they are removed when they would be without it.
    /// Says something only where [`keep_until_released`] is set, and is forgotten when
    /// the spool is closed.
    ///
    /// [`keep_until_released`]: crate::Options::keep_until_released
    ///
    /// # Examples
    /// ```
    /// # use backhaul_store::{Options, Record, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options { keep_until_released: true, ..Options::default() };
    /// let spool = Spool::open(dir.path(), options)?;
    /// spool.append(Record::new("application/json", b"{}".to_vec()))?;
    /// let ends = spool.ends()?;
    /// // Here a reader makes durable what it learned from the records before `ends`.
    /// spool.release(&ends);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release(&self, places: &BTreeMap<Chain, Sequence>) {
        let Some(Released(released)) = &self.inner.released else { return };
        let mut released = released.lock().unwrap_or_else(PoisonError::into_inner);
        for (&chain, &end) in places {
            let known = released.entry(chain).or_insert(end);
            *known = end.max(*known);
        }
    }
}

impl Prepared {
    /// Bytes that the record may take on disk, at most.
    pub(crate) fn size_on_disk(&self) -> u64 {
        let body = self.record.body.len().max(self.line_len());
        on_disk(body as u64) + 4096
    }
}

impl CourierState {
    /// Removes delivered data that was kept long enough, or that takes more than
    /// its share of the cap. `Ok(true)`: something was removed.
    pub(crate) fn purge(&mut self, inner: &Inner, now: &Moment) -> Result<bool> {
        let options = &inner.context.options;
        let now_us = now.wall.as_micros();
        let keep_us = options.keep_delivered_us();
        for account in self.ledger.accounts.0.values_mut().flat_map(|chains| chains.values_mut()) {
            account.mark(now_us, keep_us);
        }
        let delivered = self.delivered_units(inner);
        self.show_delivered(inner, &delivered);
        let share = options.max_bytes.map(|max| share_of(max, options.keep_delivered_share));
        let mut kept: u64 = delivered.iter().map(|unit| on_disk(unit.bytes)).sum();
        let due: Vec<Unit> = delivered
            .into_iter()
            .filter(|unit| {
                if !inner.is_released(unit) {
                    return false;
                }
                let since = self
                    .account(unit.chain)
                    .map_or(0, |account| account.settled_since(now_us, keep_us));
                let over = share.is_some_and(|share| kept > share);
                let gone = unit.next <= since || over;
                if gone {
                    kept -= on_disk(unit.bytes);
                }
                gone
            })
            .collect();
        self.remove_units(inner, &due)?;
        Ok(!due.is_empty())
    }

    /// Units whose records all wait no more, and of which none is kept as failed;
    /// oldest first.
    pub(crate) fn delivered_units(&self, inner: &Inner) -> Vec<Unit> {
        let mut units: Vec<Unit> = inner
            .store
            .units()
            .into_iter()
            .filter(|unit| !unit.foreign && !unit.open && self.is_delivered(unit))
            .collect();
        units.sort_by_key(|unit| (unit.created, unit.chain, unit.first));
        units
    }

    /// Those of them that no other reader wants any more.
    pub(crate) fn removable_units<'a>(&self, inner: &'a Inner) -> impl Iterator<Item = Unit> + 'a {
        let delivered = self.delivered_units(inner).into_iter();
        delivered.filter(|unit| inner.is_released(unit))
    }

    /// Lets the names of delivered segments say so.
    pub(crate) fn show_delivered(&self, inner: &Inner, delivered: &[Unit]) {
        let Store::Segments(store) = &inner.store else { return };
        for unit in delivered {
            if let Err(error) = store.mark_synced(&unit.name) {
                tracing::warn!(name = unit.name, %error, "a delivered segment keeps its name");
            }
        }
    }

    /// Removes files whose records are settled; the ledger is made durable before.
    pub(crate) fn remove_units(&mut self, inner: &Inner, units: &[Unit]) -> Result<()> {
        if units.is_empty() {
            return Ok(());
        }
        self.flush_ledger(inner)?;
        for unit in units {
            inner.store.remove(unit)?;
        }
        if let Store::Folder(store) = &inner.store {
            store.sync_places()?;
        }
        Ok(())
    }

    /// On a full disk the ledger was written with its last reserve: gets it back, from
    /// delivered data, so that the next settlement can be written down too.
    pub(crate) fn refill_reserve(&mut self, inner: &Inner) {
        /// Enough for the reserve and what a file system wants besides.
        const ENOUGH: u64 = 64 << 10;
        if !self.ledger.needs_reserve {
            return;
        }
        let mut freed = 0;
        let due = self.removable_units(inner).take_while(|unit| {
            let wanted = freed < ENOUGH;
            freed += on_disk(unit.bytes);
            wanted
        });
        if let Err(error) = self.remove_units(inner, &due.collect::<Vec<_>>()) {
            tracing::warn!(%error, "delivered data was not removed from a full disk");
        }
        self.ledger.keep_reserve(&*inner.context.disk);
        self.ledger.tell(&inner.context.quota);
    }

    /// Makes room for `bytes` more of a record in `lane`. `Ok(false)`: nothing may
    /// go that is still there.
    pub(crate) fn make_room(&mut self, inner: &Inner, bytes: u64, lane: Lane) -> Result<bool> {
        if !self.claim(inner)? {
            return Ok(false);
        }
        let quota = &inner.context.quota;
        let mut freed = 0;
        for unit in self.removable_units(inner) {
            if freed >= bytes && quota.fits(bytes) {
                break;
            }
            freed += on_disk(unit.bytes);
            self.remove_units(inner, &[unit])?;
        }
        // Writing down what was evicted takes room too.
        while freed < bytes || !quota.fits(bytes) {
            let Some(unit) = self.victim(inner, lane) else { break };
            freed += on_disk(unit.bytes);
            self.evict(inner, &unit)?;
        }
        Ok(freed > 0)
    }

    /// What has to give way next, by the owner's policy.
    fn victim(&self, inner: &Inner, lane: Lane) -> Option<Unit> {
        let may_go = |unit: &Unit| {
            !unit.foreign
                && unit.first < unit.next
                && inner.is_released(unit)
                && self
                    .account(unit.chain)
                    .is_none_or(|account| !account.has_failed_in(unit.first, unit.next))
        };
        let units = inner.store.units().into_iter().filter(may_go);
        match inner.context.options.when_full {
            WhenFull::Reject => None,
            WhenFull::DropOldest => units.min_by_key(|unit| {
                (unit.chain.lane == Lane::Critical, unit.created, unit.chain, unit.first)
            }),
            WhenFull::DropLowestPriority => {
                units.filter(|unit| unit.chain.lane >= lane).min_by_key(|unit| {
                    (std::cmp::Reverse(unit.chain.lane), unit.created, unit.chain, unit.first)
                })
            }
        }
    }

    fn evict(&mut self, inner: &Inner, unit: &Unit) -> Result<()> {
        if let (Store::Segments(store), true) = (&inner.store, unit.open) {
            store.rotate(unit.chain);
        }
        if let Store::Folder(store) = &inner.store
            && let Ok(Read::LostUpTo(_)) = store.read(unit.chain, unit.first)
        {
            self.settle_damaged(inner, unit.chain, unit.first, unit.next);
            return Ok(());
        }
        let why = "removed to make room: the spool was full";
        let settlements: Vec<(Position, Settled)> = (unit.first..unit.next)
            .map(|sequence| Position { chain: unit.chain, sequence: Sequence(sequence) })
            .filter(|position| !self.is_settled(*position))
            .map(|position| (position, Settled::new(State::Evicted).reason(why)))
            .collect();
        tracing::error!(chain = %unit.chain, records = settlements.len(), "waiting records were removed to make room");
        self.settle(inner, &settlements);
        self.remove_units(inner, std::slice::from_ref(unit))
    }
}

impl Inner {
    /// Whether no other reader wants the unit any more.
    pub(crate) fn is_released(&self, unit: &Unit) -> bool {
        self.released.as_ref().is_none_or(|released| released.covers(unit))
    }
}

fn share_of(max: u64, share: f64) -> u64 {
    // Thousandths are fine enough for a share of a cap, and keep to whole numbers.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the share is checked to be within 0 and 1"
    )]
    let thousandths = (share * 1000.0) as u64;
    max / 1000 * thousandths
}
