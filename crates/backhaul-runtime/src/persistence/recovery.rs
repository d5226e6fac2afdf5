//! What a run has come to, as far as the disk tells.

use std::path::{Path, PathBuf};

use backhaul_store::Disk;

use super::checkpoint::{Checkpoint, Unusable};
use super::files::{self, FilesOfRun, Kind, Number, RunName};
use super::journal::lines;
use super::journal_line;
use super::persistence_error::{PersistenceError, PersistenceErrorKind};

/// Recovers a run: the newest checkpoint that is whole, and what the journals have after it.
/// `None`: nothing of it can be used. Damaged checkpoints are put aside.
pub(super) fn recover(
    disk: &dyn Disk,
    dir: &Path,
    run: &RunName,
    files: &FilesOfRun,
) -> Result<Option<Checkpoint>, PersistenceError> {
    let Some((base, mut found)) = newest_whole(disk, dir, run, files)? else { return Ok(None) };
    for (number, path) in journals_since(dir, run, files, base) {
        let bytes = read(disk, &path)?;
        replay(&mut found, &bytes, &path, number > base);
    }
    Ok(Some(found))
}

fn newest_whole(
    disk: &dyn Disk,
    dir: &Path,
    run: &RunName,
    files: &FilesOfRun,
) -> Result<Option<(Number, Checkpoint)>, PersistenceError> {
    for &number in files.checkpoints.iter().rev() {
        let path = files::path(dir, number, run, Kind::Checkpoint);
        if let Some(found) = usable(&read(disk, &path)?, &path, disk)? {
            return Ok(Some((number, found)));
        }
    }
    // A journal begins with a checkpoint, where it is the first of its run or process.
    for (number, path) in journals(dir, run, files).into_iter().rev() {
        let bytes = read(disk, &path)?;
        match lines(&bytes).next().map(Checkpoint::decode) {
            Some(Ok(found)) => return Ok(Some((number, found))),
            Some(Err(Unusable::Newer(version))) => return Err(newer(&path, version)),
            Some(Err(Unusable::Damaged(_))) | None => {}
        }
    }
    Ok(None)
}

fn usable(
    bytes: &[u8],
    path: &Path,
    disk: &dyn Disk,
) -> Result<Option<Checkpoint>, PersistenceError> {
    match Checkpoint::decode(bytes) {
        Ok(found) => Ok(Some(found)),
        Err(Unusable::Newer(version)) => Err(newer(path, version)),
        Err(Unusable::Damaged(why)) => {
            let aside = files::quarantine(disk, path);
            tracing::error!(path = %path.display(), why, ?aside, "a checkpoint is damaged: the one before is used");
            Ok(None)
        }
    }
}

/// Takes the steps that come after what is known, as long as none is missing.
fn replay(found: &mut Checkpoint, bytes: &[u8], path: &Path, is_later: bool) {
    let mut steps = lines(bytes).peekable();
    if let Some(Ok(head)) = steps.peek().map(|line| Checkpoint::decode(line)) {
        steps.next();
        // A later journal begins with all that there was to know: steps that the disk had not
        // taken before, or a run that was begun anew under the id of one of which files are left.
        if is_later {
            *found = head;
        }
    }
    while let Some(line) = steps.next() {
        let Some((number, step)) = journal_line::decode(line) else {
            return tell_what_is_lost(found, steps, path);
        };
        if number <= found.lines {
            continue;
        }
        if number != found.lines + 1 || found.state.take(&step).is_err() {
            return tell_what_is_lost(found, steps, path);
        }
        found.lines = number;
    }
}

/// A line that is torn is the last one: it was never acknowledged. One in the middle hides what
/// comes after it.
fn tell_what_is_lost<'a>(found: &Checkpoint, rest: impl Iterator<Item = &'a [u8]>, path: &Path) {
    let later = rest.filter_map(journal_line::decode).filter(|(number, _)| *number > found.lines);
    let count = later.count();
    if count > 0 {
        let after = found.lines;
        tracing::error!(path = %path.display(), after, count, "a journal is damaged: steps after it cannot be used");
    }
}

/// All journals, the oldest first.
fn journals(dir: &Path, run: &RunName, files: &FilesOfRun) -> Vec<(Number, PathBuf)> {
    let open = files.journals.iter().map(|number| (*number, Kind::Journal));
    let ended = files.ended.iter().map(|number| (*number, Kind::Ended));
    let mut all: Vec<_> = open.chain(ended).collect();
    all.sort_by_key(|(number, _)| *number);
    let path = |(number, kind)| (number, files::path(dir, number, run, kind));
    all.into_iter().map(path).collect()
}

/// The journals that have what comes after a checkpoint: the one that was written then, and
/// those since.
fn journals_since(
    dir: &Path,
    run: &RunName,
    files: &FilesOfRun,
    base: Number,
) -> impl Iterator<Item = (Number, PathBuf)> {
    let all = journals(dir, run, files);
    let first = all.iter().rposition(|(number, _)| *number <= base).unwrap_or(0);
    all.into_iter().skip(first)
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, PersistenceError> {
    files::read(disk, path).map_err(|error| PersistenceError::storage("cannot read", path, error))
}

fn newer(path: &Path, version: u64) -> PersistenceError {
    let message = format!(
        "{} is of format {version}, which a newer version wrote: use that version, or move the file away",
        path.display()
    );
    PersistenceError::new(PersistenceErrorKind::Newer, message)
}
