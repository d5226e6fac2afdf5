//! What the hub has seen, on disk: a window per source, its void ranges, and the
//! idempotency keys of other clients.
//!
//! Changes are made without a flush; a snapshot makes them durable together with the
//! places in the spool that they cover, and what was stored after those places is noted
//! again when the hub is opened, from what the records say of themselves. So a record
//! costs the one flush of its spool. Of records that were delivered and removed this
//! file alone tells: it must not be lost in a power cut (see `seen_file`), and no
//! segment is removed before a snapshot covers it (`Options::keep_until_released`).
//!
//! A wrong answer loses a record, so that no byte is believed unchecked: each value
//! ends with a CRC-32 of its key and itself, and a panic of the database is damage.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use backhaul_store::{Chain, DeviceId, Disk, Open, Sequence, Timestamp};
use redb::{
    Database, Durability, ReadableDatabase as _, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};
use sha2::{Digest as _, Sha256};

use super::origin::Source;
use super::seen_file::SeenFile;
use super::window::{Known, Window};

type SourceKey = [u8; Source::LEN];
type KeyDigest = [u8; 16];

const SOURCES: TableDefinition<'_, &SourceKey, &[u8]> = TableDefinition::new("sources");
/// The first sequence of each range, with the last.
const VOIDS: TableDefinition<'_, (&SourceKey, u64), &[u8]> = TableDefinition::new("voids");
/// Keys with the second in which they came.
const KEYS: TableDefinition<'_, &KeyDigest, &[u8]> = TableDefinition::new("keys");
/// Only says where to look in `KEYS`, and is not believed without it.
const KEYS_BY_AGE: TableDefinition<'_, (u64, &KeyDigest), ()> = TableDefinition::new("keys_by_age");
/// The first place of each chain that a snapshot does not cover.
const PLACES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("places");
const ABOUT: TableDefinition<'_, &str, &str> = TableDefinition::new("about");

const FORMAT: &str = "format";
const SPOOL: &str = "spool";
const CURRENT_FORMAT: &str = "2";

/// Pages of the database that are kept in memory, of all devices together. A page that is
/// not costs a read, most often from the system's own cache: with 4 MiB ten thousand devices
/// were served no faster.
const CACHE_BYTES: usize = 1 << 20;

/// Up to this size a file is read as a whole when it is opened, and the checksum of
/// each page compared: some tenths of a second.
const MAX_CHECKED_BYTES: u64 = 256 << 20;

/// Keys forgotten in one snapshot, so that none takes long.
const FORGET_AT_ONCE: usize = 50_000;

pub(crate) type Result<T> = std::result::Result<T, redb::Error>;

/// The idempotency key of a client, in the form in which it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(KeyDigest);

impl Key {
    /// The key of a label; labels of long keys are digests already.
    pub(crate) fn of_label(label: &str) -> Self {
        Self::of_bytes(label.as_bytes())
    }

    /// The key of a request's label: no text begins with this byte.
    pub(crate) fn of_request_label(label: &str) -> Self {
        Self::of_bytes(&[&[0xff], label.as_bytes()].concat())
    }

    fn of_bytes(text: &[u8]) -> Self {
        let digest = Sha256::digest(text);
        let mut bytes = KeyDigest::default();
        bytes.iter_mut().zip(digest).for_each(|(byte, part)| *byte = part);
        Self(bytes)
    }

    /// A number that differs from key to key.
    pub(crate) fn hash(self) -> u64 {
        self.0.into_iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(byte))
    }
}

/// Something that was stored, and has to be known from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    /// The sender's floor.
    Floor(Source, u64),
    /// A record of another backhaul.
    Sequence(Source, u64),
    /// A record with a key, and when it came.
    Key(Key, Timestamp),
}

/// The database.
#[derive(Debug)]
pub(crate) struct Seen {
    database: Database,
    key_age: Duration,
}

impl Seen {
    /// Opens the database, making it where there is none.
    ///
    /// # Errors
    /// [`redb::Error::DatabaseAlreadyOpen`] while another process has it open; other
    /// errors mean that the file has to be made anew.
    pub(crate) fn open(
        disk: &dyn Disk,
        path: &Path,
        spool: DeviceId,
        key_age: Duration,
    ) -> Result<Self> {
        guarded(|| {
            let file = disk.open(path, Open::Create)?;
            let is_small = file.len()? <= MAX_CHECKED_BYTES;
            let mut builder = Database::builder();
            builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(is_small);
            Self::prepare(builder.create_with_backend(SeenFile::new(file))?, spool, key_age)
        })
    }

