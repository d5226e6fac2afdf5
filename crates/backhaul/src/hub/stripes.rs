//! Locks by name, in bounded memory: requests about one source or one key follow
//! each other, all others pass.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// More than requests at work, so that two seldom meet by chance.
const COUNT: u64 = 1024;

/// A fixed number of locks; a name's lock is its hash's remainder.
#[derive(Debug)]
pub(crate) struct Stripes(Vec<Mutex<()>>);

impl Stripes {
    pub(crate) fn new() -> Self {
        Self((0..COUNT).map(|_| Mutex::new(())).collect())
    }

    /// Locks all of the names at once. Always in the same order, so that no two
    /// callers wait for each other.
    pub(crate) fn lock(&self, hashes: impl IntoIterator<Item = u64>) -> Vec<MutexGuard<'_, ()>> {
        let indices: BTreeSet<u64> = hashes.into_iter().map(|hash| hash % COUNT).collect();
        indices
            .into_iter()
            .filter_map(|index| self.0.get(usize::try_from(index).ok()?))
            .map(|stripe| stripe.lock().unwrap_or_else(PoisonError::into_inner))
            .collect()
    }
}
