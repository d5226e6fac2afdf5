//! Room for files that somebody other than the spool keeps in its folder.
//!
//! The cap bounds the folder as a whole, and the spool sees a foreign file only when
//! it measures the folder. A file that grows in between would pass the cap, so its
//! owner reserves each growth first, by a [`FileRoom`].
//!
//! A file that has a room is left out when the folder is measured, and what it has
//! reserved is counted in its place: nothing is counted twice, and nothing that was
//! reserved and not yet written is forgotten. What other processes reserved is seen
//! as the bytes of their files, at the next measurement.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use crate::context::Context;
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result};
use crate::id::Lane;
use crate::quota::{Quota, measure_others, on_disk};
use crate::spool::{Inner, Spool};

/// The part of the cap that all kept files of a process may take: one half. A record
/// that is to take the place of a kept file needs room while the file is still there,
/// and a record may have up to half of the cap.
const SHARE: u64 = 2;
/// What a file is called while it is made: its name with this behind it.
const UNFINISHED: &str = ".tmp";
/// Where nothing could give way, it is not looked for again before. A look costs a
/// walk over all records, and a file may ask many times a second.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Room in a spool's folder for one file that the spool does not write itself.
///
/// Made by [`Spool::room_for_file`] before the file is, and by [`Spool::take_over_files`]
/// for files that another process left. Make no more than one for a path at a time.
///
/// When it is dropped, the file is taken to stay: what was reserved stays counted,
/// until the folder is measured the next time. [`FileRoom::give_back`] is for a file
/// that was removed.
///
/// ```
/// use backhaul_store::{Lane, Options, Spool};
/// let dir = std::env::temp_dir().join(format!("backhaul-room-{}", std::process::id()));
/// // Nothing else is to write meanwhile.
/// let options =
///     Options { max_bytes: Some(1_000_000), maintenance_thread: false, ..Options::default() };
/// let spool = Spool::open(&dir, options)?;
/// let path = dir.join("notes.txt");
/// let before = spool.status()?.bytes;
///
/// let mut room = spool.room_for_file(&path, Lane::Normal);
/// room.reserve(10)?;
/// std::fs::write(&path, "ten bytes.").unwrap();
/// assert_eq!(spool.status()?.bytes, before + 4096, "files take whole blocks");
/// assert!(room.reserve(600_000).unwrap_err().is_full(), "more than half of the cap");
///
/// std::fs::remove_file(&path).unwrap();
/// room.give_back();
/// assert_eq!(spool.status()?.bytes, before);
/// # drop(spool); std::fs::remove_dir_all(&dir).unwrap();
/// # Ok::<(), backhaul_store::Error>(())
/// ```
#[derive(Debug)]
pub struct FileRoom {
    spool: Spool,
    path: PathBuf,
    lane: Lane,
    /// Bytes reserved: whole blocks.
    bytes: u64,
    is_given_back: bool,
    /// When it was found last that nothing can give way, since boot.
    looked_in_vain: Option<Duration>,
}

impl Spool {
    /// Room for a file that is to be made at `path`, in the spool's folder; none of it
    /// is reserved yet. The file may have `.tmp` behind its name while it is made.
    /// `lane` says which records may give way to it, where the policy lets any.
    pub fn room_for_file(&self, path: &Path, lane: Lane) -> FileRoom {
        FileRoom::new(self.clone(), path.to_owned(), lane)
    }

    /// Room for files that are there already, with their lengths: left by another
    /// process, or before the spool was opened. Measures the folder, since what another
    /// process wrote is known in no other way.
    ///
    /// # Errors
    /// Where the folder cannot be measured. The files are then counted, or not, as
    /// they were before.
    pub fn take_over_files(&self, files: &[(&Path, u64)]) -> Result<Vec<FileRoom>> {
        let inner = &self.inner;
        inner.check_process()?;
        inner.check_writable()?;
        // No other measurement is under way, and none of the spool's own growth.
        let _paused = inner.committer.pause();
        inner.measure()?;
        let room_of = |&(path, len): &(&Path, u64)| {
            let mut room = self.room_for_file(path, Lane::Normal);
            room.bytes = on_disk(len);
            inner.context.quota.kept().hold(path, room.bytes);
            room
        };
        Ok(files.iter().map(room_of).collect())
    }
}

impl FileRoom {
    fn new(spool: Spool, path: PathBuf, lane: Lane) -> Self {
        Self { spool, path, lane, bytes: 0, is_given_back: false, looked_in_vain: None }
    }

