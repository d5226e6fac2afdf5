//! One cap over several spools.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A cap on the bytes of several spools together, and of folders beside them that no spool
/// counts. Given to each of them in [`Options::shared_cap`](crate::Options::shared_cap); clones
/// are one cap. It counts what this process knows: another one has a count of its own.
///
/// ```
/// use backhaul_store::{Options, Record, SharedCap, Spool};
/// # let dir = tempfile::tempdir()?;
/// let cap = SharedCap::new(200_000);
/// let options = Options { shared_cap: Some(cap.clone()), first_extent_bytes: 4096, ..Options::default() };
/// let spools = [Spool::open(dir.path().join("a"), options.clone())?, Spool::open(dir.path().join("b"), options)?];
/// let stored = (0..100).take_while(|n| {
///     spools[n % 2].append(Record::new("text", vec![b'x'; 5_000])).is_ok()
/// });
/// assert!((10..50).contains(&stored.count()) && cap.used_bytes() <= 200_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SharedCap(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: u64,
    /// By folder, what is counted of it.
    held: Mutex<BTreeMap<PathBuf, u64>>,
}

impl SharedCap {
    /// A cap of so many bytes, under which nothing is counted yet.
    pub fn new(max_bytes: u64) -> Self {
        Self(Arc::new(Shared { max: max_bytes, held: Mutex::default() }))
    }

    /// The cap.
    pub fn max_bytes(&self) -> u64 {
        self.0.max
    }

    /// What is counted under it.
    pub fn used_bytes(&self) -> u64 {
        self.held().values().sum()
    }

    /// Says what a folder holds. An open spool says so of its own.
    pub fn set(&self, dir: &Path, bytes: u64) {
        self.held().insert(dir.to_owned(), bytes);
    }

    /// Whether something was said of this folder.
    pub fn knows(&self, dir: &Path) -> bool {
        self.held().contains_key(dir)
    }

    /// Counts `bytes` more of a folder, where that stays within the cap.
    pub(crate) fn reserve(&self, dir: &Path, bytes: u64) -> bool {
        let mut held = self.held();
        let fits = held.values().sum::<u64>().saturating_add(bytes) <= self.0.max;
        if fits {
            *held.entry(dir.to_owned()).or_default() += bytes;
        }
        fits
    }

    pub(crate) fn add(&self, dir: &Path, bytes: u64) {
        *self.held().entry(dir.to_owned()).or_default() += bytes;
    }

    pub(crate) fn release(&self, dir: &Path, bytes: u64) {
        if let Some(held) = self.held().get_mut(dir) {
            *held = held.saturating_sub(bytes);
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<PathBuf, u64>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same cap, and not one as large.
impl PartialEq for SharedCap {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