    /// A database for this process alone, while the disk takes none.
    pub(crate) fn in_memory(spool: DeviceId, key_age: Duration) -> Result<Self> {
        let memory = redb::backends::InMemoryBackend::new();
        Self::prepare(Database::builder().create_with_backend(memory)?, spool, key_age)
    }

    fn prepare(database: Database, spool: DeviceId, key_age: Duration) -> Result<Self> {
        let seen = Self { database, key_age };
        let transaction = seen.database.begin_write()?;
        {
            let mut about = transaction.open_table(ABOUT)?;
            let is_other = |about: &Table<'_, &str, &str>, key: &str, expected: &str| {
                let found = about.get(key)?.map(|found| found.value().to_owned());
                Ok::<_, redb::Error>(found.filter(|found| found != expected))
            };
            if let Some(format) = is_other(&about, FORMAT, CURRENT_FORMAT)? {
                let reason = format!("it has format {format}, expected {CURRENT_FORMAT}");
                return Err(redb::Error::Corrupted(reason));
            }
            if let Some(other) = is_other(&about, SPOOL, &spool.to_string())? {
                let reason = format!("it belongs to the spool {other}, this is {spool}");
                return Err(redb::Error::Corrupted(reason));
            }
            about.insert(FORMAT, CURRENT_FORMAT)?;
            about.insert(SPOOL, spool.to_string().as_str())?;
            transaction.open_table(SOURCES)?;
            transaction.open_table(VOIDS)?;
            transaction.open_table(KEYS)?;
            transaction.open_table(KEYS_BY_AGE)?;
            transaction.open_table(PLACES)?;
        }
        transaction.commit()?;
        Ok(seen)
    }

    /// The places in the spool from which on records are not covered.
    pub(crate) fn places(&self) -> Result<BTreeMap<Chain, Sequence>> {
        guarded(|| {
            let places = self.database.begin_read()?.open_table(PLACES)?;
            let mut found = BTreeMap::new();
            for place in places.iter()? {
                let (chain, next) = place?;
                let next = unseal_number(chain.value().as_bytes(), next.value())?;
                if let Ok(chain) = chain.value().parse() {
                    found.insert(chain, Sequence(next));
                }
            }
            Ok(found)
        })
    }

    /// The floor of a source; 1 where it was never seen.
    pub(crate) fn floor(&self, source: Source) -> Result<u64> {
        guarded(|| {
            let sources = self.database.begin_read()?.open_table(SOURCES)?;
            Ok(load(&sources, &source.to_bytes())?.floor())
        })
    }

    /// For each sequence of a source, whether it was seen.
    pub(crate) fn know_sequences(&self, source: Source, sequences: &[u64]) -> Result<Vec<bool>> {
        guarded(|| {
            let transaction = self.database.begin_read()?;
            let voids = transaction.open_table(VOIDS)?;
            let key = source.to_bytes();
            let window = load(&transaction.open_table(SOURCES)?, &key)?;
            sequences
                .iter()
                .map(|&sequence| {
                    Ok(match window.known(sequence) {
                        Known::Seen => true,
                        Known::New => false,
                        Known::IfVoid => void_around(&voids, &key, sequence)?.is_none(),
                    })
                })
                .collect()
        })
    }

    /// For each key, whether it was seen and is remembered yet.
    pub(crate) fn know_keys(&self, keys: &[Option<Key>], now: Timestamp) -> Result<Vec<bool>> {
        guarded(|| {
            let known = self.database.begin_read()?.open_table(KEYS)?;
            let oldest = self.oldest(now);
            keys.iter()
                .map(|key| {
                    let Some(Key(digest)) = key else { return Ok(false) };
                    let Some(at) = known.get(digest)? else { return Ok(false) };
                    Ok(unseal_number(digest, at.value())? >= oldest)
                })
                .collect()
        })
    }

    /// Notes what was stored. Not durable before the next snapshot.
    pub(crate) fn note(&self, notes: &[Note]) -> Result<()> {
        guarded(|| {
            if notes.is_empty() {
                return Ok(());
            }
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(Durability::None).map_err(redb::Error::from)?;
            write_notes(&transaction, notes)?;
            transaction.commit()?;
            Ok(())
        })
    }

    /// Makes everything noted so far durable, as covering the spool up to `places`.
    pub(crate) fn snapshot(
        &self,
        places: &BTreeMap<Chain, Sequence>,
        now: Timestamp,
    ) -> Result<()> {
        guarded(|| {
            let mut transaction = self.database.begin_write()?;
            // Without it, opening after a crash would read the whole database.
            transaction.set_quick_repair(true);
            self.forget(&transaction, now)?;
            {
                let mut table = transaction.open_table(PLACES)?;
                for (chain, next) in places {
                    let chain = chain.to_string();
                    table
                        .insert(chain.as_str(), seal_number(chain.as_bytes(), next.0).as_slice())?;
                }
            }
            transaction.commit()?;
            Ok(())
        })
    }

    /// Forgets keys that are too old.
    fn forget(&self, transaction: &WriteTransaction, now: Timestamp) -> Result<()> {
        let mut keys = transaction.open_table(KEYS)?;
        let mut by_age = transaction.open_table(KEYS_BY_AGE)?;
        let end = (self.oldest(now), &KeyDigest::default());
        let aged = by_age.extract_from_if(..end, |_, ()| true)?.take(FORGET_AT_ONCE);
        for entry in aged {
            let (place, _) = entry?;
            let (at, digest) = place.value();
            // The same key may have come again since.
            let newest = match keys.get(digest)? {
                Some(newest) => unseal_number(digest, newest.value())?,
                None => at,
            };
            if newest <= at {
                keys.remove(digest)?;
            }
        }
        Ok(())
    }

    /// The second before which keys are forgotten.
    fn oldest(&self, now: Timestamp) -> u64 {
        seconds(now).saturating_sub(self.key_age.as_secs())
    }
}

