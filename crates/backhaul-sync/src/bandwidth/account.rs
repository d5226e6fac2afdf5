//! The device's usage, as one process sees and changes it.
//!
//! # Rules
//! - What is counted on disk never falls behind what was sent: a process uses nothing but
//!   its lease, and the disk counts all of that.
//! - Whoever wants more than its lease holds changes the files, under their lock.
//! - The wall clock is never looked at but where it is known to be right.

use std::time::Duration;

use super::amount::Amount;
use super::lease::Lease;
use super::limits::Limits;
use super::moment::Now;
use super::refill::Refill;
use super::time_source::{TimeSource, Witness};
use super::timeline::Timeline;
use super::trouble::Trouble;
use super::usage::{SlotNumber, Usage};
use super::usage_files::{Loaded, Locked, Slot, UsageFiles};

/// Where the usage stands, and by what rules it is counted.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) limits: Limits,
    pub(crate) refill: Refill,
    pub(crate) files: UsageFiles,
    pub(crate) time: TimeSource,
}

/// What this process has taken, and what it knows.
#[derive(Debug, Default)]
pub(crate) struct Process {
    /// A forked child has the parent's memory, and nothing of its budget.
    pub(crate) id: u32,
    pub(crate) lease: Lease,
    /// Bytes that it has counted.
    pub(crate) counted: u64,
    /// When it last did, as time since boot.
    pub(crate) last_use: Duration,
    /// What a server's date said.
    pub(crate) witness: Option<Witness>,
    /// Why nothing can be counted.
    pub(crate) trouble: Option<Trouble>,
    slot: Option<Slot>,
    /// A lease that stands under the slot's number is of a process that is gone.
    slot_is_new: bool,
    /// The files as this process last wrote them.
    known: Option<Usage>,
}

/// The files, brought up to this moment, with what this process knows better.
pub(crate) struct View {
    pub(crate) usage: Usage,
    pub(crate) now: Now,
    /// What this process holds and has taken ahead, as it stands in `usage`.
    own: Amount,
    /// It should be written down though nothing is taken.
    is_due: bool,
    loaded: Loaded,
}

impl View {
    /// What is counted, and what the other processes have taken.
    pub(crate) fn others(&self) -> Amount {
        self.usage.taken() - self.own
    }
}

impl Account {
    /// What is known of this moment, without a look at the disk. `None`: the device's own
    /// time was not read yet.
    pub(crate) fn stamp(&self, process: &Process) -> Option<Now> {
        let mut time = process.known.as_ref()?.time.clone();
        self.time.advance(&mut time, process.witness.as_ref());
        Some(time.now())
    }

    /// Reads the files and brings them up to this moment. Nothing is written.
    fn view(&self, process: &Process) -> Result<View, Trouble> {
        let loaded = self.files.load()?;
        let (mut usage, mut is_due) = self.newest(&loaded, process);
        let was_lost = loaded.was_lost && process.known.is_none();
        let written = usage.time.clone();
        is_due |= !self.time.advance(&mut usage.time, process.witness.as_ref());
        let now = usage.time.now();
        if was_lost {
            tracing::error!(files = ?self.files, "the usage file is damaged: all of the data cap counts as used");
            usage.exhaust(self.limits, &now, self.refill);
        }
        let own = process.lease.held + process.lease.ahead();
        if let Some(slot) = &process.slot {
            if process.slot_is_new {
                usage.close_lease(slot.number, &now, self.refill);
            }
            usage.set_lease(slot.number, own);
        }
        self.count_what_is_unwritten(&mut usage, &process.lease, &now);
        // What the disk refused is tried again.
        is_due |= process.trouble.is_some() || process.lease.is_overdrawn();
        is_due |= !usage.taken().is_zero() && is_news(&written, &usage, process.witness.is_some());
        Ok(View { usage, now, own, is_due, loaded })
    }

