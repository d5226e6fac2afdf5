//! The narrow door to the disk. Everything the store reads or writes goes
//! through [`Disk`], so that a test can own every byte, every flush and every
//! directory entry.
//!
//! What the store assumes of a disk is written in `docs/format.md`: a flushed
//! write survives; an unflushed one may survive whole, in part, in any order or
//! not at all, and a page that was being written when the power went may hold
//! anything; a directory entry survives once its directory was synced.

use std::fmt;
use std::io;
use std::path::Path;

use crate::clock::Timestamp;

/// A file system as the store needs it.
///
/// Paths are absolute or relative to the process, as for `std::fs`. Errors keep
/// the operating system's code, which the store classifies (full, read-only,
/// damaged).
pub trait Disk: Send + Sync + fmt::Debug {
    /// Creates a directory and its parents, owner-only (0700 where they are new).
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Opens a file. See [`Open`] for the ways.
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>>;
    /// The names in a directory, in any order. A missing directory is an error.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// Renames within one file system, replacing what stands at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name. Open handles stay usable.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory and its parents, whose names are all durable then. One that is there
    /// may be of somebody who was stopped before that: only those are left that this user may
    /// not open, and so has not made, and those of file systems that know no such thing.
    fn create_dir_durable(&self, path: &Path) -> io::Result<()> {
        self.create_dir_all(path)?;
        let is_named = |dir: &&Path| !dir.as_os_str().is_empty();
        for dir in path.ancestors().filter(is_named) {
            match self.sync_dir(dir) {
                Err(error) if !knows_no_sync(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
    /// Makes everything durable that anybody wrote to the file system that holds `path`.
    fn sync_all(&self, path: &Path) -> io::Result<()>;
    /// What is free for this user on the file system that holds `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// When a file's content was changed last, by the wall clock of then. `Unsupported` on a
    /// disk that keeps no such times.
    fn modified(&self, path: &Path) -> io::Result<Timestamp> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Whether a directory is not this user's to sync, or not to be synced at all.
fn knows_no_sync(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported)
}

/// An open file: positioned reads and writes, so that one handle serves many threads.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `data`, growing the file where needed.
    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file holds no byte.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the content and the length durable.
    fn flush(&self) -> io::Result<()>;
    /// Takes the advisory lock if nobody else has it. The lock goes with the
    /// handle, and with the process. `Ok(false)`: somebody else holds it.
    fn try_lock(&self) -> io::Result<bool>;
    /// Takes the advisory lock together with others that take it so, if nobody has it alone.
    /// A disk that knows no such locks gives it to one at a time.
    fn try_lock_shared(&self) -> io::Result<bool> {
        self.try_lock()
    }

    /// Reads exactly `len` bytes, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, len: usize, offset: u64) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; len];
        if self.read_at(&mut buffer, offset)? < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(buffer)
    }
}

/// The ways to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A file for reading and writing, made (0600) if it is not there.
    Create,
    /// A new file (0600) for reading and writing; fails with `AlreadyExists`.
    CreateNew,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, without its directory. Names that are not UTF-8 are left out
    /// of listings: the store makes none, and none can be a record.
    pub name: String,
    /// Bytes in the file; 0 for a directory.
    pub len: u64,
    /// Whether this is a directory.
    pub is_dir: bool,
}

/// Free room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Files that this user may still create; `u64::MAX` where the file system has no such limit.
    pub free_inodes: u64,
    /// The file system's size in bytes.
    pub total_bytes: u64,
}
