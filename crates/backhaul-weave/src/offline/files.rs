//! The bytes of files, each at `files/DIGEST`.
//!
//! A file is there for as long as a record names it. Its bytes are made durable before the
//! record that names them is appended; from before the one until after the other the process
//! holds `files.lock`, together with whoever else stores a file. Bytes that no record names
//! are removed by whoever gets that lock alone: nobody is about to name them then.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use backhaul_store::{Chain, Disk, DiskFile, Lane, Open, Sequence, Spool};

use super::Cleaned;
use super::names;
use super::project_store::ProjectStore;
use super::whole_file::{self, Hold, UNFINISHED, failed};
use crate::digest;
use crate::entry::DIGEST_LABEL;
use crate::error::{TraceError, TraceErrorKind};
use crate::kind::Kind;

/// Held together by those who store files, and alone by who removes some.
const LOCK: &str = "files.lock";
/// Characters of a digest.
const DIGEST_LEN: usize = 43;

/// Holds off whoever would remove bytes that no record names yet.
pub(super) struct Creating {
    _lock: Box<dyn DiskFile>,
}

impl ProjectStore {
    /// To be held until the record is durable that names what is written meanwhile.
    pub(super) fn creating(&self) -> Result<Creating, TraceError> {
        let path = self.folder.join(LOCK);
        let lock = whole_file::lock(&*self.disk, &path, Hold::Together)?;
        Ok(Creating { _lock: lock })
    }

    /// Stores a file, once per content, durably. The folder is ready.
    pub(super) fn write_file(&self, digest: &str, content: &[u8]) -> Result<(), TraceError> {
        let written = self.try_to_write_file(digest, content);
        self.writing_files.note(&self.id, written)
    }

    fn try_to_write_file(&self, digest: &str, content: &[u8]) -> Result<(), TraceError> {
        let spool = self.spool(Kind::Files)?;
        let path = self.path_of_file(digest)?;
        if self.has_file(&path, content) {
            // Whoever stored it may have been stopped before it was durable.
            let file = self.disk.open(&path, Open::Write).and_then(|file| file.flush());
            file.map_err(|error| failed("flush a file", &path, error))?;
        } else {
            let mut room = spool.room_for_file(&path, Lane::Normal);
            room.reserve(content.len() as u64)?;
            if let Err(error) = whole_file::write(&*self.disk, &path, content) {
                room.give_back();
                return Err(failed("write a file", &path, error));
            }
        }
        whole_file::sync_dir(&*self.disk, spool.dir())
    }

    fn has_file(&self, path: &Path, content: &[u8]) -> bool {
        let stored = || {
            let file = self.disk.open(path, Open::Read).ok()?;
            let len = usize::try_from(file.len().ok()?).ok().filter(|len| *len == content.len())?;
            file.read_exact_at(len, 0).ok()
        };
        stored().is_some_and(|stored| stored == content)
    }

    /// The bytes of a file.
    pub(super) fn read_file(&self, digest: &str) -> Result<Vec<u8>, TraceError> {
        // The prototype's files are there under their digests then.
        self.open_if_there(Kind::Files)?;
        read_file(&*self.disk, &self.folder, digest)
    }

    fn path_of_file(&self, digest: &str) -> Result<PathBuf, TraceError> {
        path_of_file(&self.folder, digest)
    }

    fn files(&self) -> PathBuf {
        self.folder.join(Kind::Files.name())
    }

    /// Removes files that a process left half made which was stopped.
    pub(super) fn remove_unfinished(&self) -> Result<(), TraceError> {
        let Some(_alone) = self.alone()? else { return Ok(()) };
        for dir in [self.folder.clone(), self.files()] {
            for entry in names::list(&*self.disk, &dir)? {
                if !entry.is_dir && entry.name.ends_with(UNFINISHED) {
                    let path = dir.join(&entry.name);
                    let removed = self.disk.remove(&path);
                    removed.map_err(|error| failed("remove a stale file", &path, error))?;
                }
            }
        }
        Ok(())
    }

