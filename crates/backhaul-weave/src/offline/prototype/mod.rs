//! Data of the prototype of Weave's offline mode, taken over into the spools.
//!
//! The prototype's files stand in the same folders and have the names that segments have. Each
//! is first given a name of its own in its folder, `X.jsonl.gz.RANDOM.prototype`; then its
//! records are appended to the spools, each with a label that says file and line, so that what
//! is there already is known after a crash; then the prototype's copies of files go, which stand
//! under their digests by then; then [`report`] says durably that it is done; and at last, if
//! all of it could be read, it is removed. All of that happens under the project's
//! lock and before this process opens one of the project's spools.

mod found;
mod lines;
mod report;
mod stored;
mod translate;
mod versions;

use std::path::PathBuf;

pub use self::report::Imported;
use self::report::Report;
use self::stored::Stored;
use self::translate::Translator;
use super::project_store::ProjectStore;
use crate::error::TraceError;

pub(super) use self::found::delivered;

/// The label of records that were taken over: file and line.
const LABEL: &str = "prototype";
/// The label of files that were taken over: what the prototype called them.
const FILE_ID_LABEL: &str = "prototype_file";
/// The folders in which the prototype kept records, those first whose data others refer to.
const FOLDERS: [&str; 8] =
    [FILES_METADATA, "tables", "ops", "objects", "metadata", "calls", "feedback", "files"];
/// What it knew of files; their bytes lie in `files`.
const FILES_METADATA: &str = "files_metadata";

/// A file of the prototype that is to be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    folder: &'static str,
    dir: PathBuf,
    name: String,
}

impl Source {
    fn path(&self) -> PathBuf {
        self.dir.join(&self.name)
    }
}

/// Takes over what the prototype left of a project. `roots`: the folders that its data may lie
/// in. The caller holds the project's lock.
pub(super) fn take_over(store: &ProjectStore, roots: &[PathBuf]) -> Result<(), TraceError> {
    let disk = &*store.disk;
    let mut report = Report::read(disk, &store.folder)?;
    let sources = found::claim(disk, roots, &report)?;
    if sources.is_empty() {
        return Ok(());
    }
    let stored = Stored::read(store)?;
    let mut translator = Translator::new(store, roots, &stored);
    let mut done = Vec::new();
    for source in sources {
        let outcome = lines::import(store, &source, &stored, &mut translator)?;
        done.extend(outcome.is_whole().then(|| source.path()));
        report.add(&source, outcome);
    }
    found::remove_all(disk, translator.raw_files())?;
    report.write(disk, &store.folder)?;
    tracing::warn!(
        project = %store.id,
        imported = %report.total(),
        "took over what the prototype of Weave's offline mode had stored"
    );
    found::remove_all(disk, done.into_iter())
}

/// What was taken over of a project so far, by whomever.
pub(super) fn imported(store: &ProjectStore) -> Result<Imported, TraceError> {
    Ok(Report::read(&*store.disk, &store.folder)?.total())
}