    /// What the files hold, or what this process knows where that is newer. True: it
    /// should be written.
    fn newest(&self, loaded: &Loaded, process: &Process) -> (Usage, bool) {
        match &process.known {
            Some(known) if known.generation > loaded.usage.generation => {
                tracing::warn!(files = ?self.files, "the usage file went back in time: it is written anew");
                (known.clone(), true)
            }
            _ => (loaded.usage.clone(), !loaded.is_whole),
        }
    }

    fn count_what_is_unwritten(&self, usage: &mut Usage, lease: &Lease, now: &Now) {
        usage.counted.merge(&lease.spent, self.refill);
        usage.counted.count(lease.unstamped, now, self.refill);
        usage.counted.forget(now, self.refill);
    }

    /// The view of this moment, written down if that is due and can be done.
    pub(crate) fn look(&self, process: &mut Process) -> Result<View, Trouble> {
        match self.view(process) {
            Ok(view) if view.is_due => {
                Ok(self.update(process, |_, _| None).map_or(view, |(view, _)| view))
            }
            Ok(view) => Ok(view),
            Err(trouble) => Err(complain(process, trouble)),
        }
    }

    /// Changes the lease to what `choose` says, durably, together with all that is
    /// known. Where that is nothing, only what is due is written. Tells whether the
    /// lease was changed.
    pub(crate) fn update(
        &self,
        process: &mut Process,
        choose: impl FnOnce(&View, &Lease) -> Option<Amount>,
    ) -> Result<(View, bool), Trouble> {
        match self.try_update(process, choose) {
            Ok(updated) => {
                if process.trouble.take().is_some() {
                    tracing::info!(files = ?self.files, "the data cap can be counted again");
                }
                Ok(updated)
            }
            Err(trouble) => Err(complain(process, trouble)),
        }
    }

    fn try_update(
        &self,
        process: &mut Process,
        choose: impl FnOnce(&View, &Lease) -> Option<Amount>,
    ) -> Result<(View, bool), Trouble> {
        let locked = self.files.lock()?;
        let number = self.slot_number(process, &locked)?;
        let mut view = self.view(process)?;
        self.close_leases_of_the_dead(&mut view, number, &locked);
        let chosen = choose(&view, &process.lease);
        if chosen.is_some() || view.is_due {
            let lease = chosen.unwrap_or(view.own);
            view.usage.generation = view.usage.generation.saturating_add(1);
            view.usage.set_lease(number, lease);
            view.own = lease;
            self.files.store(&view.usage, &view.loaded, &locked)?;
            process.written(&view.usage, lease);
        }
        Ok((view, chosen.is_some()))
    }

    fn slot_number(&self, process: &mut Process, locked: &Locked) -> Result<SlotNumber, Trouble> {
        if let Some(slot) = &process.slot {
            return Ok(slot.number);
        }
        let slot = self.files.take_slot(locked)?;
        let number = slot.number;
        (process.slot, process.slot_is_new) = (Some(slot), true);
        Ok(number)
    }

    /// A process that died may have used all that it had taken.
    fn close_leases_of_the_dead(&self, view: &mut View, own: SlotNumber, locked: &Locked) {
        let others: Vec<SlotNumber> =
            view.usage.leases.keys().copied().filter(|number| *number != own).collect();
        for number in others {
            if self.files.is_gone(number, locked) {
                view.usage.close_lease(number, &view.now, self.refill);
                view.is_due = true;
            }
        }
    }
}

impl Process {
    /// A process that has nothing yet.
    pub(crate) fn new(id: u32) -> Self {
        Self { id, ..Self::default() }
    }

    /// Takes note of what stands on disk now.
    fn written(&mut self, usage: &Usage, lease: Amount) {
        self.lease.granted = lease;
        self.lease.spent.clear();
        self.lease.unstamped = Amount::default();
        self.known = Some(usage.clone());
        self.slot_is_new = false;
    }
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
fn complain(process: &mut Process, trouble: Trouble) -> Trouble {
    if process.trouble.as_ref() != Some(&trouble) {
        tracing::error!(%trouble, "the data cap cannot be counted: nothing that it limits is sent");
    }
    process.trouble = Some(trouble.clone());
    trouble
}
