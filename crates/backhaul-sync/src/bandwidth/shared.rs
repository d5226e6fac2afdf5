//! What the clones of one manager share.
//!
//! # Rules
//! - What is reserved comes out of the lease, which the disk counts as used. So the disk
//!   never says less than what was sent, whenever the power goes.
//! - Whoever wants more than its lease holds asks the files, under their lock.
//! - The wall clock is never looked at but where it is known to be right.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backhaul_store::{Clock, Disk, Moment, Timestamp};

use super::amount::{Amount, Criticality};
use super::clock_check::ClockCheck;
use super::denied::Denied;
use super::lease::Lease;
use super::limits::Limits;
use super::moment::{Now, TrueTime, whole_ms};
use super::options::BandwidthOptions;
use super::refill::Refill;
use super::status::BandwidthStatus;
use super::timeline::Timeline;
use super::trouble::Trouble;
use super::usage::{SlotNumber, Usage};
use super::usage_files::{Loaded, Locked, Slot, UsageFiles};

/// A process that has counted nothing for so long gives back what it took ahead.
const IDLE: Duration = Duration::from_secs(5 * 60);
/// A server's date that differs from the wall clock by no more than this agrees with it:
/// what Kerberos allows between two clocks (RFC 4120, section 5.2.4: typically 5 minutes).
const AGREES_WITHIN: Duration = Duration::from_secs(5 * 60);
/// How old a server's date may be when it arrives: as long as a slow answer takes.
const DATE_TRAVELS: Duration = Duration::from_secs(60);

pub(crate) struct Shared {
    options: BandwidthOptions,
    limits: Option<Limits>,
    files: UsageFiles,
    clock: Arc<dyn Clock>,
    check: Arc<dyn ClockCheck>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// A forked child has the parent's memory, and nothing of its budget.
    process: u32,
    slot: Option<Slot>,
    /// A lease that stands under the slot's number is of a process that is gone.
    slot_is_new: bool,
    lease: Lease,
    /// The files as this process last read or wrote them.
    known: Option<Usage>,
    /// What a server's date said.
    witness: Option<Witness>,
    /// Bytes that this process has counted.
    counted: u64,
    /// When it last did, as time since boot.
    last_use: Duration,
    trouble: Option<Trouble>,
}

/// When a server's date agreed with the wall clock.
#[derive(Debug, Clone)]
struct Witness {
    boot: String,
    since_boot: Duration,
    not_before: TrueTime,
    not_after: TrueTime,
}

/// The files, brought up to this moment, with what this process knows better.
struct View {
    usage: Usage,
    now: Now,
    /// What this process holds and has taken ahead, as it stands in `usage`.
    own: Amount,
    /// It should be written down though nothing is taken.
    is_due: bool,
    loaded: Loaded,
}

