//! What the clones of one manager share.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backhaul_store::{Clock, Disk, Timestamp};

use super::account::{Account, Process, View};
use super::amount::{Amount, Criticality};
use super::clock_check::ClockCheck;
use super::denied::Denied;
use super::limits::Limits;
use super::options::BandwidthOptions;
use super::status::BandwidthStatus;
use super::time_source::TimeSource;
use super::usage_files::UsageFiles;

/// A process that has counted nothing for so long gives back what it took ahead.
const IDLE: Duration = Duration::from_secs(5 * 60);

pub(crate) struct Shared {
    options: BandwidthOptions,
    dir: PathBuf,
    budget: Budget,
    process: Mutex<Process>,
}

/// With a cap there is an account to keep.
enum Budget {
    Unlimited(TimeSource),
    Limited(Account),
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BandwidthManager")
            .field("dir", &self.dir)
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
        let time = TimeSource::new(clock, check);
        let budget = match options.limits() {
            None => Budget::Unlimited(time),
            Some(limits) => Budget::Limited(Account {
                limits,
                refill: options.refill,
                files: UsageFiles::new(dir.clone(), disk),
                time,
            }),
        };
        Self { options, dir, budget, process: Mutex::default() }
    }

    fn account(&self) -> Option<&Account> {
        match &self.budget {
            Budget::Unlimited(_) => None,
            Budget::Limited(account) => Some(account),
        }
    }

    fn time(&self) -> &TimeSource {
        match &self.budget {
            Budget::Unlimited(time) => time,
            Budget::Limited(account) => &account.time,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Process> {
        // No call leaves the process half changed, so that a panic elsewhere does it no harm.
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let id = std::process::id();
        if process.id != id {
            *process = Process::new(id);
        }
        process
    }

    /// Sets bytes aside for traffic that is about to begin.
    pub(crate) fn reserve(&self, bytes: u64, kind: Criticality) -> Result<(), Denied> {
        let mut process = self.lock();
        if let Some(account) = self.account() {
            check_fits(account.limits, bytes, kind)?;
            if process.lease.ahead().get(kind) < bytes {
                extend(account, &mut process, bytes, kind)?;
            }
        }
        process.lease.hold(kind, bytes);
        process.last_use = self.time().since_boot();
        Ok(())
    }

    /// Whether a reservation would succeed now.
    pub(crate) fn can_send(&self, bytes: u64, kind: Criticality) -> bool {
        let Some(account) = self.account() else { return true };
        let mut process = self.lock();
        if check_fits(account.limits, bytes, kind).is_err() {
            return false;
        }
        if process.lease.ahead().get(kind) >= bytes {
            return true;
        }
        let view = account.look(&mut process);
        view.is_ok_and(|view| {
            account.limits.room(view.others() + process.lease.held, kind) >= bytes
        })
    }

    /// Counts bytes of a reservation, which holds so much less from now on.
    pub(crate) fn count_held(&self, kind: Criticality, released: u64, bytes: u64) {
        let mut process = self.lock();
        process.lease.release(kind, released);
        self.count_in(&mut process, kind, bytes);
    }

    /// Counts bytes that nobody reserved.
    pub(crate) fn count(&self, kind: Criticality, bytes: u64) {
        self.count_in(&mut self.lock(), kind, bytes);
    }

    fn count_in(&self, process: &mut Process, kind: Criticality, bytes: u64) {
        process.counted = process.counted.saturating_add(bytes);
        process.last_use = self.time().since_boot();
        let Some(account) = self.account() else { return };
        let amount = Amount::of(kind, bytes);
        match account.stamp(process) {
            Some(now) => process.lease.spent.count(amount, &now, account.refill),
            None => process.lease.unstamped += amount,
        }
        if process.lease.is_overdrawn() {
            let most_ahead = account.limits.ahead(process.counted);
            // What the disk refuses is counted in memory, and written with the next update.
            let _ = account.update(process, |view, lease| {
                let room = account.limits.room(view.others() + lease.held, kind);
                Some(lease.held + Amount::of(kind, most_ahead.min(room / 2)))
            });
        }
    }

    /// Takes a server's date as a witness. False: it does not agree with the wall clock.
    pub(crate) fn note_server_date(&self, date: Timestamp) -> bool {
        let witness = self.time().witness(date);
        let agrees = witness.is_some();
        if agrees {
            self.lock().witness = witness;
        }
        agrees
    }

    /// Gives back what is not needed, and writes down what is due.
    pub(crate) fn maintain(&self) {
        let Some(account) = self.account() else { return };
        let mut process = self.lock();
        let idle = account.time.since_boot().saturating_sub(process.last_use);
        if idle >= IDLE && process.lease.is_unsettled() {
            give_back(account, &mut process);
        } else {
            let _ = account.look(&mut process);
        }
    }

    pub(crate) fn bytes_per_second(&self) -> Option<u64> {
        self.options.bytes_per_second()
    }

    pub(crate) fn status(&self) -> BandwidthStatus {
        let mut process = self.lock();
        let mut status = BandwidthStatus {
            held_bytes: process.lease.held.total(),
            used_bytes: process.counted,
            rate_limit_kbps: self.options.rate_limit_kbps,
            clock_is_known: self.time().is_synchronised(),
            ..BandwidthStatus::default()
        };
        let Some(account) = self.account() else { return status };
        let limits = account.limits;
        let view = account.look(&mut process);
        let taken = match &view {
            Ok(view) => view.others() + process.lease.held,
            Err(_) => Amount { normal: limits.limit, critical: 0 },
        };
        status.limit_bytes = Some(limits.limit);
        status.reserve_bytes = limits.reserve;
        status.left_bytes = Some(limits.room(taken, Criticality::Normal));
        status.left_critical_bytes = Some(limits.room(taken, Criticality::Critical));
        status.trouble = process.trouble.as_ref().map(ToString::to_string);
        if let Ok(view) = view {
            status.used_bytes = taken.total();
            status.clock_is_known = view.now.is_known();
            tell_next_refill(account, &view, &mut status);
        }
        status
    }
}

impl Drop for Shared {
    /// Gives back what was taken ahead.
    fn drop(&mut self) {
        let Some(account) = self.account() else { return };
        let mut process = self.lock();
        if process.lease.is_unsettled() {
            give_back(account, &mut process);
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

/// Takes a further piece of the allowance.
fn extend(
    account: &Account,
    process: &mut Process,
    bytes: u64,
    kind: Criticality,
) -> Result<(), Denied> {
    let limits = account.limits;
    let most_ahead = limits.ahead(process.counted);
    let updated = account.update(process, |view, lease| {
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
        Ok((view, false)) => Err(denied(account, process, &view, bytes, kind)),
        Err(trouble) => Err(Denied::Storage { reason: trouble.0 }),
    }
}

fn denied(
    account: &Account,
    process: &Process,
    view: &View,
    bytes: u64,
    kind: Criticality,
) -> Denied {
    let limits = account.limits;
    let taken = view.others() + process.lease.held;
    let leased = taken - view.usage.counted.total();
    let wait = view
        .usage
        .counted
        .enough_in(&view.now, account.refill, |left| limits.room(left + leased, kind) >= bytes);
    let (left, refill_in) = (limits.room(taken, kind), wait.map(Duration::from_millis));
    if kind == Criticality::Normal && limits.room(taken, Criticality::Critical) >= bytes {
        Denied::Reserve { left, refill_in }
    } else {
        Denied::Cap { left, refill_in }
    }
}

/// Keeps nothing but what open reservations hold. What the disk refuses stays taken.
fn give_back(account: &Account, process: &mut Process) {
    let _ = account.update(process, |_, lease| Some(lease.held));
}

fn tell_next_refill(account: &Account, view: &View, status: &mut BandwidthStatus) {
    let known = view.now.not_before.filter(|_| view.now.is_known());
    let wait = match known {
        Some(now) => {
            let next = account.refill.next_after(now);
            status.next_refill_at = Some(next.timestamp());
            Some(next.since(now))
        }
        None => view.usage.counted.enough_in(&view.now, account.refill, |_| true),
    };
    status.next_refill_in = wait.map(Duration::from_millis);
}
