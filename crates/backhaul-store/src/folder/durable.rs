//! Sees to it that files and their names are durable.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{FileEntry, FolderStore, Place};
use crate::context::{read_whole, write_whole};
use crate::disk::Open;
use crate::error::{ErrorKind, IoContext, Result};
use crate::id::Position;

/// What a power cut may take back though it can be read.
#[derive(Debug)]
pub(super) struct Unsure {
    /// Files of which a flush has failed, or may have: no later one saves them. They
    /// are written anew.
    files: Mutex<BTreeSet<Position>>,
    /// How often names in `pending/` became unsure: at opening, and by each failed sync.
    names: AtomicU64,
    /// Of those times, how many were made good by a sync.
    synced: AtomicU64,
    /// Held while a file is written anew.
    copying: Mutex<()>,
}

impl Unsure {
    /// Whoever was here before may have been killed before it synced a name.
    pub(super) fn at_opening() -> Self {
        let (names, synced) = (AtomicU64::new(1), AtomicU64::new(0));
        Self { files: Mutex::default(), names, synced, copying: Mutex::default() }
    }

    fn has_names(&self) -> bool {
        self.names.load(Ordering::Relaxed) > self.synced.load(Ordering::Relaxed)
    }

    fn files(&self) -> MutexGuard<'_, BTreeSet<Position>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FolderStore {
    /// All own records that wait, whose flushes may have failed.
    pub(crate) fn distrust_own(&self) -> Vec<Position> {
        let is_own = |(position, entry): &(Position, FileEntry)| {
            position.chain.writer == self.writer && entry.place == Place::Pending
        };
        let own: Vec<Position> =
            self.files().into_iter().filter(is_own).map(|(position, _)| position).collect();
        self.unsure.files().extend(&own);
        own
    }

    /// Makes what was written without a flush durable.
    pub(crate) fn flush(&self, positions: &[Position]) -> Result<()> {
        positions.iter().try_for_each(|position| self.flush_file(*position))?;
        self.sync_pending()
    }

    /// Sees to it that no power cut frees the names of what is offered. `relaxed`: those
    /// of its files that may not be flushed.
    pub(crate) fn make_offerable(&self, relaxed: &[Position]) -> Result<()> {
        if relaxed.is_empty() && !self.unsure.has_names() {
            return Ok(());
        }
        self.flush(relaxed)
    }

    fn flush_file(&self, position: Position) -> Result<()> {
        let Some(entry) = self.file(position) else { return Ok(()) };
        let path = self.context.path(Place::Pending.folder()).join(&*entry.name);
        let disk = &self.context.disk;
        if !self.unsure.files().contains(&position) {
            match disk.open(&path, Open::Write).and_then(|file| file.flush()) {
                // It was delivered and moved meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                Ok(()) => return Ok(()),
                Err(error) => {
                    let path = path.display();
                    tracing::error!(%path, %error, "a flush failed: the record is written anew");
                    self.unsure.files().insert(position);
                }
            }
        }
        match self.copy(&path, &path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => self.unsure.files().remove(&position),
        };
        Ok(())
    }

    /// Makes the names in `pending/` durable.
    pub(super) fn sync_pending(&self) -> Result<()> {
        let pending = self.context.path(Place::Pending.folder());
        let before = self.unsure.names.load(Ordering::Relaxed);
        match self.context.disk.sync_dir(&pending) {
            Ok(()) => self.unsure.synced.fetch_max(before, Ordering::Relaxed),
            Err(error) => {
                self.unsure.names.fetch_add(1, Ordering::Relaxed);
                return Err(error).doing("sync a folder of the spool", &pending);
            }
        };
        Ok(())
    }

    /// Writes a file once more, durably, in place of what stands at `to`. That name is
    /// not synced.
    pub(super) fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let _exclusive = self.unsure.copying.lock().unwrap_or_else(PoisonError::into_inner);
        let disk = &self.context.disk;
        let bytes = read_whole(&**disk, from)?;
        let copies = self.context.state(&format!("incoming-{}-copy.tmp", self.writer));
        write_whole(&**disk, &copies, &bytes)?;
        disk.rename(&copies, to).doing("name a record", to)
    }
}
