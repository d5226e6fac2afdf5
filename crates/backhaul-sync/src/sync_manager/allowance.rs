//! What the data cap lets a sync offer.

use backhaul_store::Lane;

use crate::bandwidth::Denied;

/// Learned from what was denied in this sync: how many records fit at once, and whether
/// critical ones alone do.
#[derive(Debug)]
pub(super) struct Allowance {
    most: usize,
    only_critical: Option<Denied>,
}

impl Allowance {
    /// `only_critical`: what an earlier sync was denied, if that is still so.
    pub(super) fn new(only_critical: Option<Denied>) -> Self {
        Self { most: usize::MAX, only_critical }
    }

    /// Records to offer at once, of as many as would be otherwise.
    pub(super) fn most(&self, otherwise: usize) -> usize {
        self.most.min(otherwise)
    }

    /// The least urgent lane whose records may go.
    pub(super) fn down_to(&self) -> Lane {
        if self.only_critical.is_some() { Lane::Critical } else { Lane::Bulk }
    }

    /// Why less urgent records may not go.
    pub(super) fn denied(&self) -> Option<&Denied> {
        self.only_critical.as_ref()
    }

    /// So many records were too many.
    pub(super) fn shrink(&mut self, records: usize) {
        self.most = (records / 2).max(1);
    }

    /// As many as were offered did fit.
    pub(super) fn grow(&mut self) {
        self.most = self.most.saturating_mul(2);
    }

    pub(super) fn keep_to_critical(&mut self, denied: Denied) {
        // The next batch is of another lane, and may fit as a whole.
        *self = Self::new(Some(denied));
    }
}
