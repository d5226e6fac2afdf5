//! Room: the cap on a spool's folder, and the floor of free space on its file system.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::Disk;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_room::KeptFiles;
use crate::options::Options;
use crate::shared_cap::SharedCap;

/// Files take whole blocks; 4 KiB is what nearly all file systems use.
const BLOCK: u64 = 4096;

/// Bytes that a file of `len` bytes takes on disk.
pub(crate) fn on_disk(len: u64) -> u64 {
    len.next_multiple_of(BLOCK)
}

/// Counts what the spool's folder holds, as this process knows it. Every growth
/// is reserved before it is written, so that the cap is never passed on the way.
#[derive(Debug)]
pub(crate) struct Quota {
    used: AtomicU64,
    max: Option<u64>,
    /// A cap over several spools, and the folder that this one counts under.
    shared: Option<(SharedCap, PathBuf)>,
    pub(crate) min_free_bytes: u64,
    pub(crate) min_free_inodes: u64,
    /// What of `used` is reserved for files that others keep in the folder.
    pub(crate) kept: Mutex<KeptFiles>,
}

impl Quota {
    pub(crate) fn new(options: &Options, dir: &Path) -> Self {
        Self {
            used: AtomicU64::new(0),
            max: options.max_bytes,
            shared: options.shared_cap.clone().map(|cap| (cap, dir.to_owned())),
            min_free_bytes: options.min_free_bytes,
            min_free_inodes: options.min_free_inodes,
            kept: Mutex::default(),
        }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn max(&self) -> Option<u64> {
        self.max
    }

    /// Whether `bytes` more stay within the cap.
    pub(crate) fn fits(&self, bytes: u64) -> bool {
        let within = |used: u64, max: u64| used.saturating_add(bytes) <= max;
        self.max.is_none_or(|max| within(self.used(), max))
            && self.shared.as_ref().is_none_or(|(cap, _)| within(cap.used_bytes(), cap.max_bytes()))
    }

    /// Takes over what was found by measuring the folder.
    pub(crate) fn set_used(&self, bytes: u64) {
        self.used.store(bytes, Ordering::Relaxed);
        if let Some((cap, dir)) = &self.shared {
            cap.set(dir, bytes);
        }
    }

    /// Reserves room for `bytes` more.
    ///
    /// # Errors
    /// [`ErrorKind::Full`], saying which limit is reached; nothing is reserved then.
    pub(crate) fn reserve(&self, disk: &dyn Disk, dir: &Path, bytes: u64) -> Result<()> {
        let space = disk.space(dir).doing("ask for free space", dir)?;
        if space.free_bytes < bytes.saturating_add(self.min_free_bytes) {
            return Err(Error::at(
                ErrorKind::Full,
                dir,
                format!(
                    "the file system has {} bytes free: {bytes} more would pass the floor of {}",
                    space.free_bytes, self.min_free_bytes
                ),
            ));
        }
        if space.free_inodes < self.min_free_inodes {
            return Err(Error::at(
                ErrorKind::Full,
                dir,
                format!(
                    "the file system has {} free inodes, the floor is {}",
                    space.free_inodes, self.min_free_inodes
                ),
            ));
        }
        let max = self.max.unwrap_or(u64::MAX);
        let reserved = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|&after| after <= max)
        });
        if let Err(used) = reserved {
            return Err(Error::at(
                ErrorKind::Full,
                dir,
                format!("the spool holds {used} of at most {max} bytes: no room for {bytes} more"),
            ));
        }
        self.reserve_shared(dir, bytes).inspect_err(|_| self.release_own(bytes))
    }

    fn reserve_shared(&self, dir: &Path, bytes: u64) -> Result<()> {
        let Some((cap, counted)) = &self.shared else { return Ok(()) };
        if cap.reserve(counted, bytes) {
            return Ok(());
        }
        let (used, max) = (cap.used_bytes(), cap.max_bytes());
        Err(Error::at(
            ErrorKind::Full,
            dir,
            format!(
                "all spools together hold {used} of at most {max} bytes: no room for {bytes} more"
            ),
        ))
    }

    /// Counts what had to be written whatever the limits say: the ledger's own lines.
    pub(crate) fn add(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        if let Some((cap, dir)) = &self.shared {
            cap.add(dir, bytes);
        }
    }

    /// Gives room back.
    pub(crate) fn release(&self, bytes: u64) {
        self.release_own(bytes);
        if let Some((cap, dir)) = &self.shared {
            cap.release(dir, bytes);
        }
    }

    fn release_own(&self, bytes: u64) {
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            Some(used.saturating_sub(bytes))
        });
    }
}

/// Bytes on disk below `dir`, by walking it.
pub(crate) fn measure(disk: &dyn Disk, dir: &Path) -> Result<u64> {
    measure_others(disk, dir, &|_| false)
}

/// Bytes on disk below `dir` of all files but those that are left out.
pub(crate) fn measure_others(
    disk: &dyn Disk,
    dir: &Path,
    is_left_out: &dyn Fn(&Path) -> bool,
) -> Result<u64> {
    let mut total = 0;
    for entry in disk.list(dir).doing("list a folder", dir)? {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            total += measure_others(disk, &path, is_left_out)?;
        } else if !is_left_out(&path) {
            total += on_disk(entry.len);
        }
    }
    Ok(total)
}
