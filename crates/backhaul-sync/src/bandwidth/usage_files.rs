//! The two copies of the usage file, and the locks beside them.
//!
//! # Rules
//! - An update is durable in both copies before anybody may use what it grants. The copy
//!   that is worse is written first, so that a sound one stands at every moment.
//! - A copy that is sound is written over in place: one write and one flush, no new name.
//!   One that is missing or damaged is replaced by a new file, and nothing counts as
//!   durable until the names are.
//! - Everything is written under the lock. Reading needs none: while one copy is being
//!   written the other is whole.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backhaul_store::{Disk, DiskFile, Open};

use super::trouble::{Doing as _, Trouble};
use super::usage::{Parsed, SlotNumber, Usage};

const COPIES: [&str; 2] = ["usage.json", "usage.copy.json"];
const LOCK: &str = "usage.lock";
/// How long others may hold the lock; an update takes some milliseconds.
const LOCK_TRIES: u32 = 2_000;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct UsageFiles {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    /// Whether the names of folder and files survive a power cut, as far as this process
    /// has seen to it.
    names_are_durable: AtomicBool,
}

/// What the copies hold.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) usage: Usage,
    /// There was a file, and nothing in it could be read.
    pub(crate) was_lost: bool,
    /// Whether both copies hold this very usage.
    pub(crate) is_whole: bool,
    /// Where the copies are to be written, the worse one first.
    order: [Standing; 2],
}

#[derive(Debug, Clone, Copy)]
struct Standing {
    name: &'static str,
    /// Its length, where it is sound.
    sound: Option<usize>,
}

#[derive(Debug)]
enum Copy {
    Sound(Usage, usize),
    Missing,
    Damaged,
}

/// The lock on the usage files, until it is dropped.
#[derive(Debug)]
pub(crate) struct Locked(#[expect(dead_code, reason = "kept for its lock")] Box<dyn DiskFile>);

/// The lock that says that a process lives.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) number: SlotNumber,
    #[expect(dead_code, reason = "kept for its lock")]
    file: Box<dyn DiskFile>,
}

impl UsageFiles {
    pub(crate) fn new(dir: PathBuf, disk: Arc<dyn Disk>) -> Self {
        Self { dir, disk, names_are_durable: AtomicBool::new(false) }
    }

    /// Keeps other processes from changing the files. Waits two seconds at most.
    pub(crate) fn lock(&self) -> Result<Locked, Trouble> {
        let path = self.dir.join(LOCK);
        let file = self.open_lock(&path).doing("open a lock file", &path)?;
        for _ in 0..LOCK_TRIES {
            if file.try_lock().doing("take a lock", &path)? {
                return Ok(Locked(file));
            }
            std::thread::sleep(LOCK_PAUSE);
        }
        let path = path.display();
        Err(Trouble(format!("another process has held a lock for two seconds ({path})")))
    }

