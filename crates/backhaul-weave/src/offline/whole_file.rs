//! Small files, read and written whole, and locks that are waited for.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backhaul_store::{Disk, DiskFile, Error, Open};

use crate::error::{TraceError, TraceErrorKind};

/// Behind a file's name while it is made.
pub(super) const UNFINISHED: &str = ".tmp";
/// How often a lock is tried for.
const TRIES: u32 = 30_000;
const BETWEEN_TRIES: Duration = Duration::from_millis(2);

/// The content of a file. `Ok(None)`: there is none.
pub(super) fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, TraceError> {
    let read = || {
        let file = disk.open(path, Open::Read)?;
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        file.read_exact_at(len, 0)
    };
    match read() {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read a file", path, error)),
    }
}

/// Writes a file so that it is there whole or, after a crash, possibly not; its name is durable
/// when the folder was synced. Two processes, or two threads, may write one file at a time.
pub(super) fn write(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let thread = format!("{:?}", std::thread::current().id());
    let number: String = thread.chars().filter(char::is_ascii_digit).collect();
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}-{number}{UNFINISHED}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    // The old file is unlinked and not cut: after a crash during a rename the name may lead to
    // the very file that has another name by now.
    match disk.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(&temporary, Open::CreateNew)?;
    let written = file.write_all_at(content, 0).and_then(|()| file.flush());
    let named = written.and_then(|()| disk.rename(&temporary, path));
    named.inspect_err(|_| {
        let _ = disk.remove(&temporary);
    })
}

/// Replaces a file, durably: after a crash it is the old one or the new one.
pub(super) fn replace(disk: &dyn Disk, path: &Path, content: &[u8]) -> Result<(), TraceError> {
    write(disk, path, content).map_err(|error| failed("write a file", path, error))?;
    sync_dir(disk, path.parent().unwrap_or(Path::new(".")))
}

pub(super) fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<(), TraceError> {
    disk.sync_dir(dir).map_err(|error| failed("sync a folder", dir, error))
}

/// Makes a folder, and those between `top` and it, whose names are all durable then: who made
/// some of them before may have been stopped before that.
pub(super) fn make_folder(disk: &dyn Disk, dir: &Path, top: &Path) -> Result<(), TraceError> {
    disk.create_dir_all(dir).map_err(|error| failed("make a folder", dir, error))?;
    let mut above = dir.ancestors().skip(1).take_while(|above| above.starts_with(top));
    above.try_for_each(|above| sync_dir(disk, above))
}

/// How a lock is held.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hold {
    Alone,
    Together,
}

/// Takes the lock that a file stands for as soon as others let go of it.
///
/// # Errors
/// After a minute; and where there can be no such file.
pub(super) fn lock(
    disk: &dyn Disk,
    path: &Path,
    hold: Hold,
) -> Result<Box<dyn DiskFile>, TraceError> {
    for _ in 0..TRIES {
        if let Some(lock) = try_lock(disk, path, hold)? {
            return Ok(lock);
        }
        std::thread::sleep(BETWEEN_TRIES);
    }
    let path = path.display();
    Err(TraceError::new(
        TraceErrorKind::Store,
        format!("another process has held the lock {path} for a minute: try again later"),
    ))
}

/// The same, at once. `Ok(None)`: somebody else has it.
pub(super) fn try_lock(
    disk: &dyn Disk,
    path: &Path,
    hold: Hold,
) -> Result<Option<Box<dyn DiskFile>>, TraceError> {
    let file =
        disk.open(path, Open::Create).map_err(|error| failed("open a lock file", path, error))?;
    let taken = match hold {
        Hold::Alone => file.try_lock(),
        Hold::Together => file.try_lock_shared(),
    };
    let taken = taken.map_err(|error| failed("take a lock", path, error))?;
    Ok(taken.then_some(file))
}

/// What the disk did not do, and where.
pub(super) fn failed(doing: &str, path: &Path, error: io::Error) -> TraceError {
    Error::io(doing, path, error).into()
}
