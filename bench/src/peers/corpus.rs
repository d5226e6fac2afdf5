//! The records that all stores are given: a file with a record on each line.

use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::engines::folder;
use crate::records::record;

/// A file of records, until this is dropped.
pub struct Corpus {
    path: TempPath,
    pub records: Vec<Vec<u8>>,
}

impl Corpus {
    pub fn new(records: u64) -> Self {
        Self::of((0..records).map(record).collect())
    }

    /// At least so many bytes.
    pub fn of_bytes(wanted: usize) -> Self {
        let mut bytes = 0;
        let records = (0..).map(record).take_while(|record| {
            let is_wanted = bytes < wanted;
            bytes += record.len();
            is_wanted
        });
        Self::of(records.collect())
    }

    pub fn bytes(&self) -> usize {
        self.records.iter().map(Vec::len).sum()
    }

    fn of(records: Vec<Vec<u8>>) -> Self {
        let file = tempfile::NamedTempFile::new_in(folder()).expect("a file");
        let mut lines = records.join(&b'\n');
        lines.push(b'\n');
        std::fs::write(file.path(), lines).expect("records");
        Self { path: file.into_temp_path(), records }
    }

    pub fn path(&self) -> PathBuf {
        self.path.to_path_buf()
    }
}

/// The records of a file.
pub fn read(path: &Path) -> Vec<Vec<u8>> {
    let lines = std::fs::read(path).expect("records");
    lines.trim_ascii_end().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// A record with a number before its other fields.
pub fn numbered(number: u64, body: &[u8]) -> Vec<u8> {
    [format!("{{\"number\":{number},").as_bytes(), &body[1..]].concat()
}

/// The number that a record was given.
pub fn number_of(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body.strip_prefix(b"{\"number\":")?).ok()?;
    text.split_once(',')?.0.parse().ok()
}
