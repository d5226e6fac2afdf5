//! Keeps the spool's segments on the disk until the hub remembers durably what is in
//! them.
//!
//! A delivered segment may be removed when room is needed, seconds after its records
//! came. What was seen is made durable every few seconds, and what came since is read
//! from the spool after a crash. Without more, a record that was removed in between
//! would be new when its sender, who lost the answer, sends it again.
//!
//! Before a closed segment is removed, the next one of its chain has been named. So from
//! when a segment is named until the next snapshot none is removed, and the hub makes
//! that snapshot at once: one more for each segment. A snapshot for each delivered batch
//! would do as well, but writes 60 KB each time.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

use backhaul_store::{Disk, DiskFile, Entry, Open, Space};

/// What the names of segments end with (docs/format.md).
const SEGMENT: &str = ".jsonl.gz";

/// The disk of a hub's spool.
#[derive(Debug)]
pub(crate) struct KeepingDisk {
    disk: Arc<dyn Disk>,
    /// The spool's folder.
    folder: PathBuf,
    gate: Arc<Gate>,
}

/// Whether segments may be removed.
#[derive(Debug)]
pub(crate) struct Gate {
    is_open: AtomicBool,
    /// Somebody wanted to remove one, and could not.
    is_wanted: AtomicBool,
    is_disabled: AtomicBool,
    /// The thread that opens the spool: what it removes is no segment of it.
    opener: Mutex<Option<ThreadId>>,
}

impl KeepingDisk {
    /// Makes a disk that removes no segments until its gate is opened. The thread that
    /// calls this opens the spool.
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: PathBuf) -> (Self, Arc<Gate>) {
        let gate = Arc::new(Gate {
            is_open: AtomicBool::new(false),
            is_wanted: AtomicBool::new(false),
            is_disabled: AtomicBool::new(false),
            opener: Mutex::new(Some(std::thread::current().id())),
        });
        (Self { disk, folder, gate: Arc::clone(&gate) }, gate)
    }

    fn is_segment(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        path.parent() == Some(&self.folder) && name.is_some_and(|name| name.ends_with(SEGMENT))
    }
}

impl Gate {
    /// The spool is open.
    pub(crate) fn end_opening(&self) {
        *self.opener.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A test-only seam: from now on everything may go.
    pub(crate) fn disable(&self) {
        self.is_disabled.store(true, Ordering::Relaxed);
    }

    /// All that was stored is remembered durably, and nothing is being stored.
    pub(crate) fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire) || self.is_disabled.load(Ordering::Relaxed)
    }

    /// Whether it was in somebody's way since this was asked last.
    pub(crate) fn take_wanted(&self) -> bool {
        self.is_wanted.swap(false, Ordering::Relaxed)
    }

    fn let_pass(&self) -> io::Result<()> {
        let opener = *self.opener.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_open() || opener == Some(std::thread::current().id()) {
            return Ok(());
        }
        self.is_wanted.store(true, Ordering::Relaxed);
        Err(io::Error::new(io::ErrorKind::ResourceBusy, NotYet))
    }
}

/// Why a segment stays.
#[derive(Debug)]
struct NotYet;

impl fmt::Display for NotYet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the hub is about to save what it has seen, and the segment is kept until then")
    }
}

impl std::error::Error for NotYet {}

impl Disk for KeepingDisk {
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        // A sealed segment takes the place of itself, and a delivered one changes its name.
        let is_new = self.is_segment(to) && !self.is_segment(from);
        if is_new && self.disk.open(to, Open::Read).is_err() {
            self.gate.is_open.store(false, Ordering::Release);
        }
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if self.is_segment(path) {
            self.gate.let_pass()?;
        }
        self.disk.remove(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(path, how)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }
}

#[cfg(test)]
mod tests {
    use backhaul_testkit::SimDisk;

    use super::*;

    #[test]
    fn segments_stay_from_when_a_new_one_is_named_until_the_gate_is_opened() {
        let disk = SimDisk::new();
        for path in ["a.jsonl.gz", "b.jsonl.gz", "state/new.tmp", "state/seal.tmp", "state/x.tmp"] {
            disk.write_file(Path::new("/d").join(path), b"").unwrap();
        }
        let (disk, gate) = KeepingDisk::new(Arc::new(disk), PathBuf::from("/d"));
        // The thread that opens the spool sets aside what is no segment; others wait.
        let remove = |path: &str| disk.remove(Path::new(path));
        std::thread::scope(|scope| {
            let other = scope.spawn(|| remove("/d/a.jsonl.gz").unwrap_err().kind());
            assert_eq!(other.join().unwrap(), io::ErrorKind::ResourceBusy);
        });
        remove("/d/a.jsonl.gz").unwrap();
        gate.end_opening();
        assert!(remove("/d/b.jsonl.gz").is_err() && gate.take_wanted() && !gate.take_wanted());
        remove("/d/state/x.tmp").unwrap();
        gate.open();
        let rename = |from: &str, to: &str| disk.rename(Path::new(from), Path::new(to)).unwrap();
        rename("/d/state/seal.tmp", "/d/b.jsonl.gz");
        rename("/d/b.jsonl.gz", "/d/b.synced.jsonl.gz");
        assert!(gate.is_open());
        rename("/d/state/new.tmp", "/d/c.jsonl.gz");
        assert!(remove("/d/b.synced.jsonl.gz").is_err());
        gate.open();
        remove("/d/b.synced.jsonl.gz").unwrap();
        assert!(gate.take_wanted());
    }
}
