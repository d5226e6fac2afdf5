//! What every part of one open spool shares.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::clock::Clock;
use crate::disk::{Disk, DiskFile, Open};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::identity::Identity;
use crate::options::Options;
use crate::quota::Quota;

/// The folder that holds what only the store needs.
pub(crate) const STATE: &str = "state";
/// The folder for bytes that are not what they should be.
pub(crate) const QUARANTINE: &str = "quarantine";

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) identity: Identity,
    pub(crate) options: Options,
    pub(crate) quota: Quota,
    /// Nothing on disk is changed, not even mended.
    pub(crate) read_only: bool,
    /// This process is the one that delivers, so that no other acts on what it reads.
    pub(crate) delivers: AtomicBool,
}

impl Context {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.dir.join(STATE).join(name)
    }

    /// Whether another process may have delivered what stood on disk for a moment: then
    /// its sequences are not given to other records.
    pub(crate) fn may_be_seen(&self) -> bool {
        !self.delivers.load(Ordering::Relaxed)
    }

    /// Keeps other processes from choosing file names, until the guard is dropped.
    pub(crate) fn lock_names(&self) -> Result<Box<dyn DiskFile>> {
        // Held for about a millisecond at a time, by others that make a segment too.
        let busy = "another process has held this lock for two seconds";
        lock_within(&*self.disk, &self.state("names.lock"), 2_000, busy)
    }

    /// Puts bytes aside under `quarantine/`, durably, before what held them is
    /// overwritten. The same name again replaces the same bytes.
    pub(crate) fn quarantine(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let dir = self.path(QUARANTINE);
        self.disk.create_dir_all(&dir).doing("create the quarantine folder", &dir)?;
        // Another process may put the same bytes aside at this moment, in a container
        // perhaps, where its number is that of this one.
        let _names = self.lock_names()?;
        let temporary = self.state("quarantine.tmp");
        write_whole(&*self.disk, &temporary, bytes)?;
        let path = dir.join(name);
        self.disk.rename(&temporary, &path).doing("name a file in quarantine", &path)?;
        self.disk.sync_dir(&dir).doing("sync the quarantine folder", &dir)?;
        self.disk.sync_dir(&self.dir).doing("sync the spool folder", &self.dir)?;
        tracing::warn!(path = %dir.join(name).display(), bytes = bytes.len(), "bytes put in quarantine");
        Ok(())
    }
}

/// Takes the lock that a file stands for, made where it is not there. `Ok(None)`:
/// another process holds it.
pub(crate) fn try_lock(disk: &dyn Disk, path: &Path) -> Result<Option<Box<dyn DiskFile>>> {
    let file = disk.open(path, Open::Create).doing("open a lock file", path)?;
    Ok(file.try_lock().doing("take a lock", path)?.then_some(file))
}

/// Whether another process holds the lock that a file stands for. Nothing is made.
pub(crate) fn is_locked(disk: &dyn Disk, path: &Path) -> bool {
    let file = disk.open(path, Open::Write);
    file.is_ok_and(|file| !file.try_lock_shared().unwrap_or(true))
}

/// Takes a lock that others hold for moments only, trying once a millisecond.
///
/// # Errors
/// [`ErrorKind::Busy`] after so many tries, in these words.
pub(crate) fn lock_within(
    disk: &dyn Disk,
    path: &Path,
    tries: u32,
    busy: &str,
) -> Result<Box<dyn DiskFile>> {
    let file = disk.open(path, Open::Create).doing("open a lock file", path)?;
    for _ in 0..tries {
        if file.try_lock().doing("take a lock", path)? {
            return Ok(file);
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Err(Error::at(ErrorKind::Busy, path, busy))
}

/// A new file, in place of what may stand under the name. The old file is
/// unlinked and not cut: after a crash during a rename the name may still lead to
/// the very file that the rename made durable under another name.
pub(crate) fn create_anew(disk: &dyn Disk, path: &Path) -> Result<Box<dyn DiskFile>> {
    match disk.remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).doing("remove a stale file", path);
        }
        _ => {}
    }
    disk.open(path, Open::CreateNew).doing("create a file", path)
}

/// Writes a file whole and flushes it. Its name is not synced.
pub(crate) fn write_whole(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let file = create_anew(disk, path)?;
    file.write_all_at(bytes, 0).doing("write a file", path)?;
    file.flush().doing("flush a file", path)
}

/// Replaces a file so that a crash leaves either the old or the new one.
pub(crate) fn replace_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let temporary = path.with_extension("tmp");
    write_whole(disk, &temporary, bytes)?;
    disk.rename(&temporary, path).doing("replace a file", path)?;
    disk.sync_dir(parent).doing("sync a folder", parent)
}

/// Reads a whole file.
pub(crate) fn read_whole(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>> {
    let file = disk.open(path, Open::Read).doing("open a file", path)?;
    read_all(&*file).doing("read a file", path)
}

pub(crate) fn read_all(file: &dyn DiskFile) -> std::io::Result<Vec<u8>> {
    let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
