//! The run intake: stores what agents and other backhauls send, once, and only then
//! says so.
//!
//! A hub is a spool and what it has seen. Each request is checked as a whole before
//! any of it is stored; requests about one source follow each other, all others
//! share the flushes of the spool.

mod admission;
mod elements;
mod incoming;
pub(crate) mod limits;
mod origin;
mod routes;
mod seen;
mod seen_file;
pub(crate) mod server;
mod stripes;
pub(crate) mod token;
mod window;

#[cfg(test)]
mod fleet;
#[cfg(test)]
mod power_cuts;

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use anyhow::Context as _;
use backhaul_store::{
    Clock, Disk, Layout, OsDisk, RecordId, Spool, StoredRecord, SystemClock, Ticket,
};

pub(crate) use self::incoming::FROM;
use self::incoming::{ClientKey, Incoming};
use self::origin::{Origin, Place, Source};
pub(crate) use self::routes::{Limits, PATHS, Service, router};
use self::seen::{Key, Note, Seen};
use self::stripes::Stripes;
use crate::control::Keeper;
use crate::exit::{self, OrUsage as _};
use crate::intake::Refusal;

/// The folder in the data dir of what the hub has seen.
pub(crate) const FOLDER: &str = "hub";
const DATABASE: &str = "seen.redb";

/// A snapshot is due after this many records, or this many bytes of them (a sixteenth
/// of the cap, where that is less): what is read again at most when the hub is opened
/// after a crash, about a quarter of a second's work, and what has to stay on the disk
/// till then, delivered or not.
const SNAPSHOT_RECORDS: u64 = 4096;
const SNAPSHOT_BYTES: u64 = 32_000_000;

/// How a hub behaves.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) data_dir: PathBuf,
    /// The cap on the spool; none: as long as the disk has room.
    pub(crate) max_bytes: Option<u64>,
    /// How long keys of other clients are remembered.
    pub(crate) key_age: Duration,
    /// A test-only seam: without it every record counts as new.
    pub(crate) deduplicate: bool,
    /// A test-only seam: without it the spool is not read from the last snapshot on.
    pub(crate) catch_up: bool,
    /// A test-only seam: without it segments are removed before a snapshot covers them.
    pub(crate) keep_segments: bool,
}

/// The hub of this data dir is another process's.
#[derive(Debug)]
pub(crate) struct InUse(PathBuf);

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.0.display();
        write!(
            f,
            "another process serves from {place}: stop it, or give this one a --data-dir of its own"
        )
    }
}

impl std::error::Error for InUse {}

/// What became of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Receipt {
    /// Stored by this request.
    pub(crate) accepted: u64,
    /// Here already, and durable.
    pub(crate) duplicates: u64,
}

impl Receipt {
    /// Records of the request.
    fn records(self) -> usize {
        usize::try_from(self.accepted + self.duplicates).unwrap_or(usize::MAX)
    }
}

/// Where records of a fleet come together.
pub(crate) struct Hub {
    options: Options,
    spool: Spool,
    max_record_bytes: usize,
    stripes: Stripes,
    /// Read by requests from before their records are stored until they are noted,
    /// written by snapshots: a snapshot covers whole requests. `None`: it failed, and
    /// is rebuilt from the spool before the next request.
    seen: RwLock<Option<Seen>>,
    /// Whether its file is to be set aside before it is rebuilt.
    damaged: AtomicBool,
    since_snapshot: Unsaved,
    accepted: AtomicU64,
    duplicates: AtomicU64,
    /// Told of each request that stored something.
    listener: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Debug, Default)]
struct Unsaved {
    records: AtomicU64,
    bytes: AtomicU64,
}

impl Hub {
    /// Opens the hub of a data dir, and catches up with its spool.
    pub(crate) fn open(
        options: Options,
        spool_options: backhaul_store::Options,
    ) -> anyhow::Result<Self> {
        let spool_options =
            backhaul_store::Options { max_bytes: options.max_bytes, ..spool_options };
        Self::open_on(options, spool_options, Arc::new(OsDisk), Arc::new(SystemClock::new()))
    }

