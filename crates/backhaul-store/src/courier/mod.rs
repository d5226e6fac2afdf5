//! The delivering side of a spool: takes waiting records in order, and writes
//! down what became of them. One process at a time holds it.

mod batch;
mod carried;
mod check;
mod choice;
mod choosing;
mod expiry;
mod operate;
mod queue;
mod read;
mod reconcile;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use self::batch::{Batch, Limits, Offer};
use self::check::Check;
pub use self::choice::{Choice, Chooser, Scorer, Waited};
use self::choosing::Choosing;
use self::expiry::Expiry;
use self::queue::{Cursor, Known, Offered};
use self::read::ReadFailures;
use crate::context::{Context, STATE, try_lock};
use crate::disk::DiskFile;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Chain, Position, Sequence};
use crate::layout::Store;
use crate::ledger::{Account, Boot, Ledger, Settled, State};
use crate::spool::{DEFAULT_DESTINATION, Inner, Spool, identity_path};

/// No record is offered whose sequence is this far from the first unsettled one of
/// its chain, so that a receiver needs no more memory than that to know repeats.
pub const WINDOW: u64 = 4096;
/// How often delivered data is looked at, to name it so, or to remove it.
const PURGE: Duration = Duration::from_secs(10);
/// A process that has taken nothing for so long lets another one deliver: longer than
/// couriers wait between two tries.
const IDLE_COURIER: Duration = Duration::from_secs(300);
/// How often the folder is looked at for what other processes did.
const REFRESH: Duration = Duration::from_millis(200);
/// While there is something to take, looking takes at most this part of the time: at a hundred
/// thousand files it takes most of a second, and commits wait meanwhile.
const REFRESH_SHARE: u32 = 20;

impl Spool {
    /// The most urgent waiting records. `Ok(None)`: nothing can be sent now.
    ///
    /// Within a stream one record is on offer at a time, in order of appending; one
    /// that has to wait holds back its stream and no other.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while another process delivers from this spool. One that holds
    /// the part and has taken nothing for five minutes, or [rests](Spool::rest), gives it up
    /// within about a second.
    pub fn take(&self, limits: &Limits) -> Result<Option<Batch>> {
        self.take_with(limits, |courier, inner, chains| {
            courier.take_in_order(inner, chains, limits)
        })
    }

    /// Says that this process takes nothing for now: another one that wants to deliver gets
    /// to within about a second, and not after five minutes. Taking ends it.
    pub fn rest(&self) {
        self.inner.courier().last_take = None;
    }

    fn take_with(
        &self,
        limits: &Limits,
        take: impl FnOnce(&mut CourierState, &Inner, &[Chain]) -> Result<Option<Taken>>,
    ) -> Result<Option<Batch>> {
        self.inner.check_process()?;
        self.inner.check_writable()?;
        self.inner.look_around()?;
        let mut courier = self.inner.courier();
        courier.require(&self.inner)?;
        courier.last_take = Some(self.inner.context.clock.now().since_boot);
        courier.open_accounts(&self.inner)?;
        let chains = self.inner.store.chains().into_keys();
        let chains: Vec<Chain> = chains.filter(|chain| chain.lane <= limits.down_to).collect();
        let taken = take(&mut courier, &self.inner, &chains)?;
        let Some((chain, records)) = taken else {
            // There is time to look.
            let soon = self.inner.context.clock.now().since_boot + REFRESH;
            courier.next_look = courier.next_look.min(soon);
            return Ok(None);
        };
        let floor = Sequence(courier.floor(chain));
        let (turn, spool) = (courier.turn, self.clone());
        drop(courier);
        let batch = Batch { records, chain, floor, next: 0, turn, spool };
        batch.make_durable()?;
        Ok(Some(batch))
    }

    /// Writes down what became of records.
    ///
    /// The accounts hold it at once, whatever the disk says; on disk, losing the
    /// newest of it in a power cut means only that records are sent again.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while another process delivers from this spool.
    pub fn settle(&self, settlements: &[(Position, Settled)]) -> Result<()> {
        self.inner.check_process()?;
        self.inner.check_writable()?;
        let mut courier = self.inner.courier();
        courier.require(&self.inner)?;
        courier.note_answers(settlements);
        courier.settle(&self.inner, settlements);
        Ok(())
    }

    /// [`settle`](Spool::settle), and it is on stable storage when this returns: for what has to
    /// be known after a power cut, such as that an attempt began ([`State::Started`]).
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while another process delivers from this spool, and where the disk
    /// refuses: the accounts hold it all the same, and it is written later.
    pub fn settle_durably(&self, settlements: &[(Position, Settled)]) -> Result<()> {
        self.settle(settlements)?;
        self.inner.courier().flush_ledger(&self.inner)
    }