    fn open_lock(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        match self.disk.open(path, Open::Create) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.disk.create_dir_all(&self.dir)?;
                self.disk.open(path, Open::Create)
            }
            opened => opened,
        }
    }

    /// Takes the first number that no living process has. Under the lock.
    pub(crate) fn take_slot(&self, _locked: &Locked) -> Result<Slot, Trouble> {
        for number in 0.. {
            let path = self.slot_path(number);
            let file = self.disk.open(&path, Open::Create).doing("open a lock file", &path)?;
            if file.try_lock().doing("take a lock", &path)? {
                return Ok(Slot { number, file });
            }
        }
        Err(Trouble("there are too many processes".to_owned()))
    }

    /// Whether the process that has this number is gone. Under the lock.
    pub(crate) fn is_gone(&self, number: SlotNumber, _locked: &Locked) -> bool {
        match self.disk.open(&self.slot_path(number), Open::Write) {
            Ok(file) => file.try_lock().unwrap_or(false),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    fn slot_path(&self, number: SlotNumber) -> PathBuf {
        self.dir.join(format!("slot-{number}.lock"))
    }

    /// Reads the newest sound copy.
    pub(crate) fn load(&self) -> Result<Loaded, Trouble> {
        let [first, second] = COPIES.map(|name| self.read(name));
        let standing = |index: usize, copy: &Result<Copy, Trouble>| Standing {
            name: COPIES.get(index).copied().unwrap_or_default(),
            sound: match copy {
                Ok(Copy::Sound(_, len)) => Some(*len),
                _ => None,
            },
        };
        let order = [standing(0, &first), standing(1, &second)];
        let swapped = [order[1], order[0]];
        let (usage, is_whole, order) = match (first, second) {
            (Ok(Copy::Sound(one, _)), Ok(Copy::Sound(two, _))) => {
                let is_whole = one == two;
                if one.generation > two.generation {
                    (one, is_whole, swapped)
                } else {
                    (two, is_whole, order)
                }
            }
            (Ok(Copy::Sound(usage, _)), _) => (usage, false, swapped),
            (_, Ok(Copy::Sound(usage, _))) => (usage, false, order),
            (Err(trouble), _) | (_, Err(trouble)) => return Err(trouble),
            (Ok(one), Ok(two)) => {
                let was_lost = matches!((one, two), (Copy::Damaged, _) | (_, Copy::Damaged));
                return Ok(Loaded { usage: Usage::new(), was_lost, is_whole: false, order });
            }
        };
        Ok(Loaded { usage, was_lost: false, is_whole, order })
    }

    fn read(&self, name: &str) -> Result<Copy, Trouble> {
        let path = self.dir.join(name);
        let bytes = match self.read_whole(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Copy::Missing),
            Err(error) => return Err(error).doing("read the usage file", &path),
        };
        match Usage::parse(&bytes) {
            Parsed::Usage(usage) => Ok(Copy::Sound(usage, bytes.len())),
            Parsed::Damaged => Ok(Copy::Damaged),
            Parsed::Newer => Err(Trouble(format!(
                "the usage file has a newer format than this program knows: use a newer backhaul ({})",
                path.display()
            ))),
        }
    }

    fn read_whole(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.disk.open(path, Open::Read)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Makes a usage durable in both copies.
    pub(crate) fn store(
        &self,
        usage: &Usage,
        loaded: &Loaded,
        _locked: &Locked,
    ) -> Result<(), Trouble> {
        for copy in &loaded.order {
            let path = self.dir.join(copy.name);
            let bytes = usage.encode(copy.sound.unwrap_or(0));
            let written = match copy.sound {
                Some(_) => self.overwrite(&path, &bytes),
                None => self.replace(&path, &bytes),
            };
            written.doing("write the usage file", &path)?;
        }
        self.sync_names()
    }

    /// Makes the names of the files and of their folder durable, and those of the folders
    /// above it, which may be as new: without them the files would be lost. Each process
    /// does it once, because the one that made them may not have come so far.
    fn sync_names(&self) -> Result<(), Trouble> {
        if self.names_are_durable.load(Ordering::Relaxed) {
            return Ok(());
        }
        for dir in self.dir.ancestors().map(or_here) {
            match self.disk.sync_dir(dir) {
                Err(error) if !is_not_ours(&error) => {
                    return Err(error).doing("sync a folder", dir);
                }
                _ => {}
            }
        }
        self.names_are_durable.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn overwrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = self.disk.open(path, Open::Write)?;
        file.write_all_at(bytes, 0)?;
        file.flush()
    }

    /// Puts a new file in the place of what stands there, if anything does.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension("tmp");
        match self.disk.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.disk.open(&temporary, Open::CreateNew)?;
        file.write_all_at(bytes, 0)?;
        file.flush()?;
        self.names_are_durable.store(false, Ordering::Relaxed);
        self.disk.rename(&temporary, path)?;
        self.disk.sync_dir(&self.dir)
    }
}

/// The path, or the current folder where it is empty.
fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// Whether a folder cannot be synced because this process may not even read it, or
/// because its file system knows no such thing.
fn is_not_ours(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    )
}