/// What the database does, with its panics as errors: it trusts its files, and a
/// damaged one has it reach beyond its arrays.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
        Err(redb::Error::Corrupted(format!("the database panicked: {text}")))
    })
}

/// A value as it is kept: with a CRC-32 of its key and itself behind it.
fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    let crc = crc_of(key, value).to_le_bytes();
    [value, &crc].concat()
}

fn unseal<'a>(key: &[u8], sealed: &'a [u8]) -> Result<&'a [u8]> {
    match sealed.split_last_chunk() {
        Some((value, crc)) if *crc == crc_of(key, value).to_le_bytes() => Ok(value),
        _ => Err(redb::Error::Corrupted("a row is not what was written".to_owned())),
    }
}

fn seal_number(key: &[u8], number: u64) -> Vec<u8> {
    seal(key, &number.to_le_bytes())
}

fn unseal_number(key: &[u8], sealed: &[u8]) -> Result<u64> {
    let bytes = unseal(key, sealed)?.try_into();
    let bytes = bytes.map_err(|_| redb::Error::Corrupted("a row has another size".to_owned()))?;
    Ok(u64::from_le_bytes(bytes))
}

fn crc_of(key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}

fn void_key(source: &SourceKey, first: u64) -> Vec<u8> {
    [source.as_slice(), &first.to_be_bytes()].concat()
}

fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_micros() / 1_000_000).unwrap_or(0)
}

fn write_notes(transaction: &WriteTransaction, notes: &[Note]) -> Result<()> {
    let mut sources = transaction.open_table(SOURCES)?;
    let mut voids = transaction.open_table(VOIDS)?;
    let mut keys = transaction.open_table(KEYS)?;
    let mut by_age = transaction.open_table(KEYS_BY_AGE)?;
    // The window at hand, which the next note is most likely about.
    let mut open: Option<(Source, Window)> = None;
    for note in notes {
        let (source, sequence) = match *note {
            Note::Floor(source, _) => (source, None),
            Note::Sequence(source, sequence) => (source, Some(sequence)),
            Note::Key(Key(digest), at) => {
                keys.insert(&digest, seal_number(&digest, seconds(at)).as_slice())?;
                by_age.insert((seconds(at), &digest), ())?;
                continue;
            }
        };
        let key = source.to_bytes();
        let mut window = match open.take() {
            Some((current, window)) if current == source => window,
            other => {
                store(&mut sources, other)?;
                load(&sources, &key)?
            }
        };
        if let Note::Floor(_, floor) = *note {
            for range in window.advance(floor) {
                add_void(&mut voids, &key, range)?;
            }
        }
        if let Some(sequence) = sequence.filter(|sequence| !window.note(*sequence)) {
            take_from_voids(&mut voids, &key, sequence)?;
        }
        open = Some((source, window));
    }
    store(&mut sources, open)
}