    /// Notes that an attempt at a record begins, on stable storage when this returns.
    /// `Ok(false)`: it waits no more, since somebody settled it after it was taken.
    ///
    /// # Errors
    /// As for [`settle_durably`](Spool::settle_durably).
    pub fn begin(&self, position: Position) -> Result<bool> {
        self.settle_durably(&[(position, Settled::new(State::Started))])?;
        Ok(!self.inner.courier().is_settled(position))
    }

    /// Puts a rejected or held record back among the waiting. `Ok(false)`: it was neither.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while another process delivers from this spool.
    pub fn requeue(&self, position: Position) -> Result<bool> {
        self.inner.check_process()?;
        self.inner.check_writable()?;
        let mut courier = self.inner.courier();
        courier.require(&self.inner)?;
        let account = courier.account(position.chain);
        let failed =
            account.is_some_and(|account| account.failed.contains_key(&position.sequence.0));
        let held = account
            .and_then(|account| account.open.get(&position.sequence.0))
            .is_some_and(|attempts| attempts.held.is_some());
        if failed || held {
            courier.settle(&self.inner, &[(position, Settled::new(State::Requeued))]);
        }
        if failed {
            // One that was held is among those to look at, with its stream.
            courier.cursor(position.chain).waiting.insert(position.sequence.0, Known::default());
        }
        Ok(failed || held)
    }
}

/// Records to offer, all of one chain.
type Taken = (Chain, Vec<Offer>);

/// First and next sequence of each chain.
pub(crate) type Chains = BTreeMap<Chain, (u64, u64)>;

/// What the one delivering process knows.
#[derive(Debug)]
pub(crate) struct CourierState {
    pub(crate) ledger: Ledger,
    /// Held by the process that delivers.
    lock: Option<Box<dyn DiskFile>>,
    /// The same lock, taken before the files were looked at when the spool was opened.
    early: Option<Box<dyn DiskFile>>,
    /// Held by a process that wants to deliver while another one holds the lock.
    wish: Option<Box<dyn DiskFile>>,
    /// When this process took records last, since boot.
    last_take: Option<Duration>,
    cursors: BTreeMap<Chain, Cursor>,
    /// For each chain, up to where the ledger is known to say, durably, that its places
    /// are given away.
    noted: BTreeMap<Chain, u64>,
    /// On offer now.
    in_flight: BTreeMap<Position, Offered>,
    /// Counts the batches.
    turn: u64,
    choosing: Choosing,
    /// When the folder is looked at again, since boot.
    next_look: Duration,
    check: Check,
    expiry: Expiry,
    last_purge: Option<Duration>,
    read_failures: BTreeMap<Position, ReadFailures>,
    /// Settled records whose files wait for the ledger to be durable.
    to_place: Vec<(Position, Settled)>,
    /// Until when records wait that were put off in this process, as time since boot.
    put_off: BTreeMap<Position, Duration>,
}

impl CourierState {
    /// `early`: the lock of the one that delivers, taken before the files were looked at.
    pub(crate) fn new(ledger: Ledger, early: Option<Box<dyn DiskFile>>) -> Self {
        Self {
            ledger,
            lock: None,
            early,
            wish: None,
            last_take: None,
            cursors: BTreeMap::new(),
            noted: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            turn: 0,
            choosing: Choosing::default(),
            next_look: Duration::ZERO,
            check: Check::default(),
            expiry: Expiry::default(),
            last_purge: None,
            read_failures: BTreeMap::new(),
            to_place: Vec::new(),
            put_off: BTreeMap::new(),
        }
    }

    /// For each chain, the sequence after the last that the ledger mentions.
    pub(crate) fn given_sequences(&self) -> BTreeMap<Chain, u64> {
        let mut given: BTreeMap<Chain, u64> = BTreeMap::new();
        for (chain, account) in self.ledger.accounts.0.values().flatten() {
            if let Ok(chain) = chain.parse() {
                let beyond = given.entry(chain).or_default();
                *beyond = account.beyond().max(*beyond);
            }
        }
        given
    }

    /// The chains that the files or the ledger know of.
    pub(crate) fn chains(&self, inner: &Inner) -> Chains {
        let mut chains = inner.store.chains();
        for (chain, beyond) in self.given_sequences() {
            let (_, next) = chains.entry(chain).or_insert((beyond, beyond));
            *next = beyond.max(*next);
        }
        chains
    }

