//! The file of what the hub has seen, as redb asks for it: on the disk of the spool, so
//! that a test can own every byte and every flush of both.
//!
//! redb never overwrites a page that counts, but for its first one, the header. A power
//! cut may leave anything in a page that is being written (docs/format.md), and without
//! its header the database is lost as a whole. So the header stands twice, with a count
//! and a CRC-32: it is written to the place that does not hold the one flushed last,
//! and the newest that is whole counts.
//!
//! | bytes | content |
//! |---|---|
//! | 0 to 4095 | CRC-32 of what follows, four zeros, count (8 bytes), redb's bytes 0 to 4079 |
//! | 4096 to 8191 | the same, of an older or a newer count |
//! | from 8192 on | redb's bytes from 4096 on |

use std::io;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError, RwLock};

use backhaul_store::DiskFile;
use redb::{BackendError, StorageBackend};

/// What a medium writes at once, and the size of redb's pages.
const PAGE: usize = 4096;
/// Bytes of redb's first page that are kept. It uses the first 320.
const HEAD: usize = PAGE - PREFIX;
/// CRC, zeros and count.
const PREFIX: usize = 16;

/// A database's file.
#[derive(Debug)]
pub(crate) struct SeenFile {
    /// Gone once the database is closed: its lock goes with it.
    file: RwLock<Option<Box<dyn DiskFile>>>,
    /// None before it is asked for: redb does that when it has the lock, and before that
    /// another process may write.
    head: Mutex<Option<Head>>,
}

/// The header, as redb wrote it last.
#[derive(Debug)]
struct Head {
    bytes: Vec<u8>,
    /// The count of the header that was flushed last, which stands at the remainder.
    flushed: u64,
    /// Whether it was written since, with the next count and so at the other place.
    is_new: bool,
}

impl Head {
    /// The newest that is whole. Where there is none it is empty, and the file is no
    /// database to redb.
    fn load(file: &dyn DiskFile) -> io::Result<Self> {
        // What a killed process left in the cache counts as flushed from here on.
        file.flush()?;
        let mut newest = Self { bytes: vec![0; HEAD], flushed: 0, is_new: false };
        for place in [0, 1] {
            let mut page = vec![0; PAGE];
            if file.read_at(&mut page, place * PAGE as u64)? == PAGE
                && let Some((count, bytes)) = from_page(&page)
                && count > newest.flushed
            {
                newest = Self { bytes: bytes.to_vec(), flushed: count, is_new: false };
            }
        }
        Ok(newest)
    }
}

impl SeenFile {
    pub(crate) fn new(file: Box<dyn DiskFile>) -> Self {
        Self { file: RwLock::new(Some(file)), head: Mutex::new(None) }
    }

    fn with<T>(&self, work: impl FnOnce(&dyn DiskFile) -> io::Result<T>) -> io::Result<T> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        file.as_deref().map_or_else(|| Err(io::Error::other("the file is closed")), work)
    }

    fn with_head<T>(
        &self,
        work: impl FnOnce(&mut Head, &dyn DiskFile) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        self.with(|file| {
            let head = match &mut *head {
                Some(head) => head,
                none => none.insert(Head::load(file)?),
            };
            work(head, file)
        })
    }

    fn read_head(&self, at: usize, out: &mut [u8]) -> io::Result<()> {
        self.with_head(|head, _| {
            let bytes = head.bytes.get(at..at.saturating_add(out.len()));
            out.copy_from_slice(bytes.ok_or_else(beyond_head)?);
            Ok(())
        })
    }

    fn write_head(&self, at: usize, data: &[u8]) -> io::Result<()> {
        self.with_head(|head, file| {
            let bytes = head.bytes.get_mut(at..at.saturating_add(data.len()));
            bytes.ok_or_else(beyond_head)?.copy_from_slice(data);
            head.is_new = true;
            let count = head.flushed + 1;
            file.write_all_at(&to_page(count, &head.bytes), place_of(count))
        })
    }
}

impl StorageBackend for SeenFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|file| Ok(file.len()?.saturating_sub(PAGE as u64)))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match in_head(offset) {
            Some(at) => self.read_head(at, out),
            None => self.with(|file| match file.read_at(out, offset + PAGE as u64)? {
                read if read == out.len() => Ok(()),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            }),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|file| file.set_len(len + PAGE as u64))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with_head(|head, file| {
            file.flush()?;
            if std::mem::take(&mut head.is_new) {
                head.flushed += 1;
            }
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match in_head(offset) {
            Some(at) => self.write_head(at, data),
            None => self.with(|file| file.write_all_at(data, offset + PAGE as u64)),
        }
    }

    fn close(&self) -> io::Result<()> {
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// The whole file, which is what a single process asks for; redb asks for parts
    /// first, and takes a no for an answer.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        match (start, end) {
            (Bound::Unbounded | Bound::Included(0), Bound::Unbounded) => {
                Ok(self.with(|file| file.try_lock())?)
            }
            _ => Err(BackendError::Unsupported),
        }
    }
}