    /// [`open`](Hub::open) on a given disk and clock: the seam for tests. Both the spool
    /// and what was seen lie on that disk.
    pub(crate) fn open_on(
        options: Options,
        spool_options: backhaul_store::Options,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let most = spool_options.max_record_bytes;
        // The spool takes no record above half its cap.
        let half = spool_options.max_bytes.and_then(|cap| usize::try_from(cap / 2).ok());
        let folder = options.data_dir.join(crate::data_dir::RUNS);
        let spool_options = backhaul_store::Options {
            layout: Layout::Segments,
            keep_until_released: options.keep_segments,
            ..spool_options
        };
        let spool = Spool::open_on(folder, spool_options, disk, clock).map_err(|error| {
            exit::of_store(error, "the spool of received runs cannot be opened".to_owned())
        })?;
        let hub = Self {
            max_record_bytes: half.map_or(most, |half| half.min(most)),
            options,
            spool,
            stripes: Stripes::new(),
            seen: RwLock::new(None),
            damaged: AtomicBool::new(false),
            since_snapshot: Unsaved::default(),
            accepted: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            listener: OnceLock::new(),
        };
        hub.recover()?;
        if let Err(error) = hub.snapshot() {
            tracing::warn!(%error, "the first snapshot failed");
            hub.recover()?;
        }
        Ok(hub)
    }

    /// Has the first listener that is given called after each request that stored
    /// something.
    pub(crate) fn on_stored(&self, listener: impl Fn() + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
    }

    /// Who changes the spool by hand. A hub has to remember what it received before the
    /// records may go: what it has made durable need not stay for its sake.
    pub(crate) fn keeper(self: &Arc<Self>) -> Keeper {
        let hub = Arc::clone(self);
        Keeper::new(self.spool.clone()).before_cleaning(move || hub.snapshot())
    }

    pub(crate) fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Stores what is new in a request's body. Blocks until all of it is durable.
    ///
    /// # Errors
    /// Nothing of the request is acknowledged then. Where the disk gave out midway,
    /// some records may be stored; the same request sent again finds them.
    fn take(
        &self,
        body: &[u8],
        origin: Option<&Origin>,
        request_key: Option<&str>,
    ) -> Result<Receipt, Refusal> {
        let request_key = request_key.filter(|_| origin.is_none());
        let records = incoming::read(body, request_key)?;
        incoming::check_sizes(&records, self.max_record_bytes)?;
        if origin.is_none() {
            incoming::check_keys(&records)?;
        }
        let keys: Vec<Option<Key>> = records
            .iter()
            .map(|record| record.key.as_ref().filter(|_| origin.is_none()))
            .map(|key| key.map(ClientKey::to_seen))
            .collect();
        let source_hash = origin.map(|origin| hash_of(origin.source));
        let key_hashes = keys.iter().flatten().map(|key| key.hash());
        let locked = self.stripes.lock(source_hash.into_iter().chain(key_hashes));
        let seen = self.seen()?;
        let request = Request { hub: self, body, records: &records, keys: &keys, origin };
        let outcome = match seen.as_ref() {
            Some(seen) => request.store(seen),
            None => Err(Failed::Refused(Refusal::unavailable(
                "what was received is being read from the spool again",
            ))),
        };
        drop(seen);
        drop(locked);
        let receipt = match outcome {
            Ok(receipt) => receipt,
            Err(Failed::Refused(refusal)) => {
                // A full spool may remove what a snapshot covers.
                self.snapshot_or_put_off();
                return Err(refusal);
            }
            Err(Failed::Seen(error)) => return Err(self.distrust(&error)),
        };
        self.accepted.fetch_add(receipt.accepted, Ordering::Relaxed);
        self.duplicates.fetch_add(receipt.duplicates, Ordering::Relaxed);
        if let Some(listener) = self.listener.get().filter(|_| receipt.accepted > 0) {
            listener();
        }
        self.snapshot_if_due();
        Ok(receipt)
    }

