//! What came of each file of the prototype.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use backhaul_store::Disk;
use serde::{Deserialize, Serialize};

use super::Source;
use crate::error::TraceError;
use crate::offline::whole_file;

/// In the folder of a project: by file, what was taken over of it.
const FILE: &str = "prototype.json";

/// What was taken over of data that the prototype of Weave's offline mode had stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Imported {
    /// Files that were read.
    pub files: u64,
    /// Records that were taken over.
    pub records: u64,
    /// Lines that are no records, places at which bytes could not be read, and records of
    /// files whose bytes are not there. The files stay, called `….prototype`.
    pub damaged: u64,
    /// References that lead nowhere: the prototype answered random digests and did not write
    /// them down, and these could not be told by their times.
    pub unresolved: u64,
}

impl Imported {
    /// Whether all that there was could be read.
    pub fn is_whole(&self) -> bool {
        self.damaged == 0
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.records += other.records;
        self.damaged += other.damaged;
        self.unresolved += other.unresolved;
    }
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, records, damaged, unresolved } = self;
        write!(
            f,
            "{records} records of {files} files, {damaged} damaged, {unresolved} dangling references"
        )
    }
}

/// By `folder/name`, what came of a file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Report(BTreeMap<String, Imported>);

impl Report {
    /// One that cannot be read is begun anew: it only spares work.
    pub(super) fn read(disk: &dyn Disk, folder: &Path) -> Result<Self, TraceError> {
        let content = whole_file::read(disk, &folder.join(FILE))?;
        Ok(content.and_then(|content| serde_json::from_slice(&content).ok()).unwrap_or_default())
    }

    pub(super) fn write(&self, disk: &dyn Disk, folder: &Path) -> Result<(), TraceError> {
        let content = serde_json::to_vec_pretty(self).unwrap_or_default();
        whole_file::replace(disk, &folder.join(FILE), &content)
    }

    /// What came of a file that is done.
    pub(super) fn of(&self, source: &Source) -> Option<&Imported> {
        self.0.get(&key(source))
    }

    pub(super) fn add(&mut self, source: &Source, imported: Imported) {
        self.0.insert(key(source), imported);
    }

    pub(super) fn total(&self) -> Imported {
        let mut total = Imported::default();
        self.0.values().for_each(|imported| total.add(imported));
        total
    }
}

fn key(source: &Source) -> String {
    format!("{}/{}", source.folder, source.name)
}