    fn alone(&self) -> Result<Option<Box<dyn DiskFile>>, TraceError> {
        whole_file::try_lock(&*self.disk, &self.folder.join(LOCK), Hold::Alone)
    }

    /// Removes the bytes of files that no record names any more. Left for another time while
    /// somebody stores a file.
    pub(super) fn sweep_files(&self) -> Result<Cleaned, TraceError> {
        let Some(spool) = self.spool_if_there(Kind::Files)? else { return Ok(Cleaned::default()) };
        let mut unnamed = self.stored_files()?;
        // The long part comes first, while others go on.
        let places = spool.ends()?;
        forget_named(&spool, &BTreeMap::new(), &mut unnamed)?;
        if unnamed.is_empty() {
            return Ok(Cleaned::default());
        }
        let Some(_alone) = self.alone()? else { return Ok(Cleaned::default()) };
        forget_named(&spool, &places, &mut unnamed)?;
        self.remove_files(&spool, unnamed)
    }

    fn stored_files(&self) -> Result<BTreeMap<String, u64>, TraceError> {
        let entries = names::list(&*self.disk, &self.files())?.into_iter();
        let files = entries.filter(|entry| !entry.is_dir && is_digest(&entry.name));
        Ok(files.map(|entry| (entry.name, entry.len)).collect())
    }

    fn remove_files(
        &self,
        spool: &Spool,
        files: BTreeMap<String, u64>,
    ) -> Result<Cleaned, TraceError> {
        let files: Vec<(PathBuf, u64)> =
            files.into_iter().map(|(name, len)| (spool.dir().join(name), len)).collect();
        let counted: Vec<(&Path, u64)> =
            files.iter().map(|(path, len)| (path.as_path(), *len)).collect();
        let mut cleaned = Cleaned::default();
        for (room, (path, len)) in spool.take_over_files(&counted)?.into_iter().zip(&files) {
            self.disk.remove(path).map_err(|error| failed("remove a file", path, error))?;
            room.give_back();
            cleaned.files += 1;
            cleaned.bytes += len;
        }
        if cleaned.files > 0 {
            whole_file::sync_dir(&*self.disk, spool.dir())?;
        }
        Ok(cleaned)
    }
}

/// The bytes of a file of the project whose folder this is.
pub(crate) fn read_file(
    disk: &dyn Disk,
    folder: &Path,
    digest: &str,
) -> Result<Vec<u8>, TraceError> {
    let path = path_of_file(folder, digest)?;
    let Some(content) = whole_file::read(disk, &path)? else {
        let message = format!("there is no file {digest} here");
        return Err(TraceError::new(TraceErrorKind::NotFound, message));
    };
    if digest::of_file(&content) != digest {
        let message = format!("the file {} does not have its digest", path.display());
        return Err(TraceError::new(TraceErrorKind::Damaged, message));
    }
    Ok(content)
}

fn path_of_file(folder: &Path, digest: &str) -> Result<PathBuf, TraceError> {
    if !is_digest(digest) {
        let expected = format!("expected {DIGEST_LEN} letters and digits");
        let message = format!("{digest:?} is no digest of a file: {expected}");
        return Err(TraceError::new(TraceErrorKind::NotFound, message));
    }
    Ok(folder.join(Kind::Files.name()).join(digest))
}

fn is_digest(name: &str) -> bool {
    name.len() == DIGEST_LEN && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Takes out those that a record names, of the records from the places on.
fn forget_named(
    spool: &Spool,
    places: &BTreeMap<Chain, Sequence>,
    files: &mut BTreeMap<String, u64>,
) -> Result<(), TraceError> {
    spool.each_from(places, &mut |record| {
        if let Some(digest) = record.facts.labels.get(DIGEST_LABEL) {
            files.remove(digest);
        }
        ControlFlow::Continue(())
    })?;
    Ok(())
}