    pub(crate) fn account(&self, chain: Chain) -> Option<&Account> {
        self.ledger.accounts.account(DEFAULT_DESTINATION, chain)
    }

    /// Calls `visit` with the account of each chain, and its next sequence.
    pub(crate) fn each_account(&self, inner: &Inner, mut visit: impl FnMut(&Account, u64)) {
        for (chain, (first, next)) in self.chains(inner) {
            match self.account(chain) {
                Some(account) => visit(account, next),
                None => visit(&Account::new(first.max(1)), next),
            }
        }
    }

    pub(crate) fn is_settled(&self, position: Position) -> bool {
        self.account(position.chain).is_some_and(|account| account.is_settled(position.sequence.0))
    }

    pub(crate) fn floor(&self, chain: Chain) -> u64 {
        self.account(chain).map_or(1, |account| account.floor)
    }

    fn cursor(&mut self, chain: Chain) -> &mut Cursor {
        self.cursors.entry(chain).or_default()
    }

    /// Whether this process delivers from the spool.
    pub(crate) fn is_claimed(&self) -> bool {
        self.lock.is_some()
    }

    /// Becomes the delivering process if nobody else is. `Ok(false)`: somebody is.
    pub(crate) fn claim(&mut self, inner: &Inner) -> Result<bool> {
        if self.is_claimed() {
            return Ok(true);
        }
        let early = self.early.take();
        let is_early = early.is_some();
        self.lock = match early {
            Some(lock) => Some(lock),
            None => lock_courier(&inner.context)?,
        };
        if !self.is_claimed() {
            return Ok(false);
        }
        inner.context.delivers.store(true, Ordering::Relaxed);
        self.wish = None;
        self.take_over(inner, is_early).inspect_err(|_| self.let_go(inner))?;
        Ok(true)
    }

    /// Lets another process deliver that wants to, where this one does not.
    /// `Ok(true)`: there is one.
    fn hand_over(&mut self, inner: &Inner) -> Result<bool> {
        let now = inner.context.clock.now().since_boot;
        let delivers = !self.in_flight.is_empty()
            || self.last_take.is_some_and(|last| now.saturating_sub(last) < IDLE_COURIER);
        if delivers || self.wish.is_some() || lock_wish(inner)?.is_some() {
            return Ok(false);
        }
        if self.is_claimed() {
            self.flush_ledger(inner)?;
            self.place_settled(inner);
            self.let_go(inner);
        }
        Ok(true)
    }

    fn let_go(&mut self, inner: &Inner) {
        self.lock = None;
        inner.context.delivers.store(false, Ordering::Relaxed);
    }

    /// Makes ledger and files agree, as the one that delivers from now on. `is_fresh`:
    /// nobody else delivered since the files were looked at.
    fn take_over(&mut self, inner: &Inner, is_fresh: bool) -> Result<()> {
        self.look(inner)?;
        let Context { disk, dir, identity, .. } = &*inner.context;
        identity.reload(&**disk, &identity_path(dir))?;
        if let (Store::Folder(store), false) = (&inner.store, is_fresh) {
            // Whoever delivered until now may have moved files since the last look.
            store.look()?;
        }
        if self.ledger.was_lost && !inner.is_new {
            inner.redraw_epoch("the ledger of the spool is lost")?;
        }
        self.note_this_boot(inner);
        self.open_accounts(inner)?;
        self.recall_requeued();
        self.begin_check();
        match &inner.store {
            Store::Folder(_) => {
                // Lines that a killed process wrote may not be durable yet.
                self.flush_ledger(inner)?;
                self.reconcile_files(inner);
                self.book_missing_files(inner)
            }
            Store::Segments(_) => self.book_lost_ends(inner, &BTreeSet::from([inner.writer])),
        }
    }

    /// Writes down how long this boot has lasted, if that is due.
    fn note_this_boot(&mut self, inner: &Inner) {
        let Context { clock, identity, .. } = &*inner.context;
        let epoch = identity.epoch().to_string();
        let due = self.ledger.boots.due(clock.boot_id(), &epoch, clock.now().since_boot);
        if let Some(boot) = due {
            self.note_boot(inner, boot);
        }
    }

    fn note_boot(&mut self, inner: &Inner, boot: Boot) {
        if let Err(error) = self.ledger.note_boot(&*inner.context.disk, boot) {
            inner.note_trouble(Some(&error));
        }
        self.ledger.tell(&inner.context.quota);
    }

    /// Becomes the delivering process, or at least sees what that one wrote.
    pub(crate) fn claim_or_look(&mut self, inner: &Inner) -> Result<()> {
        if self.claim(inner)? { Ok(()) } else { self.look(inner) }
    }