    /// How many records came since the hub was opened.
    pub(crate) fn receipts(&self) -> Receipt {
        Receipt {
            accepted: self.accepted.load(Ordering::Relaxed),
            duplicates: self.duplicates.load(Ordering::Relaxed),
        }
    }

    /// What was seen, rebuilt first where that failed before.
    fn seen(&self) -> Result<RwLockReadGuard<'_, Option<Seen>>, Refusal> {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        if seen.is_some() {
            return Ok(seen);
        }
        drop(seen);
        self.recover().map_err(|error| {
            tracing::error!(%error, "the record of what was received cannot be rebuilt");
            Refusal::unavailable(format!("cannot tell what is new: {error:#}"))
        })?;
        Ok(self.seen.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// After an error nothing is taken before what was seen is rebuilt.
    fn distrust(&self, error: &redb::Error) -> Refusal {
        tracing::warn!(%error, "the record of what was received failed: it is rebuilt from the spool");
        let mut place = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        self.drop_seen(&mut place, error);
        Refusal::unavailable(format!("cannot note what was received: {error}"))
    }

    fn drop_seen(&self, place: &mut Option<Seen>, error: &redb::Error) {
        if is_damage(error) {
            self.damaged.store(true, Ordering::Relaxed);
        }
        let seen = place.take();
        // A damaged database may panic even when it is closed.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(seen)));
    }

    /// Opens the database, and notes what the spool holds beyond its snapshot. A
    /// damaged file is set aside and made anew; where the disk takes none, what was
    /// seen is kept in memory, so that what waits can be forwarded and make room. What
    /// the spool does not hold any more is forgotten in both cases.
    fn recover(&self) -> anyhow::Result<()> {
        let mut place = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        if place.is_some() {
            return Ok(());
        }
        let path = self.options.data_dir.join(FOLDER).join(DATABASE);
        if self.damaged.load(Ordering::Relaxed) {
            set_aside(self.disk(), &path)?;
            self.damaged.store(false, Ordering::Relaxed);
        }
        let mut opened = self.open_file(&path);
        if let Err(error) = &opened
            && error.downcast_ref().is_some_and(is_damage)
        {
            // The spool says all of it again; the damaged file is kept for inspection.
            tracing::error!(path = %path.display(), %error, "what was received is read from the spool again");
            set_aside(self.disk(), &path)?;
            opened = self.open_file(&path);
        }
        if let Err(error) = &opened
            && error.downcast_ref().is_some_and(is_of_the_disk)
        {
            tracing::warn!(path = %path.display(), error = format!("{error:#}"), "the disk does not take what was received: it is kept in memory until the next start");
            opened = Seen::in_memory(self.spool.device(), self.options.key_age)
                .map_err(anyhow::Error::from)
                .and_then(|seen| self.replay(seen));
        }
        *place = Some(opened?);
        Ok(())
    }

    fn open_file(&self, path: &Path) -> anyhow::Result<Seen> {
        let open = || {
            let disk = self.disk();
            let folder = self.options.data_dir.join(FOLDER);
            disk.create_dir_all(&folder)?;
            let seen = Seen::open(disk, path, self.spool.device(), self.options.key_age)?;
            // Its name has to be as durable as what will be in it.
            disk.sync_dir(&folder)?;
            disk.sync_dir(&self.options.data_dir)?;
            Ok(seen)
        };
        match open() {
            Err(redb::Error::DatabaseAlreadyOpen) => {
                Err(InUse(self.options.data_dir.clone())).or_usage()
            }
            Err(error) => Err(error).with_context(|| format!("cannot open {}", path.display())),
            Ok(seen) => self.replay(seen),
        }
    }

    /// Notes what the records after the last snapshot say of themselves.
    fn replay(&self, seen: Seen) -> anyhow::Result<Seen> {
        if !self.options.catch_up {
            return Ok(seen);
        }
        let mut notes = Vec::new();
        let mut failed = None;
        let mut count = 0_u64;
        self.spool.each_from(&seen.places()?, &mut |record| {
            count += 1;
            notes.extend(notes_of(&record));
            if notes.len() >= 1024 {
                failed = seen.note(&notes).err();
                notes.clear();
            }
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        seen.note(&notes)?;
        if count > 0 {
            tracing::info!(count, "noted records that were stored after the last snapshot");
            self.since_snapshot.records.fetch_add(count, Ordering::Relaxed);
        }
        Ok(seen)
    }

    fn snapshot_if_due(&self) {
        let Unsaved { records, bytes } = &self.since_snapshot;
        let cap = self.options.max_bytes.unwrap_or(u64::MAX);
        let due = records.load(Ordering::Relaxed) >= SNAPSHOT_RECORDS
            || bytes.load(Ordering::Relaxed) >= SNAPSHOT_BYTES.min(cap / 16);
        if due {
            self.snapshot_or_put_off();
        }
    }

    fn snapshot_or_put_off(&self) {
        if let Err(error) = self.snapshot() {
            tracing::warn!(%error, "a snapshot was put off");
        }
    }

    /// Makes durable what was seen, if anything was since the last time; the segments
    /// that it tells of need not stay any more.
    pub(crate) fn snapshot(&self) -> anyhow::Result<()> {
        let mut place = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = place.as_ref() else { return Ok(()) };
        // No request is between storing and noting now.
        let places = self.spool.ends()?;
        if self.since_snapshot.records.load(Ordering::Relaxed) > 0 {
            if let Err(error) = seen.snapshot(&places, self.now()) {
                self.drop_seen(&mut place, &error);
                return Err(error).context("what was received cannot be saved");
            }
            self.since_snapshot.records.store(0, Ordering::Relaxed);
            self.since_snapshot.bytes.store(0, Ordering::Relaxed);
        }
        self.spool.release(&places);
        Ok(())
    }

    fn now(&self) -> backhaul_store::Timestamp {
        self.spool.clock().now().wall
    }

    fn disk(&self) -> &dyn Disk {
        &**self.spool.disk()
    }
}

/// Why a request was not stored, or not wholly.
enum Failed {
    Refused(Refusal),
    /// What was seen is not to be trusted any more.
    Seen(redb::Error),
}

impl From<redb::Error> for Failed {
    fn from(error: redb::Error) -> Self {
        Failed::Seen(error)
    }
}

/// A request under its locks.
struct Request<'a> {
    hub: &'a Hub,
    body: &'a [u8],
    records: &'a [Incoming],
    keys: &'a [Option<Key>],
    origin: Option<&'a Origin>,
}

impl Request<'_> {
    fn store(&self, seen: &Seen) -> Result<Receipt, Failed> {
        let known_floor = match self.origin {
            Some(origin) => seen.floor(origin.source)?,
            None => 1,
        };
        let floor = self.origin.map_or(1, |origin| origin.floor.max(known_floor));
        if let Some(origin) = self.origin {
            origin.check(self.records.len(), floor).map_err(Failed::Refused)?;
        }
        let known = self.known(seen)?;
        let tickets = self.submit(&known, floor);
        let mut notes = Vec::with_capacity(tickets.len() + 1);
        if let Some(origin) = self.origin.filter(|_| floor > known_floor || !tickets.is_empty()) {
            notes.push(Note::Floor(origin.source, floor));
        }
        let mut receipt = Receipt::default();
        let (mut refusal, mut bytes) = (None, 0);
        for (index, ticket) in tickets {
            match ticket.and_then(Ticket::wait) {
                Ok(_) => {
                    receipt.accepted += 1;
                    bytes += self.records.get(index).map_or(0, Incoming::len) as u64;
                    notes.extend(self.note(index));
                }
                Err(error) => {
                    refusal.get_or_insert_with(|| Refusal::from_store(&error, index));
                }
            }
        }
        seen.note(&notes)?;
        let unsaved = &self.hub.since_snapshot;
        unsaved.records.fetch_add(receipt.accepted.max(notes.len() as u64), Ordering::Relaxed);
        unsaved.bytes.fetch_add(bytes, Ordering::Relaxed);
        receipt.duplicates = known.iter().filter(|known| **known).count() as u64;
        refusal.map_or(Ok(receipt), |refusal| Err(Failed::Refused(refusal)))
    }

    /// For each record whether it is here, or comes earlier in this very request.
    fn known(&self, seen: &Seen) -> Result<Vec<bool>, Failed> {
        if !self.hub.options.deduplicate {
            return Ok(vec![false; self.records.len()]);
        }
        if let Some(origin) = self.origin {
            return Ok(seen.know_sequences(origin.source, &origin.sequences)?);
        }
        let mut known = seen.know_keys(self.keys, self.hub.now())?;
        let mut earlier = std::collections::BTreeSet::new();
        for (known, key) in known.iter_mut().zip(self.keys) {
            *known |= key.is_some_and(|key| !earlier.insert(key));
        }
        Ok(known)
    }

    /// Hands all new records to the spool, so that they share its flushes.
    fn submit(&self, known: &[bool], floor: u64) -> Vec<(usize, backhaul_store::Result<Ticket>)> {
        let mut tickets = Vec::new();
        for (index, record) in self.records.iter().enumerate() {
            if known.get(index).is_some_and(|known| *known) {
                continue;
            }
            let record = record.to_record(self.body, self.place(index, floor));
            let ticket = self.hub.spool.submit(record);
            let failed = ticket.is_err();
            tickets.push((index, ticket));
            if failed {
                break;
            }
        }
        tickets
    }

    /// Where a record of another backhaul comes from.
    fn place(&self, index: usize, floor: u64) -> Option<Place> {
        let origin = self.origin?;
        let sequence = *origin.sequences.get(index)?;
        Some(Place { source: origin.source, floor, sequence })
    }

    fn note(&self, index: usize) -> Option<Note> {
        if let Some(place) = self.place(index, 1) {
            return Some(Note::Sequence(place.source, place.sequence));
        }
        let key = self.keys.get(index).copied().flatten()?;
        Some(Note::Key(key, self.hub.now()))
    }
}

