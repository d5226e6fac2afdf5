//! A disk that fails when it is told to.

use std::io;
use std::path::{Path, PathBuf};

use backhaul_store::{Disk, DiskFile, Entry, Open, Space, Timestamp};

use crate::errno::error;
use crate::faults::{Call, Faults};
use crate::sim_file::with_failing_flush;

/// Any disk, with faults. Without rules it passes every call on.
///
/// A call that fails does nothing to the disk below, with two exceptions. A
/// short write has written half of its data. A failed flush behaves as on Linux
/// when the disk below is a [`SimDisk`](crate::SimDisk): what was unflushed stays
/// readable but counts as clean, so a later flush that succeeds does not save it, and
/// other handles that are open hear of it once
/// ([`SimDisk::fail_flush_of`](crate::SimDisk::fail_flush_of)); with any other
/// disk below the flush takes place and its answer is replaced. A failed
/// directory sync leaves the names unsynced, and a later sync saves them.
#[derive(Debug, Clone)]
pub struct FaultyDisk<D> {
    disk: D,
    faults: Faults,
}

impl<D: Disk> FaultyDisk<D> {
    /// Wraps `disk`. Keep a clone of `faults` (or ask [`FaultyDisk::faults`]) to
    /// add rules and to read the counts.
    pub fn new(disk: D, faults: Faults) -> Self {
        Self { disk, faults }
    }

    /// The rules and counts.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The disk below.
    pub fn inner(&self) -> &D {
        &self.disk
    }
}

fn check(faults: &Faults, call: Call, paths: &[&Path]) -> io::Result<()> {
    faults.decide(call, paths).map_or(Ok(()), |failure| Err(error(failure.errno)))
}

impl<D: Disk> Disk for FaultyDisk<D> {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        check(&self.faults, Call::CreateDir, &[path])?;
        self.disk.create_dir_all(path)
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let call = match how {
            Open::Read | Open::Write => Call::Open,
            Open::Create | Open::CreateNew => Call::Create,
        };
        check(&self.faults, call, &[path])?;
        let file = self.disk.open(path, how)?;
        Ok(Box::new(FaultyFile { file, faults: self.faults.clone(), path: path.to_owned() }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        check(&self.faults, Call::List, &[path])?;
        self.disk.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        check(&self.faults, Call::Rename, &[from, to])?;
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        check(&self.faults, Call::Remove, &[path])?;
        self.disk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        check(&self.faults, Call::SyncDir, &[path])?;
        self.disk.sync_dir(path)
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        check(&self.faults, Call::SyncAll, &[path])?;
        self.disk.sync_all(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        check(&self.faults, Call::Space, &[path])?;
        self.disk.space(path)
    }

    fn modified(&self, path: &Path) -> io::Result<Timestamp> {
        check(&self.faults, Call::Open, &[path])?;
        self.disk.modified(path)
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn DiskFile>,
    faults: Faults,
    path: PathBuf,
}

impl FaultyFile {
    fn check(&self, call: Call) -> io::Result<()> {
        check(&self.faults, call, &[&self.path])
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.check(Call::Read)?;
        self.file.read_at(buffer, offset)
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let Some(failure) = self.faults.decide(Call::Write, &[&self.path]) else {
            return self.file.write_all_at(data, offset);
        };
        if failure.short {
            self.file.write_all_at(&data[..data.len() / 2], offset)?;
        }
        Err(error(failure.errno))
    }

    fn len(&self) -> io::Result<u64> {
        self.check(Call::Len)?;
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check(Call::SetLen)?;
        self.file.set_len(len)
    }

    fn flush(&self) -> io::Result<()> {
        let Some(failure) = self.faults.decide(Call::Flush, &[&self.path]) else {
            return self.file.flush();
        };
        // Whatever the disk below says, the caller hears the fault.
        let _ = with_failing_flush(|| self.file.flush());
        Err(error(failure.errno))
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.check(Call::Lock)?;
        self.file.try_lock()
    }

    fn try_lock_shared(&self) -> io::Result<bool> {
        self.check(Call::Lock)?;
        self.file.try_lock_shared()
    }
}

#[cfg(test)]
mod tests;