    /// Reads the ledger again.
    pub(crate) fn look(&mut self, inner: &Inner) -> Result<()> {
        let context = &inner.context;
        let (state, cap) = (context.dir.join(STATE), context.quota.max());
        let keep_us = context.options.keep_delivered_us();
        self.ledger = Ledger::load(&*context.disk, &state, cap, keep_us)?;
        Ok(())
    }

    pub(crate) fn require(&mut self, inner: &Inner) -> Result<()> {
        if self.claim(inner)? {
            return Ok(());
        }
        if self.wish.is_none() {
            self.wish = lock_wish(inner)?;
        }
        Err(Error::at(
            ErrorKind::Busy,
            &inner.context.dir,
            "another process delivers from this spool: ask that one, or stop it",
        ))
    }

    /// Purges, checks, notes what was acknowledged and flushes, as far as this process
    /// delivers. `flushed`: the chains at a moment when all of them was flushed.
    /// `Ok(true)`: something was removed.
    pub(crate) fn maintain(&mut self, inner: &Inner, flushed: Option<&Chains>) -> Result<bool> {
        if self.hand_over(inner)? || !self.claim(inner)? {
            return Ok(false);
        }
        let checked = self.check_some(inner);
        self.expire_some(inner);
        let now = inner.context.clock.now();
        let due = self.last_purge.is_none_or(|last| now.since_boot.saturating_sub(last) >= PURGE);
        if !due {
            return checked.map(|()| false);
        }
        self.last_purge = Some(now.since_boot);
        if let Some(flushed) = flushed {
            self.note_accepted(inner, flushed);
        }
        self.note_this_boot(inner);
        let removed = self.purge(inner, &now)?;
        self.flush_ledger(inner)?;
        self.refill_reserve(inner);
        self.ledger.keep_reserve(&*inner.context.disk);
        self.ledger.tell(&inner.context.quota);
        self.place_settled(inner);
        checked.map(|()| removed)
    }

    /// The last words of a spool that is closed.
    pub(crate) fn close(&mut self, inner: &Inner, is_flushed: bool) {
        if self.is_claimed() {
            if is_flushed {
                self.note_accepted(inner, &inner.store.chains());
            }
            self.note_this_boot(inner);
            if let Err(error) = self.flush_ledger(inner) {
                tracing::warn!(%error, "the ledger was not flushed: records may be sent again");
            }
        }
        self.let_go(inner);
        self.wish = None;
    }
}

/// The lock of the one that delivers. `Ok(None)`: another process holds it.
pub(crate) fn lock_courier(context: &Context) -> Result<Option<Box<dyn DiskFile>>> {
    try_lock(&*context.disk, &context.state("courier.lock"))
}

/// The lock of those that want to deliver. `Ok(None)`: another process holds it.
fn lock_wish(inner: &Inner) -> Result<Option<Box<dyn DiskFile>>> {
    try_lock(&*inner.context.disk, &inner.context.state("courier.wanted.lock"))
}

impl Inner {
    /// Sees what other processes appended, and takes over what dead ones left.
    pub(crate) fn look_around(&self) -> Result<()> {
        let now = || self.context.clock.now().since_boot;
        let began = now();
        {
            let mut courier = self.courier();
            courier.require(self)?;
            if began < courier.next_look {
                return Ok(());
            }
            courier.next_look = began + REFRESH;
        }
        // Commits wait meanwhile. The courier's lock is always taken after this one.
        let paused = self.committer.pause();
        self.store.refresh()?;
        self.take_over_from_the_dead()?;
        drop(paused);
        let ended = now();
        let pause = ended.saturating_sub(began).saturating_mul(REFRESH_SHARE).max(REFRESH);
        self.courier().next_look = ended + pause;
        Ok(())
    }

    /// Takes over what dead processes left, where this one delivers. Commits wait
    /// meanwhile.
    pub(crate) fn take_over_from_the_dead(&self) -> Result<()> {
        if !self.courier().is_claimed() {
            return Ok(());
        }
        let writers: BTreeSet<u16> =
            self.courier().chains(self).into_keys().map(|chain| chain.writer).collect();
        let Store::Segments(store) = &self.store else { return Ok(()) };
        let mut dead = BTreeSet::new();
        for writer in writers.into_iter().filter(|writer| *writer != self.writer) {
            if !store.wants_adoption(writer) && !self.courier().misses_records(self, writer) {
                continue;
            }
            if store.adopt_from_the_dead(writer)? {
                dead.insert(writer);
            }
        }
        self.courier().book_lost_ends(self, &dead)
    }
}