/// What a stored record says of where it came from.
fn notes_of(record: &StoredRecord) -> Vec<Note> {
    let labels = &record.facts.labels;
    let mut notes = Vec::new();
    if let Some(from) = labels.get(FROM).and_then(|from| from.parse::<RecordId>().ok()) {
        let floor = labels.get(incoming::FLOOR).and_then(|floor| floor.parse().ok());
        notes.push(Note::Floor(Source::from(from), floor.unwrap_or(1)));
        notes.push(Note::Sequence(Source::from(from), from.position.sequence.0));
    }
    for name in [incoming::KEY, incoming::REQUEST_KEY] {
        let key = labels.get(name).map(|key| incoming::seen_key(name, key));
        notes.extend(key.map(|key| Note::Key(key, record.stamp.wall)));
    }
    notes
}

/// Whether the disk refused, rather than the file being no database.
fn is_of_the_disk(error: &redb::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, IsADirectory, PermissionDenied, UnexpectedEof};
    match error {
        redb::Error::Io(error) => {
            !matches!(error.kind(), InvalidData | IsADirectory | PermissionDenied | UnexpectedEof)
        }
        redb::Error::PreviousIo => true,
        _ => false,
    }
}

/// Whether the file is not what was written.
fn is_damage(error: &redb::Error) -> bool {
    let is_locked = match error {
        redb::Error::Io(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
        redb::Error::DatabaseAlreadyOpen => true,
        _ => false,
    };
    !is_locked && !is_of_the_disk(error)
}

/// Keeps a damaged database for inspection. The latest has a fixed name, unless
/// something is there that cannot be replaced.
fn set_aside(disk: &dyn Disk, path: &Path) -> anyhow::Result<()> {
    let renamed = disk.rename(path, &path.with_extension("damaged")).or_else(|_| {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        disk.rename(path, &path.with_extension(format!("damaged-{}", now.as_micros())))
    });
    match renamed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot set aside {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// FNV-1a: spreads sources over locks, nothing more.
fn hash_of(source: Source) -> u64 {
    source.to_bytes().into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
