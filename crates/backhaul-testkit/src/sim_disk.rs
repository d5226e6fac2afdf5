//! A file system in memory that knows what a power cut would take.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backhaul_store::{Disk, DiskFile, Entry, Open, Space};

use crate::crash_image;
use crate::crash_style::CrashStyle;
use crate::prng::Prng;
use crate::sim_file::SimFile;
use crate::sim_snapshot::{FlushPoint, SimSnapshot};
use crate::sim_state::State;

/// What a test wants to see before each flush.
type FlushHook = Box<dyn FnMut(&SimSnapshot) + Send>;

/// A disk in memory. Clones are the same disk.
///
/// Beside the live state, as a program sees it, it keeps the durable state and
/// the operations between the two. A write or cut becomes durable by a flush of
/// its file through any handle; a name becomes durable by a sync of its
/// directory, and a new directory by a sync of its parent. A flush of a file does
/// not make its name durable, and a rename between directories is a new name in
/// one and a lost name in the other, each durable by itself.
///
/// Relative paths start at the root. Directories cannot move to another
/// directory (`EXDEV`). Room is counted in bytes of file length, holes included.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    // Of its own, so that the hook runs while the state is free. Lock order: hook, state.
    hook: Mutex<Option<FlushHook>>,
}

/// A disk and its crash images.
impl SimDisk {
    /// An empty disk with a root directory and 1 TiB of room.
    pub fn new() -> Self {
        Self::from_state(State::default())
    }

    /// One disk that a power cut now could leave; see [`SimSnapshot::crash_image`].
    /// This disk goes on as if nothing had happened.
    pub fn crash_image(&self, prng: &mut Prng, style: &CrashStyle) -> SimDisk {
        let state = self.state().clone();
        Self::from_state(crash_image::draw(&state, prng, style))
    }

    /// This moment, for crash images to be drawn later.
    pub fn snapshot(&self) -> SimSnapshot {
        SimSnapshot::new(self.state().clone(), FlushPoint::Asked)
    }

    /// Calls `hook` just before each flush and each directory sync, while all
    /// that it will make durable is not yet so. Replaces the hook before it.
    ///
    /// The disk is free meanwhile, but a flush of this same disk inside the hook
    /// waits for itself for ever. Other threads that flush wait for the hook.
    pub fn on_flush(&self, hook: Box<dyn FnMut(&SimSnapshot) + Send>) {
        *self.hook() = Some(hook);
    }

    /// Takes the hook away and drops it.
    pub fn clear_on_flush(&self) {
        let hook = self.hook().take();
        drop(hook);
    }

    /// Cuts the power: this disk becomes one of its crash images. Handles opened
    /// before answer every call with `EIO`, and their locks are free. Hook,
    /// counts, limits and sabotage stay.
    pub fn power_cut(&self, prng: &mut Prng, style: &CrashStyle) {
        let mut state = self.state();
        let image = crash_image::draw(&state, prng, style);
        state.become_image(image);
    }

    /// Ends the process that uses the disk: handles die and locks are free as
    /// with [`SimDisk::power_cut`], but the page cache stays, flushed or not.
    pub fn kill_process(&self) {
        self.state().drop_handles();
    }
}

/// Limits, sabotage and damage.
impl SimDisk {
    /// Limits the disk to `bytes` of file length and `inodes` files and
    /// directories (`u64::MAX`: no such limit). What is there already stays.
    ///
    /// A write that grows a file past the limit writes what fits and fails with
    /// `ENOSPC`; a growing `set_len` fails and changes nothing. Writes inside a
    /// file's length always have room. A removed file keeps its room while open.
    pub fn set_capacity(&self, bytes: u64, inodes: u64) {
        let mut state = self.state();
        state.capacity_bytes = bytes;
        state.capacity_inodes = inodes;
    }

    /// Sabotage: file flushes answer `Ok` and make nothing durable.
    pub fn ignore_flushes(&self, ignore: bool) {
        self.state().ignore_flushes = ignore;
    }

    /// Sabotage: flushes of the file that is opened under `path`, or syncs of the
    /// directory there, answer `Ok` and make nothing durable.
    pub fn ignore_flushes_of(&self, path: impl Into<PathBuf>) {
        Arc::make_mut(&mut self.state().ignore_flushes_of).insert(path.into());
    }

    /// Sabotage: directory syncs answer `Ok` and make nothing durable.
    pub fn ignore_dir_syncs(&self, ignore: bool) {
        self.state().ignore_dir_syncs = ignore;
    }