    /// Reserves room, by whole blocks, for the file to be `len` bytes long in all. Call
    /// it before the file is made or grows. Records give way where the spool's policy
    /// lets them, as they do to a record.
    ///
    /// # Errors
    /// [`ErrorKind::Full`] where the cap or the floor of free space is reached, or where
    /// the files of this kind would take more than half of the cap: what was reserved
    /// before stays so, and the same call can succeed later.
    pub fn reserve(&mut self, len: u64) -> Result<()> {
        if on_disk(len) <= self.bytes {
            return Ok(());
        }
        let inner = Arc::clone(&self.spool.inner);
        inner.check_process()?;
        inner.check_writable()?;
        match self.grow(&inner, on_disk(len)) {
            Err(error) if error.is_full() && self.make_room(&inner, on_disk(len)) => {
                self.grow(&inner, on_disk(len))
            }
            result => result,
        }
    }

    fn grow(&mut self, inner: &Inner, bytes: u64) -> Result<()> {
        let context = &inner.context;
        context.quota.keep(context, &self.path, bytes, bytes - self.bytes)?;
        self.bytes = bytes;
        Ok(())
    }

    /// Has records give way. `false`: none may, or that would not help.
    fn make_room(&mut self, inner: &Inner, bytes: u64) -> bool {
        let more = bytes - self.bytes;
        let now = inner.context.clock.now().since_boot;
        let looked = self.looked_in_vain.is_some_and(|at| now.saturating_sub(at) < LOOK_AGAIN);
        if looked || inner.context.quota.kept().passes_share(inner.context.quota.max(), more) {
            return false;
        }
        // As in a commit: what gives way may be in a file that is being written.
        let _paused = inner.committer.pause();
        let made = inner.courier().make_room(inner, more, self.lane);
        let made = made.unwrap_or_else(|error| {
            tracing::warn!(path = %self.path.display(), %error, "cannot make room for a file");
            false
        });
        self.looked_in_vain = if made { None } else { Some(now) };
        made
    }

    /// Gives the room back: the file was removed, or never made.
    pub fn give_back(mut self) {
        self.is_given_back = true;
    }
}

impl Drop for FileRoom {
    fn drop(&mut self) {
        let quota = &self.spool.inner.context.quota;
        let mut kept = quota.kept();
        if self.is_given_back {
            quota.release(self.bytes);
        }
        kept.let_go(&self.path, if self.is_given_back { 0 } else { self.bytes });
    }
}

/// The kept files of this process, as its quota counts them.
#[derive(Debug, Default)]
pub(crate) struct KeptFiles {
    files: BTreeMap<PathBuf, KeptFile>,
    /// Files that are let go meanwhile stay known until the measurement ends: it may
    /// have passed them over, or see them yet.
    is_measuring: bool,
}

#[derive(Debug)]
struct KeptFile {
    bytes: u64,
    is_let_go: bool,
}

impl KeptFiles {
    fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }

    fn passes_share(&self, max: Option<u64>, more: u64) -> bool {
        max.is_some_and(|max| self.bytes().saturating_add(more) > max / SHARE)
    }

    fn hold(&mut self, path: &Path, bytes: u64) {
        self.files.insert(path.to_owned(), KeptFile { bytes, is_let_go: false });
    }

    fn let_go(&mut self, path: &Path, bytes_left: u64) {
        if !self.is_measuring {
            self.files.remove(path);
        } else if let Some(file) = self.files.get_mut(path) {
            *file = KeptFile { bytes: bytes_left, is_let_go: true };
        }
    }

    fn has(&self, path: &Path) -> bool {
        let finished = || path.to_str()?.strip_suffix(UNFINISHED).map(Path::new);
        self.files.contains_key(path)
            || finished().is_some_and(|path| self.files.contains_key(path))
    }
}

impl Quota {
    pub(crate) fn kept(&self) -> MutexGuard<'_, KeptFiles> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves `more` bytes for a kept file that will have `bytes` then.
    fn keep(&self, context: &Context, path: &Path, bytes: u64, more: u64) -> Result<()> {
        // Held throughout: a measurement must not end in between.
        let mut kept = self.kept();
        if kept.passes_share(self.max(), more) {
            let (held, max) = (kept.bytes(), self.max().unwrap_or(u64::MAX));
            return Err(Error::at(
                ErrorKind::Full,
                path,
                format!(
                    "files beside the records take {held} of at most {} bytes, half of the spool's cap: \
                     no room for {more} more",
                    max / SHARE
                ),
            ));
        }
        self.reserve(&*context.disk, &context.dir, more)?;
        kept.hold(path, bytes);
        Ok(())
    }

    /// Takes over what the folder holds: kept files as they reserved, others as they
    /// are. Nothing else is reserved and not yet written meanwhile, and no other
    /// measurement is under way.
    pub(crate) fn measure(&self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        self.kept().is_measuring = true;
        let others = measure_others(disk, dir, &|path| self.kept().has(path));
        let mut kept = self.kept();
        kept.is_measuring = false;
        let result = others.map(|others| self.set_used(others + kept.bytes()));
        kept.files.retain(|_, file| !file.is_let_go);
        result
    }
}