/// A place in the first page.
fn in_head(offset: u64) -> Option<usize> {
    usize::try_from(offset).ok().filter(|at| *at < PAGE)
}

fn beyond_head() -> io::Error {
    io::Error::other(format!("the database uses more than {HEAD} bytes of its first page"))
}

fn place_of(count: u64) -> u64 {
    count % 2 * PAGE as u64
}

fn to_page(count: u64, bytes: &[u8]) -> Vec<u8> {
    let counted = [&count.to_le_bytes(), bytes].concat();
    let crc = crc32fast::hash(&counted);
    [&crc.to_le_bytes(), &[0; 4][..], &counted].concat()
}

/// The count and redb's bytes, where the page is whole.
fn from_page(page: &[u8]) -> Option<(u64, &[u8])> {
    let (crc, rest) = page.split_first_chunk()?;
    let (_, counted) = rest.split_first_chunk::<4>()?;
    let (count, bytes) = counted.split_first_chunk()?;
    let is_whole = u32::from_le_bytes(*crc) == crc32fast::hash(counted);
    is_whole.then(|| (u64::from_le_bytes(*count), bytes))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use backhaul_store::{Disk as _, Open};
    use backhaul_testkit::SimDisk;

    use super::*;

    const PATH: &str = "/seen";

    fn open(disk: &SimDisk) -> SeenFile {
        SeenFile::new(disk.open(Path::new(PATH), Open::Create).unwrap())
    }

    fn header(file: &SeenFile) -> Vec<u8> {
        let mut bytes = vec![0; 320];
        file.read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_header_that_is_not_whole_gives_way_to_the_one_before() {
        let disk = SimDisk::new();
        let file = open(&disk);
        file.set_len(1 << 20).unwrap();
        for number in 1..=5 {
            // Twice between two flushes, as redb does.
            file.write(0, &[100 + number; 320]).unwrap();
            file.write(0, &[number; 320]).unwrap();
            file.write(PAGE as u64, &[number; PAGE]).unwrap();
            file.sync_data().unwrap();
        }
        drop(file);
        assert_eq!(header(&open(&disk)), [5; 320]);
        for (garbled, left) in [(4096, 4), (0, 0)] {
            // 5 stands in the second place.
            disk.flip_bit(PATH, garbled + 3000, 1).unwrap();
            let file = open(&disk);
            assert_eq!(header(&file), [left; 320]);
            assert_eq!(file.len().unwrap(), 1 << 20);
        }
    }

    #[test]
    fn the_header_that_was_flushed_last_is_never_written_to() {
        let disk = SimDisk::new();
        for number in 1..=6 {
            let file = open(&disk);
            file.write(0, &[number; 320]).unwrap();
            if number % 3 != 0 {
                file.sync_data().unwrap();
            }
            let before = disk.read_file(PATH).unwrap();
            file.write(0, &[200; 320]).unwrap();
            let after = disk.read_file(PATH).unwrap();
            let changed =
                |place: usize| before.get(place..place + PAGE) != after.get(place..place + PAGE);
            assert_ne!(changed(0), changed(PAGE), "{number}");
        }
    }

    #[test]
    fn the_header_is_looked_for_when_the_lock_is_taken_and_not_before() {
        let disk = SimDisk::new();
        let (one, other) = (open(&disk), open(&disk));
        one.write(0, &[1; 320]).unwrap();
        one.sync_data().unwrap();
        one.close().unwrap();
        assert_eq!(header(&other), [1; 320]);
    }

    #[test]
    fn only_one_opening_has_the_lock() {
        let disk = SimDisk::new();
        let (one, other) = (open(&disk), open(&disk));
        let lock = |file: &SeenFile| file.try_lock_range(Bound::Unbounded, Bound::Unbounded);
        assert!(matches!(lock(&one), Ok(true)));
        assert!(matches!(lock(&other), Ok(false)));
        one.close().unwrap();
        assert!(matches!(lock(&other), Ok(true)));
        assert!(one.len().is_err());
    }
}