    /// Does to the file at `path` what a flush does on Linux that fails, through a
    /// handle of its own: its content stays readable, but what was unflushed counts
    /// as clean, so that a later flush that succeeds does not save it. Only pages
    /// written again are saved, whole; a crash image may keep, tear or lose the rest.
    ///
    /// Every handle that is open now hears of it once: its next flush answers `EIO`,
    /// whatever that flush saves. A handle that is opened later never does.
    pub fn fail_flush_of(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.state().forsake(path.as_ref())
    }

    /// Flips the bits of `mask` in one byte, in the cache and on the medium.
    /// Past the end of the file: `EINVAL`.
    pub fn flip_bit(&self, path: impl AsRef<Path>, offset: u64, mask: u8) -> io::Result<()> {
        self.state().flip_bits(path.as_ref(), offset, mask)
    }
}

/// Files without handles.
impl SimDisk {
    /// The live content of a file.
    pub fn read_file(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        Ok(self.state().file_at(path.as_ref())?.live.to_vec())
    }

    /// Puts a file there, or replaces its content: durable at once, with its name
    /// and its directories, past all limits and counts.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        self.state().plant(path.as_ref(), bytes)
    }

    /// The absolute paths of all files (not directories), sorted.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().files().into_iter().map(|(path, _)| path).collect()
    }

    /// Writes all files, as they are live, below a real directory.
    pub fn export_to(&self, dir: &Path) -> io::Result<()> {
        let state = self.state().clone();
        std::fs::create_dir_all(dir)?;
        for (path, file) in state.files() {
            let target = dir.join(path.strip_prefix("/").unwrap_or(&path));
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(target, file.live.to_vec())?;
        }
        Ok(())
    }

    /// Puts all files below a real directory into the root, durable at once.
    pub fn import_from(&self, dir: &Path) -> io::Result<()> {
        let mut waiting = vec![(dir.to_owned(), PathBuf::from("/"))];
        while let Some((source, target)) = waiting.pop() {
            for entry in std::fs::read_dir(source)? {
                let entry = entry?;
                let target = target.join(entry.file_name());
                if entry.file_type()?.is_dir() {
                    waiting.push((entry.path(), target));
                } else {
                    self.write_file(target, &std::fs::read(entry.path())?)?;
                }
            }
        }
        Ok(())
    }
}

/// Counts.
impl SimDisk {
    /// The sum of the lengths of all files that have a name.
    pub fn total_bytes(&self) -> u64 {
        self.state().total_bytes()
    }

    /// Calls of `DiskFile::flush`, ignored and failed ones included.
    pub fn flush_count(&self) -> u64 {
        self.state().flush_count
    }

    /// Calls of `Disk::sync_dir`, ignored ones included.
    pub fn sync_dir_count(&self) -> u64 {
        self.state().sync_dir_count
    }

    /// Bytes that writes through handles have written.
    pub fn bytes_written(&self) -> u64 {
        self.state().bytes_written
    }

    /// Operations, of data and of names, that are not durable.
    pub fn unflushed_ops(&self) -> usize {
        self.state().unflushed_ops()
    }
}

impl SimDisk {
    pub(crate) fn from_state(state: State) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::new(state), hook: Mutex::new(None) }) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn call_hook(&self, point: impl FnOnce() -> FlushPoint) {
        if let Some(hook) = self.hook().as_mut() {
            let state = self.state().clone();
            hook(&SimSnapshot::new(state, point()));
        }
    }

    fn hook(&self) -> MutexGuard<'_, Option<FlushHook>> {
        self.shared.hook.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("SimDisk")
            .field("nodes", &state.nodes.len())
            .field("total_bytes", &state.total_bytes())
            .field("unflushed_ops", &state.unflushed_ops())
            .finish_non_exhaustive()
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.state().create_dir_all(path)
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let handle = self.state().open(path, how)?;
        Ok(Box::new(SimFile::new(self.clone(), handle, path.to_owned())))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.state().list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state().remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call_hook(|| FlushPoint::Dir(path.to_owned()));
        let mut state = self.state();
        state.sync_dir_count += 1;
        state.sync_dir(path)
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        self.call_hook(|| FlushPoint::All);
        let mut state = self.state();
        state.sync_dir_count += 1;
        state.sync_all(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.state().space(path)
    }
}

#[cfg(test)]
mod tests;
