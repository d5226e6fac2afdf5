//! Reads all of a spool, and says what is not as it was written; and mends it.

mod attachments;
mod folder;
mod repair;
mod segments;

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::error::Result;
use crate::layout::Store;
use crate::spool::{Inner, Spool};

/// What a spool was found to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Examination {
    /// Files of records that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Sound records in them, whatever became of them.
    pub records: u64,
    /// What is wrong, file by file.
    pub findings: Vec<Finding>,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Below the spool's folder.
    pub path: PathBuf,
    /// The byte of the file at which it begins.
    pub offset: Option<u64>,
    /// What is there.
    pub found: String,
    /// What should be.
    pub expected: String,
    /// What a repair does about it; `None`: it can do nothing.
    pub remedy: Option<String>,
    /// Records that waited or failed, and are lost.
    pub lost: u64,
}

impl Spool {
    /// Reads every byte of the spool. Nothing is changed, and the spool may be live, in this
    /// process or in another one. `told` is told of bytes that were read.
    ///
    /// ```
    /// # use backhaul_store::{Options, Record, Spool};
    /// # let dir = tempfile::tempdir()?;
    /// # let spool = Spool::open(dir.path(), Options::default())?;
    /// spool.append(Record::new("text", b"{}".to_vec()))?;
    /// let examination = spool.examine(&mut |_bytes| {})?;
    /// assert_eq!((examination.records, examination.findings.len()), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Where the disk does not give a file.
    pub fn examine(&self, told: &mut dyn FnMut(u64)) -> Result<Examination> {
        self.inner.check_process()?;
        self.inner.catch_up()?;
        self.inner.examine(told)
    }
}

impl Inner {
    fn examine(&self, told: &mut dyn FnMut(u64)) -> Result<Examination> {
        let mut examination = Examination::default();
        let mut named = BTreeSet::new();
        match &self.store {
            Store::Segments(store) => {
                segments::examine(self, store, &mut examination, &mut named, told)?;
            }
            Store::Folder(store) => {
                folder::examine(self, store, &mut examination, &mut named, told)?;
            }
        }
        attachments::examine(self, &mut examination, &named, told)?;
        self.examine_state(&mut examination)?;
        Ok(examination)
    }

    /// The ledger, and what a crash left half made.
    fn examine_state(&self, examination: &mut Examination) -> Result<()> {
        let damaged = self.courier().ledger.damaged_lines;
        if damaged > 0 {
            examination.findings.push(Finding {
                path: PathBuf::from("state"),
                offset: None,
                found: format!("{damaged} lines of the ledger cannot be read"),
                expected: "lines whose checksums are right".to_owned(),
                remedy: Some(
                    "a new ledger is begun with all that is known; what those lines settled is \
                     sent again"
                        .to_owned(),
                ),
                lost: 0,
            });
        }
        Ok(())
    }
}
