//! A file of lines to which steps are appended, each commit in pages of its own.
//!
//! A page that was being written when the power went may hold anything. So no page with
//! acknowledged lines is written again: a commit begins at the start of a page and is filled up
//! with newlines, which readers of JSON Lines pass over. Pages are written ahead as newlines
//! too, so that a commit changes neither the length nor the blocks of the file, and one flush
//! of its data makes it durable.

use std::io;
use std::path::Path;
use std::time::Duration;

use backhaul_store::{Disk, DiskFile, Flush, Open};

/// What a device writes whole or not at all is at most this: pages of flash and of the kernel.
const PAGE: usize = 4096;
/// Written ahead at first: a run of a few nodes takes no more than this.
const FIRST_AHEAD: usize = 8 * PAGE;
/// Written ahead at most: one flush in 256 is one of the file's length too.
const MOST_AHEAD: usize = 256 * PAGE;

/// A new journal is tried to be locked so often at most, with a pause between: one second.
const MOST_LOCKS: u32 = 1_000;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// A journal that is being written. Locked as long as it is open.
#[derive(Debug)]
pub(super) struct Journal {
    file: Box<dyn DiskFile>,
    /// Where the next commit goes: a page's start.
    end: u64,
    /// Up to here newlines stand.
    prepared: u64,
    ahead: usize,
    is_usable: bool,
}

impl Journal {
    /// Makes an empty journal.
    pub(super) fn create(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let file = disk.open(path, Open::CreateNew)?;
        lock(&*file).inspect_err(|_| _ = disk.remove(path))?;
        Ok(Self { file, end: 0, prepared: 0, ahead: FIRST_AHEAD, is_usable: true })
    }

    /// Appends lines, and waits for the disk where that is asked for. After an error the
    /// journal is not usable any more: nobody knows what of it is on disk.
    pub(super) fn append(&mut self, lines: Vec<u8>, flush: Flush) -> io::Result<()> {
        let appended = self.write(lines).and_then(|()| match flush {
            Flush::Always => self.file.flush(),
            _ => Ok(()),
        });
        self.is_usable &= appended.is_ok();
        appended
    }

    fn write(&mut self, mut lines: Vec<u8>) -> io::Result<()> {
        lines.resize(lines.len().next_multiple_of(PAGE), b'\n');
        let len = lines.len() as u64;
        if self.end + len > self.prepared {
            self.prepare(lines)?;
        } else {
            self.file.write_all_at(&lines, self.end)?;
        }
        self.end += len;
        Ok(())
    }

    pub(super) fn is_usable(&self) -> bool {
        self.is_usable
    }

    /// Bytes that were appended, padding included.
    pub(super) fn len(&self) -> u64 {
        self.end
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        self.file.flush()
    }

    /// Writes pages at the end, and newlines ahead of what comes next.
    fn prepare(&mut self, mut pages: Vec<u8>) -> io::Result<()> {
        let len = pages.len() + self.ahead;
        pages.resize(len, b'\n');
        self.file.write_all_at(&pages, self.end)?;
        self.prepared = self.end + len as u64;
        self.ahead = (self.ahead * 2).min(MOST_AHEAD);
        Ok(())
    }
}

/// Locks a file that is new. Who looks whether it is locked has it for a moment.
fn lock(file: &dyn DiskFile) -> io::Result<()> {
    for _ in 0..MOST_LOCKS {
        if file.try_lock()? {
            return Ok(());
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Err(io::Error::other("somebody else has locked the new journal"))
}

/// The lines of a journal, without the empty ones.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}
