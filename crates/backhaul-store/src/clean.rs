//! Removing delivered data because somebody asks for it.

use std::time::Duration;

use crate::clock::Moment;
use crate::courier::CourierState;
use crate::error::Result;
use crate::layout::{Store, Unit};
use crate::segment::Read;
use crate::spool::{Inner, Spool};

/// What [`Spool::clean`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Files that are gone: segments, or records' own.
    pub files: u64,
    /// Records whose data is gone. They stay in the books.
    pub records: u64,
    /// Bytes on disk that are free now and were not before: less where records came
    /// meanwhile, and none of a segment whose place a new one had to take.
    pub bytes: u64,
}

impl Spool {
    /// Removes delivered data that was stored longer ago than this, with the attachments
    /// that only it named. Data goes by whole files: a segment stays for as long as one of
    /// its records waits, failed or is younger. Age is that of the record, by the boot
    /// clock within its own boot and by the wall clock otherwise.
    ///
    /// What waits, what failed, and what another reader still wants
    /// ([`keep_until_released`](crate::Options::keep_until_released)) is never removed.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`](crate::ErrorKind::Busy) while another process delivers from
    /// this spool. After an I/O error some of it may be removed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use backhaul_store::{Limits, Options, Record, Settled, Spool, State};
    /// # let dir = tempfile::tempdir()?;
    /// let spool = Spool::open(dir.path(), Options::default())?;
    /// let id = spool.append(Record::new("run", b"{}".to_vec()))?;
    /// assert_eq!(spool.clean(Duration::ZERO)?.records, 0);
    /// spool.settle(&[(id.position, Settled::new(State::Delivered))])?;
    /// assert_eq!(spool.clean(Duration::from_secs(3600))?.records, 0);
    /// assert_eq!(spool.clean(Duration::ZERO)?.records, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clean(&self, older_than: Duration) -> Result<Cleaned> {
        let inner = &self.inner;
        inner.check_process()?;
        inner.check_writable()?;
        inner.look_around()?;
        let used = inner.context.quota.used();
        let now = inner.context.clock.now();
        let is_due = |unit: &Unit| inner.is_old(unit, older_than, &now);
        inner.close_delivered(&is_due);
        let (files, records) = {
            let mut courier = inner.courier();
            courier.require(inner)?;
            let due: Vec<Unit> = courier.removable_units(inner).filter(is_due).collect();
            courier.remove_units(inner, &due)?;
            (due.len() as u64, due.iter().map(|unit| unit.next - unit.first).sum())
        };
        if records > 0 {
            crate::attachments::sweep(inner)?;
        }
        Ok(Cleaned { files, records, bytes: used.saturating_sub(inner.context.quota.used()) })
    }

    /// Has the names of segments say that all of them is delivered (`.synced`), as far as it
    /// is, at once and also of one that is not full yet, which is closed. Without this they say
    /// so within some seconds, of those that are closed.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`](crate::ErrorKind::Busy) while another process delivers from
    /// this spool.
    ///
    /// ```
    /// use backhaul_store::{Options, Record, Settled, Spool, State};
    /// # let dir = tempfile::tempdir()?;
    /// let spool = Spool::open(dir.path(), Options::default())?;
    /// let id = spool.append(Record::new("run", b"{}".to_vec()))?;
    /// spool.settle(&[(id.position, Settled::new(State::Delivered))])?;
    /// spool.mark_delivered()?;
    /// let names = std::fs::read_dir(dir.path())?.map(|file| file.map(|file| file.file_name()));
    /// let names = names.collect::<Result<Vec<_>, _>>()?;
    /// assert!(names.iter().any(|name| name.to_string_lossy().ends_with(".synced.jsonl.gz")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn mark_delivered(&self) -> Result<()> {
        let inner = &self.inner;
        inner.check_process()?;
        inner.check_writable()?;
        inner.close_delivered(&|_| true);
        let mut courier = inner.courier();
        courier.require(inner)?;
        courier.flush_ledger(inner)?;
        courier.show_delivered(inner, &courier.delivered_units(inner));
        Ok(())
    }
}

impl Inner {
    /// Closes segments that are being appended to and hold nothing but delivered data.
    fn close_delivered(&self, is_due: &dyn Fn(&Unit) -> bool) {
        let Store::Segments(store) = &self.store else { return };
        let _paused = self.committer.pause();
        let courier = self.courier();
        let units = self.store.units().into_iter();
        for unit in units.filter(|unit| unit.open && courier.is_delivered(unit) && is_due(unit)) {
            store.rotate(unit.chain);
        }
    }

    /// Whether the newest record of a unit is at least as old as this. Where it cannot be
    /// read, its file is asked.
    fn is_old(&self, unit: &Unit, than: Duration, now: &Moment) -> bool {
        if than.is_zero() {
            return true;
        }
        let newest = unit.next.saturating_sub(1);
        let age = match self.store.read(unit.chain, newest, &mut None) {
            Ok(Read::Record(record)) => Some(record.stamp.age(now, self.context.clock.boot_id())),
            _ => unit.created.map(|created| now.wall.since(created)),
        };
        age.is_some_and(|age| age >= than)
    }
}

impl CourierState {
    /// Whether a unit holds records, none of which waits or is kept as failed.
    pub(crate) fn is_delivered(&self, unit: &Unit) -> bool {
        unit.first < unit.next
            && self.account(unit.chain).is_some_and(|account| {
                account.all_settled(unit.first, unit.next)
                    && !account.has_failed_in(unit.first, unit.next)
            })
    }
}
