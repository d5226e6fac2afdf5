//! What one process has taken of the allowance.

use super::amount::{Amount, Criticality};
use super::spending::Spending;

/// A piece of the allowance. On disk all of it counts as used; this process knows better.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// As it stands on disk.
    pub(crate) granted: Amount,
    /// Reservations that are open.
    pub(crate) held: Amount,
    /// Counted, and not yet counted on disk but as a part of the lease.
    pub(crate) spent: Spending,
    /// The same, from before the device's own time could be read.
    pub(crate) unstamped: Amount,
}

impl Lease {
    /// Bytes that are held or spent.
    pub(crate) fn in_use(&self) -> Amount {
        self.held + self.spent.total() + self.unstamped
    }

    /// Bytes that can be reserved without a word to the disk.
    pub(crate) fn ahead(&self) -> Amount {
        self.granted - self.in_use()
    }

    /// Whether more was counted than the disk knows of.
    pub(crate) fn is_overdrawn(&self) -> bool {
        let over = self.in_use() - self.granted;
        !over.is_zero()
    }

    /// Opens a reservation.
    pub(crate) fn hold(&mut self, kind: Criticality, bytes: u64) {
        self.held += Amount::of(kind, bytes);
    }

    /// Closes a reservation, or a part of it.
    pub(crate) fn release(&mut self, kind: Criticality, bytes: u64) {
        self.held -= Amount::of(kind, bytes);
    }

    /// Whether the disk does not yet say what this process would leave behind.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.granted != self.held || !self.spent.is_empty() || !self.unstamped.is_zero()
    }
}
