//! Which files are the prototype's, and whose turn they are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use backhaul_store::{Disk, is_segment};
use uuid::Uuid;

use super::report::Report;
use super::{FILES_METADATA, FOLDERS, Source};
use crate::error::TraceError;
use crate::kind::Kind;
use crate::offline::names;
use crate::offline::whole_file::{self, failed};

/// How a file of the prototype is called once nobody can take it for a segment.
const CLAIMED: &str = ".prototype";
/// In names of files that the prototype itself has delivered.
const DELIVERED: &str = ".synced.";

/// The prototype's files that are not done, each under a name that no other ever had.
pub(super) fn claim(
    disk: &dyn Disk,
    roots: &[PathBuf],
    report: &Report,
) -> Result<Vec<Source>, TraceError> {
    let mut sources = Vec::new();
    for folder in FOLDERS {
        for dir in roots.iter().map(|root| root.join(folder)) {
            sources.extend(claim_in(disk, folder, dir, report)?);
        }
    }
    Ok(sources)
}

fn claim_in(
    disk: &dyn Disk,
    folder: &'static str,
    dir: PathBuf,
    report: &Report,
) -> Result<Vec<Source>, TraceError> {
    let mut sources = Vec::new();
    let mut has_new = false;
    for entry in names::list(disk, &dir)?.into_iter().filter(|entry| !entry.is_dir) {
        let source = Source { folder, dir: dir.clone(), name: entry.name };
        if source.name.ends_with(CLAIMED) {
            match report.of(&source) {
                None => sources.push(source),
                Some(done) if done.is_whole() => remove_all(disk, [source.path()].into_iter())?,
                Some(_) => {}
            }
        } else if is_undelivered(&source.name) && is_foreign(disk, &source.path()) {
            sources.push(give_name(disk, source)?);
            has_new = true;
        }
    }
    if has_new {
        whole_file::sync_dir(disk, &dir)?;
    }
    // The names begin with a day and a number of that day.
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sources)
}

fn is_undelivered(name: &str) -> bool {
    (name.ends_with(".jsonl") || name.ends_with(".jsonl.gz")) && !name.contains(DELIVERED)
}

/// What cannot be read is left alone.
fn is_foreign(disk: &dyn Disk, path: &Path) -> bool {
    is_segment(disk, path).is_ok_and(|is_segment| !is_segment)
}

/// The random part keeps a later file of the same name from being taken for this one.
fn give_name(disk: &dyn Disk, source: Source) -> Result<Source, TraceError> {
    let random = Uuid::new_v4().simple().to_string();
    let name = format!("{}.{}{CLAIMED}", source.name, random.get(..16).unwrap_or_default());
    let path = source.path();
    disk.rename(&path, &source.dir.join(&name))
        .map_err(|error| failed("rename a file", &path, error))?;
    Ok(Source { name, ..source })
}

/// The files of a kind that the prototype has delivered, with their lengths.
pub(in crate::offline) fn delivered(
    disk: &dyn Disk,
    roots: &[PathBuf],
    kind: Kind,
) -> Result<Vec<(PathBuf, u64)>, TraceError> {
    let mut files = Vec::new();
    let of_kind = |folder: &&str| match *folder {
        FILES_METADATA => kind == Kind::Files,
        folder => folder == kind.name(),
    };
    let folders = || FOLDERS.into_iter().filter(of_kind);
    for dir in roots.iter().flat_map(|root| folders().map(|folder| root.join(folder))) {
        for entry in names::list(disk, &dir)? {
            let path = dir.join(&entry.name);
            let is_delivered = !entry.is_dir
                && entry.name.contains(".jsonl")
                && entry.name.contains(DELIVERED)
                && is_foreign(disk, &path);
            files.extend(is_delivered.then_some((path, entry.len)));
        }
    }
    Ok(files)
}

/// Removes files that may be gone already, durably.
pub(super) fn remove_all(
    disk: &dyn Disk,
    paths: impl Iterator<Item = PathBuf>,
) -> Result<(), TraceError> {
    let mut dirs = BTreeSet::new();
    for path in paths {
        match disk.remove(&path) {
            Ok(()) => dirs.extend(path.parent().map(Path::to_owned)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("remove a file", &path, error)),
        }
    }
    dirs.iter().try_for_each(|dir| whole_file::sync_dir(disk, dir))
}