impl View {
    /// What is counted, and what the other processes have taken.
    fn others(&self) -> Amount {
        self.usage.taken() - self.own
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BandwidthManager")
            .field("files", &self.files)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(
        dir: PathBuf,
        options: BandwidthOptions,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        check: Arc<dyn ClockCheck>,
    ) -> Self {
        Self {
            limits: options.limits(),
            options,
            files: UsageFiles::new(dir, disk),
            clock,
            check,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No call leaves the state half changed, so that a panic elsewhere does it no harm.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        if state.process != process {
            *state = State { process, ..State::default() };
        }
        state
    }

    fn refill(&self) -> Refill {
        self.options.refill
    }

    // --- Sending ---------------------------------------------------------------

    /// Sets bytes aside for traffic that is about to begin.
    pub(crate) fn reserve(&self, bytes: u64, kind: Criticality) -> Result<(), Denied> {
        let mut state = self.lock();
        if let Some(limits) = self.limits {
            check_fits(limits, bytes, kind)?;
            if state.lease.ahead().get(kind) < bytes {
                self.extend(&mut state, limits, bytes, kind)?;
            }
        }
        state.lease.hold(kind, bytes);
        state.last_use = self.clock.now().since_boot;
        Ok(())
    }

    /// Takes a further piece of the allowance.
    fn extend(
        &self,
        state: &mut State,
        limits: Limits,
        bytes: u64,
        kind: Criticality,
    ) -> Result<(), Denied> {
        let most_ahead = limits.ahead(state.counted);
        let updated = self.update(state, limits, |view, lease| {
            // What it has of the other kind it keeps, unless that is in the way.
            let other_kind = lease.ahead() - lease.ahead().only(kind);
            [lease.held + other_kind, lease.held].into_iter().find_map(|own| {
                let room = limits.room(view.others() + own, kind);
                let ahead = most_ahead.min(room.checked_sub(bytes)? / 2);
                Some(own + Amount::of(kind, bytes.saturating_add(ahead)))
            })
        });
        match updated {
            Ok((_, true)) => Ok(()),
            Ok((view, false)) => Err(self.denied(&view, &state.lease, limits, bytes, kind)),
            Err(trouble) => Err(Denied::Storage { reason: trouble.0 }),
        }
    }

    fn denied(
        &self,
        view: &View,
        lease: &Lease,
        limits: Limits,
        bytes: u64,
        kind: Criticality,
    ) -> Denied {
        let counted = view.usage.counted.total();
        let taken = view.others() + lease.held;
        let leased = taken - counted;
        let wait = view
            .usage
            .counted
            .enough_in(&view.now, self.refill(), |left| limits.room(left + leased, kind) >= bytes);
        let (left, refill_in) = (limits.room(taken, kind), wait.map(Duration::from_millis));
        if kind == Criticality::Normal && limits.room(taken, Criticality::Critical) >= bytes {
            Denied::Reserve { left, refill_in }
        } else {
            Denied::Cap { left, refill_in }
        }
    }

    /// Whether a reservation would succeed now.
    pub(crate) fn can_send(&self, bytes: u64, kind: Criticality) -> bool {
        let Some(limits) = self.limits else { return true };
        let mut state = self.lock();
        if check_fits(limits, bytes, kind).is_err() {
            return false;
        }
        if state.lease.ahead().get(kind) >= bytes {
            return true;
        }
        let view = self.look(&mut state, limits);
        view.is_ok_and(|view| limits.room(view.others() + state.lease.held, kind) >= bytes)
    }

    /// Counts bytes of a reservation, which holds so much less from now on.
    pub(crate) fn count_held(&self, kind: Criticality, released: u64, bytes: u64) {
        let mut state = self.lock();
        state.lease.release(kind, released);
        self.count_in(&mut state, kind, bytes);
    }

    /// Counts bytes that nobody reserved.
    pub(crate) fn count(&self, kind: Criticality, bytes: u64) {
        self.count_in(&mut self.lock(), kind, bytes);
    }

    fn count_in(&self, state: &mut State, kind: Criticality, bytes: u64) {
        let moment = self.clock.now();
        state.counted = state.counted.saturating_add(bytes);
        state.last_use = moment.since_boot;
        let Some(limits) = self.limits else { return };
        let amount = Amount::of(kind, bytes);
        match self.stamp(state) {
            Some(now) => state.lease.spent.count(amount, &now, self.refill()),
            None => state.lease.unstamped += amount,
        }
        if state.lease.is_overdrawn() {
            let most_ahead = limits.ahead(state.counted);
            let _ = self.update(state, limits, |view, lease| {
                let room = limits.room(view.others() + lease.held, kind);
                Some(lease.held + Amount::of(kind, most_ahead.min(room / 2)))
            });
        }
    }

    // --- Time ------------------------------------------------------------------

    /// Both clocks, and how far the wall clock may be off. Asked before and after, so
    /// that a clock that is set between the two is noticed.
    fn observe(&self) -> (Moment, Option<Duration>) {
        let before = self.check.max_error();
        let moment = self.clock.now();
        let error = before.and_then(|before| Some(before.max(self.check.max_error()?)));
        (moment, error)
    }

    /// Moves on to this moment. False: the device's own time was interrupted.
    fn advance(&self, time: &mut Timeline, witness: Option<&Witness>) -> bool {
        let (moment, error) = self.observe();
        let unbroken = time.advance(self.clock.boot_id(), moment.since_boot);
        if let Some(error) = error {
            let error_ms = u64::try_from(error.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
            time.learn(
                TrueTime::floor(moment.wall).earlier(error_ms),
                TrueTime::ceil(moment.wall).later(error_ms),
            );
        } else if let Some(witness) = witness
            && witness.boot == self.clock.boot_id()
            && let Some(ago) = moment.since_boot.checked_sub(witness.since_boot)
        {
            time.learn_late(witness.not_before, witness.not_after, ago);
        }
        unbroken
    }

    /// What is known of this moment, without a look at the disk.
    fn stamp(&self, state: &State) -> Option<Now> {
        let mut time = state.known.as_ref()?.time.clone();
        self.advance(&mut time, state.witness.as_ref());
        Some(time.now())
    }

    /// Takes a server's date as a witness. False: it does not agree with the wall clock.
    pub(crate) fn note_server_date(&self, date: Timestamp) -> bool {
        let moment = self.clock.now();
        let (early, late) = (moment.wall.min(date), moment.wall.max(date));
        if late.since(early) > AGREES_WITHIN {
            return false;
        }
        self.lock().witness = Some(Witness {
            boot: self.clock.boot_id().to_owned(),
            since_boot: moment.since_boot,
            not_before: TrueTime::floor(early),
            not_after: TrueTime::ceil(late).later(whole_ms(DATE_TRAVELS)),
        });
        true
    }

    // --- The files -------------------------------------------------------------

    /// Reads the files and brings them up to this moment. Nothing is written.
    fn view(&self, state: &State, limits: Limits) -> Result<View, Trouble> {
        let loaded = self.files.load()?;
        let (mut usage, mut is_due) = self.newest(&loaded, state);
        let was_lost = loaded.was_lost && state.known.is_none();
        let written = usage.time.clone();
        is_due |= !self.advance(&mut usage.time, state.witness.as_ref());
        let now = usage.time.now();
        if was_lost {
            tracing::error!(files = ?self.files, "the usage file is damaged: all of the data cap counts as used");
            usage.exhaust(limits, &now, self.refill());
        }
        let own = state.lease.held + state.lease.ahead();
        if let Some(slot) = &state.slot {
            if state.slot_is_new {
                usage.close_lease(slot.number, &now, self.refill());
            }
            usage.set_lease(slot.number, own);
        }
        self.count_what_is_unwritten(&mut usage, &state.lease, &now);
        is_due |= !usage.taken().is_zero() && is_news(&written, &usage, state.witness.is_some());
        Ok(View { usage, now, own, is_due, loaded })
    }

    /// What the files hold, or what this process knows where that is newer. True: it
    /// should be written.
    fn newest(&self, loaded: &Loaded, state: &State) -> (Usage, bool) {
        match &state.known {
            Some(known) if known.generation > loaded.usage.generation => {
                tracing::warn!(files = ?self.files, "the usage file went back in time: it is written anew");
                (known.clone(), true)
            }
            _ => (loaded.usage.clone(), !loaded.is_whole),
        }
    }

    fn count_what_is_unwritten(&self, usage: &mut Usage, lease: &Lease, now: &Now) {
        usage.counted.merge(&lease.spent, self.refill());
        usage.counted.count(lease.unstamped, now, self.refill());
        usage.counted.forget(now, self.refill());
    }

    /// The view of this moment, written down if that is due and can be done.
    fn look(&self, state: &mut State, limits: Limits) -> Result<View, Trouble> {
        match self.view(state, limits) {
            Ok(view) if view.is_due => {
                Ok(self.update(state, limits, |_, _| None).map_or(view, |(view, _)| view))
            }
            Ok(view) => Ok(view),
            Err(trouble) => Err(complain(state, trouble)),
        }
    }

    /// Changes the lease to what `choose` says, durably, together with all that is
    /// known. Where that is nothing, only what is due is written. Tells whether the
    /// lease was changed.
    fn update(
        &self,
        state: &mut State,
        limits: Limits,
        choose: impl FnOnce(&View, &Lease) -> Option<Amount>,
    ) -> Result<(View, bool), Trouble> {
        match self.try_update(state, limits, choose) {
            Ok(updated) => {
                if state.trouble.take().is_some() {
                    tracing::info!(files = ?self.files, "the data cap can be counted again");
                }
                Ok(updated)
            }
            Err(trouble) => Err(complain(state, trouble)),
        }
    }

    fn try_update(
        &self,
        state: &mut State,
        limits: Limits,
        choose: impl FnOnce(&View, &Lease) -> Option<Amount>,
    ) -> Result<(View, bool), Trouble> {
        let locked = self.files.lock()?;
        let number = self.slot_number(state, &locked)?;
        let mut view = self.view(state, limits)?;
        self.close_leases_of_the_dead(&mut view, number, &locked);
        let chosen = choose(&view, &state.lease);
        if chosen.is_some() || view.is_due {
            let lease = chosen.unwrap_or(view.own);
            view.usage.generation = view.usage.generation.saturating_add(1);
            view.usage.set_lease(number, lease);
            view.own = lease;
            self.files.store(&view.usage, &view.loaded, &locked)?;
            state.written(&view.usage, lease);
        }
        Ok((view, chosen.is_some()))
    }

    fn slot_number(&self, state: &mut State, locked: &Locked) -> Result<SlotNumber, Trouble> {
        if let Some(slot) = &state.slot {
            return Ok(slot.number);
        }
        let slot = self.files.take_slot(locked)?;
        let number = slot.number;
        (state.slot, state.slot_is_new) = (Some(slot), true);
        Ok(number)
    }

    /// A process that died may have used all that it had taken.
    fn close_leases_of_the_dead(&self, view: &mut View, own: SlotNumber, locked: &Locked) {
        let others: Vec<SlotNumber> =
            view.usage.leases.keys().copied().filter(|number| *number != own).collect();
        for number in others {
            if self.files.is_gone(number, locked) {
                view.usage.close_lease(number, &view.now, self.refill());
                view.is_due = true;
            }
        }
    }

    // --- Keeping and telling -----------------------------------------------------

    /// Gives back what is not needed, and writes down what is due.
    pub(crate) fn maintain(&self) {
        let Some(limits) = self.limits else { return };
        let mut state = self.lock();
        let idle = self.clock.now().since_boot.saturating_sub(state.last_use);
        if idle >= IDLE && state.lease.is_unsettled() {
            let _ = self.update(&mut state, limits, |_, lease| Some(lease.held));
        } else {
            let _ = self.look(&mut state, limits);
        }
    }

    pub(crate) fn status(&self) -> BandwidthStatus {
        let mut state = self.lock();
        let mut status = BandwidthStatus {
            held_bytes: state.lease.held.total(),
            used_bytes: state.counted,
            rate_limit_kbps: self.options.rate_limit_kbps,
            clock_is_known: self.check.max_error().is_some(),
            ..BandwidthStatus::default()
        };
        let Some(limits) = self.limits else { return status };
        status.limit_bytes = Some(limits.limit);
        status.reserve_bytes = limits.reserve;
        let view = self.look(&mut state, limits);
        status.trouble = state.trouble.as_ref().map(ToString::to_string);
        let taken = match &view {
            Ok(view) => view.others() + state.lease.held,
            Err(_) => Amount { normal: limits.limit, critical: 0 },
        };
        status.left_bytes = Some(limits.room(taken, Criticality::Normal));
        status.left_critical_bytes = Some(limits.room(taken, Criticality::Critical));
        if let Ok(view) = view {
            status.used_bytes = taken.total();
            status.clock_is_known = view.now.is_known();
            self.tell_next_refill(&mut status, &view);
        }
        status
    }

    fn tell_next_refill(&self, status: &mut BandwidthStatus, view: &View) {
        let known = view.now.not_before.filter(|_| view.now.is_known());
        let wait = match known {
            Some(now) => {
                let next = self.refill().next_after(now);
                status.next_refill_at = Some(next.timestamp());
                Some(next.since(now))
            }
            None => view.usage.counted.enough_in(&view.now, self.refill(), |_| true),
        };
        status.next_refill_in = wait.map(Duration::from_millis);
    }
}

impl State {
    /// Takes note of what stands on disk now.
    fn written(&mut self, usage: &Usage, lease: Amount) {
        self.lease.granted = lease;
        self.lease.spent.clear();
        self.lease.unstamped = Amount::default();
        self.known = Some(usage.clone());
        self.slot_is_new = false;
    }
}

impl Drop for Shared {
    /// Gives back what was taken ahead.
    fn drop(&mut self) {
        let Some(limits) = self.limits else { return };
        let mut state = self.lock();
        if state.lease.is_unsettled() {
            let _ = self.update(&mut state, limits, |_, lease| Some(lease.held));
        }
    }
}

fn check_fits(limits: Limits, bytes: u64, kind: Criticality) -> Result<(), Denied> {
    let most = limits.most(kind);
    if bytes <= most {
        return Ok(());
    }
    let fits_as = Some(Criticality::Critical).filter(|kind| bytes <= limits.most(*kind));
    Err(Denied::NeverFits { most, fits_as })
}

/// Whether the device's own time has moved on so far that it is worth a write. While the
/// true time is known it is not needed.
fn is_news(written: &Timeline, usage: &Usage, has_witness: bool) -> bool {
    if usage.time.now().is_known() {
        // Others can use what a server's date told this process.
        has_witness && !written.now().is_known()
    } else {
        usage.time.is_stamp_due(written)
    }
}

/// Remembers a trouble, and says so the first time.
fn complain(state: &mut State, trouble: Trouble) -> Trouble {
    if state.trouble.as_ref() != Some(&trouble) {
        tracing::error!(%trouble, "the data cap cannot be counted: nothing that it limits is sent");
    }
    state.trouble = Some(trouble.clone());
    trouble
}
