//! A file of a disk, read from one end to the other.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use backhaul_store::{Disk, DiskFile, Open};

/// Reads a file through the [`Disk`] that it lies on.
#[derive(Debug)]
pub(super) struct DiskReader {
    file: Box<dyn DiskFile>,
    at: u64,
}

impl DiskReader {
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> io::Result<BufReader<Self>> {
        Ok(BufReader::new(Self { file: disk.open(path, Open::Read)?, at: 0 }))
    }
}

impl Read for DiskReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for DiskReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(by) => self.file.len()?.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