fn load(
    sources: &impl ReadableTable<&'static SourceKey, &'static [u8]>,
    key: &SourceKey,
) -> Result<Window> {
    let Some(row) = sources.get(key)? else { return Ok(Window::new()) };
    Window::from_bytes(unseal(key, row.value())?)
        .ok_or_else(|| redb::Error::Corrupted("a source's row has another size".to_owned()))
}

fn store(
    sources: &mut Table<'_, &SourceKey, &[u8]>,
    window: Option<(Source, Window)>,
) -> Result<()> {
    if let Some((source, window)) = window {
        let key = source.to_bytes();
        sources.insert(&key, seal(&key, &window.to_bytes()).as_slice())?;
    }
    Ok(())
}

/// The void range that holds a sequence.
fn void_around(
    voids: &impl ReadableTable<(&'static SourceKey, u64), &'static [u8]>,
    key: &SourceKey,
    sequence: u64,
) -> Result<Option<RangeInclusive<u64>>> {
    let Some(found) = voids.range((key, 0)..=(key, sequence))?.next_back() else {
        return Ok(None);
    };
    let (place, last) = found?;
    let first = place.value().1;
    let range = first..=unseal_number(&void_key(key, first), last.value())?;
    Ok(range.contains(&sequence).then_some(range))
}

/// Adds a range above all others of its source.
fn add_void(
    voids: &mut Table<'_, (&SourceKey, u64), &[u8]>,
    key: &SourceKey,
    range: RangeInclusive<u64>,
) -> Result<()> {
    let (first, last) = range.into_inner();
    let joined = match first.checked_sub(1) {
        Some(before) => void_around(voids, key, before)?.map(|range| *range.start()),
        None => None,
    };
    insert_void(voids, key, joined.unwrap_or(first), last)
}

fn insert_void(
    voids: &mut Table<'_, (&SourceKey, u64), &[u8]>,
    key: &SourceKey,
    first: u64,
    last: u64,
) -> Result<()> {
    voids.insert((key, first), seal_number(&void_key(key, first), last).as_slice())?;
    Ok(())
}

fn take_from_voids(
    voids: &mut Table<'_, (&SourceKey, u64), &[u8]>,
    key: &SourceKey,
    sequence: u64,
) -> Result<()> {
    let Some(range) = void_around(voids, key, sequence)? else { return Ok(()) };
    let (first, last) = range.into_inner();
    voids.remove((key, first))?;
    if first < sequence {
        insert_void(voids, key, first, sequence - 1)?;
    }
    if sequence < last {
        insert_void(voids, key, sequence + 1, last)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use backhaul_store::OsDisk;

    use super::*;

    const SPOOL: DeviceId = DeviceId(uuid::Uuid::from_u128(1));

    fn source() -> Source {
        "6ba7b8109dad11d180b400c04fd430c8/0000beef/normal".parse().unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn open(dir: &Path) -> Seen {
        Seen::open(&OsDisk, &dir.join("seen.redb"), SPOOL, Duration::from_secs(100)).unwrap()
    }

    fn voids(seen: &Seen) -> Vec<(u64, u64)> {
        let table = seen.database.begin_read().unwrap().open_table(VOIDS).unwrap();
        let ranges = table.iter().unwrap().map(|entry| {
            let (first, last) = entry.unwrap();
            let (source, first) = first.value();
            (first, unseal_number(&void_key(source, first), last.value()).unwrap())
        });
        ranges.collect()
    }

    #[test]
    fn void_ranges_join_when_the_floor_moves_and_split_when_a_record_comes() {
        let dir = tempfile::tempdir().unwrap();
        let seen = open(dir.path());
        let floor = |floor| seen.note(&[Note::Floor(source(), floor)]).unwrap();
        let record = |sequence| seen.note(&[Note::Sequence(source(), sequence)]).unwrap();
        floor(10);
        floor(20);
        assert_eq!(voids(&seen), [(1, 19)]);
        record(25);
        floor(30);
        assert_eq!(voids(&seen), [(1, 24), (26, 29)]);
        [7, 1, 24, 27, 26].into_iter().for_each(record);
        assert_eq!(voids(&seen), [(2, 6), (8, 23), (28, 29)]);
        record(7);
        assert_eq!(voids(&seen), [(2, 6), (8, 23), (28, 29)]);
        let known = seen.know_sequences(source(), &[7, 8, 23, 24, 30]).unwrap();
        assert_eq!(known, [true, false, false, true, false]);
    }

    #[test]
    fn what_a_snapshot_does_not_cover_is_gone_with_the_process_and_its_place_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let seen = open(dir.path());
        let chain: Chain = "normal".parse().unwrap();
        let places = BTreeMap::from([(chain, Sequence(2))]);
        seen.note(&[Note::Floor(source(), 1), Note::Sequence(source(), 1)]).unwrap();
        seen.snapshot(&places, at(0)).unwrap();
        seen.note(&[Note::Sequence(source(), 2)]).unwrap();
        let copy = tempfile::tempdir().unwrap();
        // As a kill leaves the file.
        std::fs::copy(dir.path().join("seen.redb"), copy.path().join("seen.redb")).unwrap();
        let seen = open(copy.path());
        assert_eq!(seen.places().unwrap(), places);
        assert_eq!(seen.know_sequences(source(), &[1, 2]).unwrap(), [true, false]);
    }

    #[test]
    fn keys_are_known_for_their_time_and_then_leave_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let seen = open(dir.path());
        let keys = ["old", "again", "new"].map(Key::of_label);
        seen.note(&keys.map(|key| Note::Key(key, at(1000)))).unwrap();
        seen.note(&[Note::Key(keys[1], at(1050)), Note::Key(keys[2], at(1060))]).unwrap();
        let wanted = keys.map(Some);
        assert_eq!(seen.know_keys(&wanted, at(1100)).unwrap(), [true, true, true]);
        assert_eq!(seen.know_keys(&wanted, at(1101)).unwrap(), [false, true, true]);
        seen.snapshot(&BTreeMap::new(), at(1155)).unwrap();
        assert_eq!(seen.know_keys(&wanted, at(0)).unwrap(), [false, false, true]);
        let by_age = seen.database.begin_read().unwrap().open_table(KEYS_BY_AGE).unwrap();
        assert_eq!(by_age.iter().unwrap().count(), 1);
    }

    #[test]
    fn the_database_of_another_spool_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        let other = DeviceId(uuid::Uuid::from_u128(2));
        let path = dir.path().join("seen.redb");
        let error = Seen::open(&OsDisk, &path, other, Duration::from_secs(1)).unwrap_err();
        assert!(matches!(error, redb::Error::Corrupted(_)), "{error}");
    }

    #[test]
    fn a_row_that_is_not_what_was_written_is_damage_and_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        let seen = open(dir.path());
        seen.note(&[Note::Floor(source(), 5), Note::Sequence(source(), 5)]).unwrap();
        let key = source().to_bytes();
        let mut row = {
            let table = seen.database.begin_read().unwrap().open_table(SOURCES).unwrap();
            table.get(&key).unwrap().unwrap().value().to_vec()
        };
        row[9] ^= 1;
        let transaction = seen.database.begin_write().unwrap();
        transaction.open_table(SOURCES).unwrap().insert(&key, row.as_slice()).unwrap();
        transaction.commit().unwrap();
        let error = seen.know_sequences(source(), &[5, 6]).unwrap_err();
        assert!(matches!(error, redb::Error::Corrupted(_)), "{error}");
    }

    #[test]
    fn a_panic_of_the_database_is_damage() {
        let error = guarded::<()>(|| panic!("index {} out of bounds", 7)).unwrap_err();
        assert!(error.to_string().contains("index 7 out of bounds"), "{error}");
    }
}
