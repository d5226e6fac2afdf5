//! The bytes of files, each at `files/DIGEST`.

use std::io;
use std::path::{Path, PathBuf};

use backhaul_store::{Disk, Lane, Open};

use super::project_store::ProjectStore;
use crate::digest;
use crate::error::{TraceError, TraceErrorKind};
use crate::kind::Kind;

/// Behind a file's name while it is made.
const UNFINISHED: &str = ".tmp";
/// Characters of a digest.
const DIGEST_LEN: usize = 43;

impl ProjectStore {
    /// Stores a file, once per content, durably.
    pub(super) fn write_file(&self, digest: &str, content: &[u8]) -> Result<(), TraceError> {
        let spool = self.open(Kind::Files)?;
        let path = self.path_of_file(digest)?;
        if self.has_file(&path, content) {
            // Whoever stored it may have been stopped before it was durable.
            let file = self.disk.open(&path, Open::Write).and_then(|file| file.flush());
            file.map_err(|error| failed("flush", &path, error))?;
        } else {
            let mut room = spool.room_for_file(&path, Lane::Normal);
            room.reserve(content.len() as u64)?;
            if let Err(error) = write_whole(&*self.disk, &path, content) {
                room.give_back();
                return Err(failed("write", &path, error));
            }
        }
        self.disk.sync_dir(spool.dir()).map_err(|error| failed("sync", spool.dir(), error))
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
        read_file(&*self.disk, &self.folder, digest)
    }

    fn path_of_file(&self, digest: &str) -> Result<PathBuf, TraceError> {
        path_of_file(&self.folder, digest)
    }
}

/// The bytes of a file of the project whose folder this is.
pub(crate) fn read_file(
    disk: &dyn Disk,
    folder: &Path,
    digest: &str,
) -> Result<Vec<u8>, TraceError> {
    let path = path_of_file(folder, digest)?;
    let read = || {
        let file = disk.open(&path, Open::Read)?;
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        file.read_exact_at(len, 0)
    };
    let content = match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!("there is no file {digest} here");
            return Err(TraceError::new(TraceErrorKind::NotFound, message));
        }
        read => read.map_err(|error| failed("read", &path, error))?,
    };
    if digest::of_file(&content) != digest {
        let message = format!("the file {} does not have its digest", path.display());
        return Err(TraceError::new(TraceErrorKind::Damaged, message));
    }
    Ok(content)
}

fn path_of_file(folder: &Path, digest: &str) -> Result<PathBuf, TraceError> {
    let is_digest =
        digest.len() == DIGEST_LEN && digest.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_digest {
        return Err(TraceError::new(
            TraceErrorKind::NotFound,
            format!("{digest:?} is no digest of a file: expected {DIGEST_LEN} letters and digits"),
        ));
    }
    Ok(folder.join(Kind::Files.name()).join(digest))
}

fn write_whole(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let thread = format!("{:?}", std::thread::current().id());
    let number: String = thread.chars().filter(char::is_ascii_digit).collect();
    let mut temporary = path.as_os_str().to_owned();
    // Two processes, or two threads, may store one file at the same time.
    temporary.push(format!(".{}-{number}{UNFINISHED}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let file = disk.open(&temporary, Open::Create)?;
    file.set_len(0)?;
    file.write_all_at(content, 0)?;
    file.flush()?;
    disk.rename(&temporary, path)
}

/// What the disk did not do, and where.
pub(super) fn failed(what: &str, path: &Path, error: io::Error) -> TraceError {
    TraceError::new(TraceErrorKind::Store, format!("cannot {what} {}: {error}", path.display()))
}
