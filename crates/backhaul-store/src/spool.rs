//! The spool: where records wait until they are delivered.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::carry::Naming;
use crate::clock::{Clock, SystemClock};
use crate::commit::{Committer, Ticket};
use crate::context::{Context, STATE, lock_within, try_lock};
use crate::courier::{CourierState, lock_courier};
use crate::disk::{Disk, DiskFile, Open};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::folder::FolderStore;
use crate::high_water::Alert;
use crate::id::{Chain, DeviceId, Position, RecordId, SUMMARIES};
use crate::identity::{Identity, evidence};
use crate::layout::{Built, Prepared, Store};
use crate::ledger::Ledger;
use crate::maintenance;
use crate::misplaced;
use crate::options::{Layout, Options};
use crate::os_disk::OsDisk;
use crate::quota::Quota;
use crate::record::{Flush, Record, Stamp};
use crate::room::Released;
use crate::segment::SegmentStore;

/// The destination that settlements are booked under until a spool has several.
pub const DEFAULT_DESTINATION: &str = "default";
/// The writer number of a spool that is open for reading.
const NO_WRITER: u16 = u16::MAX;
/// Most processes that append to one spool at the same time.
const MAX_WRITERS: u16 = 1024;
const _: () = assert!(MAX_WRITERS <= SUMMARIES, "a writer's records would be named as summaries");

/// A durable queue of records in a folder of its own.
///
/// Cheap to clone; all clones are one spool. Several processes may open one
/// folder: each appends to files of its own, and one of them at a time delivers
/// (see [`take`](Spool::take)). After a fork only the parent may use it.
///
/// ```
/// use backhaul_store::{Options, Record, Spool};
/// let dir = std::env::temp_dir().join(format!("backhaul-doc-{}", std::process::id()));
/// let spool = Spool::open(&dir, Options::default())?;
/// let id = spool.append(Record::new("run", br#"{"run_id": "run_001"}"#.to_vec()))?;
/// // The record is on stable storage now: it survives a power cut.
/// assert_eq!(spool.status()?.books.pending, 1);
/// assert!(id.to_string().ends_with("/normal/1"));
/// # drop(spool);
/// # std::fs::remove_dir_all(&dir).unwrap();
/// # Ok::<(), backhaul_store::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Spool {
    pub(crate) inner: Arc<Inner>,
    /// Closes the spool when the last clone goes, whoever else still looks at it.
    _open: Arc<Handle>,
}

/// What all clones of a spool share.
#[derive(Debug)]
struct Handle(Arc<Inner>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) context: Arc<Context>,
    pub(crate) store: Store,
    pub(crate) writer: u16,
    pub(crate) committer: Committer,
    pub(crate) courier: Mutex<CourierState>,
    /// Appended without a flush, and not flushed since. Only the folder layout has
    /// to know which.
    pub(crate) unflushed: Mutex<Unflushed>,
    pub(crate) trouble: Mutex<Option<String>>,
    pub(crate) alert: Alert,
    /// When the folder was measured last, since boot.
    pub(crate) measured: Mutex<std::time::Duration>,
    pub(crate) attachments: crate::attachments::Pins,
    /// Gone: there is no other reader to wait for.
    pub(crate) released: Option<Released>,
    has_maintainer: AtomicBool,
    /// Made by this very opening: nothing was named before.
    pub(crate) is_new: bool,
    process: u32,
    /// Held for as long as this process owns its writer number. Gone: the spool is
    /// closed, or open for reading.
    writer_lock: Mutex<Option<Box<dyn DiskFile>>>,
}

/// What was written and is not flushed.
#[derive(Debug, Default)]
pub(crate) struct Unflushed {
    positions: Vec<Position>,
    /// A process that had this writer number was killed: any file may be its.
    by_a_dead_process: bool,
}

impl Unflushed {
    /// What the process before left that had the same writer number.
    fn left_by(mark: u64, store: &FolderStore) -> Self {
        let positions = if mark >= FLUSH_FAILED { store.distrust_own() } else { Vec::new() };
        Self { positions, by_a_dead_process: mark >= IN_USE }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.positions.is_empty() && !self.by_a_dead_process
    }
}

impl Spool {
    /// Opens the spool in `dir`, making it where there is none, on the machine's
    /// own disk and clock.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for options that make no sense, [`ErrorKind::Io`]
    /// where the folder cannot be made or written (the message names the path and
    /// the user id), [`ErrorKind::Unsupported`] for files of a newer format.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::open_on(dir, options, Arc::new(OsDisk), Arc::new(SystemClock::new()))
    }

    /// [`open`](Spool::open) on a given disk and clock: the seam for tests.
    pub fn open_on(
        dir: impl AsRef<Path>,
        options: Options,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        Self::open_as(dir.as_ref(), options, disk, clock, None)
    }

    /// Opens the spool in `dir`; where there is none, and records are to be carried into it,
    /// it is made with their naming.
    pub(crate) fn open_as(
        dir: &Path,
        options: Options,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        naming: Option<&Naming>,
    ) -> Result<Self> {
        options.check()?;
        make_folder(&*disk, dir)?;
        misplaced::set_aside(&*disk, dir)?;
        let (identity, is_new, (writer, writer_lock)) = {
            let _lock = lock_identity(&*disk, dir)?;
            let (identity, is_new) = load_or_create_identity(&*disk, dir, &options, naming)?;
            (identity, is_new, claim_writer(&*disk, dir)?)
        };
        let spool =
            Self::assemble(dir, options, disk, clock, identity, writer, Some(writer_lock), is_new)?;
        spool.inner.start()?;
        maintenance::register(&spool.inner);
        Ok(spool)
    }

    /// Opens the spool in `dir` for reading: nothing on disk is changed, and
    /// appending is refused. The spool may be live in another process.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where `dir` holds no spool.
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_read_only_on(dir, Arc::new(OsDisk), Arc::new(SystemClock::new()))
    }

    /// [`open_read_only`](Spool::open_read_only) on a given disk and clock.
    pub fn open_read_only_on(
        dir: impl AsRef<Path>,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let dir = dir.as_ref();
        let identity = Identity::load(&*disk, &identity_path(dir))?.ok_or_else(|| {
            Error::at(ErrorKind::NotFound, dir, "there is no spool in this folder")
        })?;
        let options = Options { layout: identity.layout(), ..Options::default() };
        Self::assemble(dir, options, disk, clock, identity, NO_WRITER, None, false)
    }

    #[allow(clippy::too_many_arguments, reason = "the one place where a spool is put together")]
    fn assemble(
        dir: &Path,
        options: Options,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        identity: Identity,
        writer: u16,
        writer_lock: Option<Box<dyn DiskFile>>,
        is_new: bool,
    ) -> Result<Self> {
        let read_only = writer_lock.is_none();
        let layout = identity.layout();
        let quota = Quota::new(&options, dir);
        let released = options.keep_until_released.then(Released::new);
        let has_maintainer = AtomicBool::new(options.maintenance_thread && !read_only);
        let context = Arc::new(Context {
            dir: dir.to_owned(),
            disk,
            clock,
            identity,
            options,
            quota,
            read_only,
            delivers: AtomicBool::new(false),
        });
        let early = if read_only { None } else { lock_courier(&context)? };
        let store = Store::open(layout, Arc::clone(&context), writer)?;
        let unflushed = match (&writer_lock, &store) {
            (Some(lock), Store::Folder(store)) => Unflushed::left_by(mark(&**lock), store),
            _ => Unflushed::default(),
        };
        let inner = Inner {
            courier: Mutex::new(CourierState::new(Ledger::new(&context.state("")), early)),
            is_new,
            context,
            store,
            writer,
            committer: Committer::default(),
            unflushed: Mutex::new(unflushed),
            trouble: Mutex::default(),
            alert: Alert::default(),
            measured: Mutex::default(),
            attachments: crate::attachments::Pins::default(),
            released,
            has_maintainer,
            process: std::process::id(),
            writer_lock: Mutex::new(writer_lock),
        };
        let inner = Arc::new(inner);
        Ok(Self { _open: Arc::new(Handle(Arc::clone(&inner))), inner })
    }

    /// Appends a record and returns when it has the spool's durability.
    ///
    /// # Errors
    /// Nothing is stored then. [`ErrorKind::InvalidInput`] and [`ErrorKind::TooLarge`]
    /// for a record that can never be stored, [`ErrorKind::Full`] and
    /// [`ErrorKind::Io`] where appending it later may work, [`ErrorKind::Forked`].
    pub fn append(&self, record: Record) -> Result<RecordId> {
        self.submit(record)?.wait()
    }

    /// Hands a record over and returns at once; the [`Ticket`] tells when it is
    /// acknowledged. Many tickets in flight share one flush.
    ///
    /// # Errors
    /// As for [`append`](Spool::append), for what can be told before the commit.
    pub fn submit(&self, record: Record) -> Result<Ticket> {
        self.submit_with(record, self.inner.context.options.flush)
    }

    /// [`submit`](Spool::submit) with a durability of the record's own.
    pub fn submit_with(&self, record: Record, flush: Flush) -> Result<Ticket> {
        let inner = &self.inner;
        inner.check_process()?;
        inner.check_writable()?;
        let max = inner.context.options.max_record_bytes;
        let len = record.body.len();
        if len > max {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "the record has {len} bytes, the spool takes {max}: store the large part as an attachment"
                ),
            ));
        }
        if let Some(cap) = inner.context.quota.max().filter(|&cap| len as u64 > cap / 2) {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "the record has {len} bytes, more than half of the spool's cap of {cap}: raise the cap"
                ),
            ));
        }
        let clock = &inner.context.clock;
        let stamp = Stamp::new(&clock.now(), clock.boot_id(), flush);
        let item = inner.store.prepare(record, stamp)?;
        Ok(inner.committer.add(self, item, len, flush == Flush::Always))
    }

    /// Makes everything that was appended so far durable, whatever its level.
    pub fn flush(&self) -> Result<()> {
        self.inner.check_process()?;
        self.inner.committer.commit_all(&self.inner);
        self.inner.flush_store()
    }

    /// Does what the maintenance thread does: commits what nobody waits for,
    /// flushes, grows, seals, purges. For tests and for hosts without threads.
    pub fn maintain(&self) -> Result<()> {
        self.inner.check_process()?;
        self.inner.maintain()
    }

    /// The spool's folder.
    pub fn dir(&self) -> &Path {
        &self.inner.context.dir
    }

    /// Whether this process is the one that delivers from the spool, settles and cleans.
    /// Another one may be so a moment later.
    pub fn is_delivering(&self) -> bool {
        self.inner.context.delivers.load(Ordering::Relaxed)
    }

    /// The spool's own number, which is part of every record's name.
    pub fn device(&self) -> DeviceId {
        self.inner.context.identity.device()
    }

    /// How records stand on disk.
    pub fn layout(&self) -> Layout {
        self.inner.context.identity.layout()
    }

    /// The clock that the spool uses.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.context.clock
    }

    /// The disk that the spool uses.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.inner.context.disk
    }
}

impl Inner {
    /// # Errors
    /// [`ErrorKind::Forked`]: locks, threads and file positions belong to the parent.
    pub(crate) fn check_process(&self) -> Result<()> {
        let now = std::process::id();
        if now == self.process {
            return Ok(());
        }
        Err(Error::at(
            ErrorKind::Forked,
            &self.context.dir,
            format!(
                "the spool was opened by process {} and is used after a fork by process {now}: \
                 open it again in the child",
                self.process
            ),
        ))
    }

    pub(crate) fn check_writable(&self) -> Result<()> {
        if !self.context.read_only {
            return Ok(());
        }
        Err(Error::at(
            ErrorKind::InvalidInput,
            &self.context.dir,
            "the spool is open for reading only",
        ))
    }

    pub(crate) fn has_maintainer(&self) -> bool {
        self.has_maintainer.load(Ordering::Relaxed)
    }

    pub(crate) fn courier(&self) -> MutexGuard<'_, CourierState> {
        self.courier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws a new epoch, so that no name that was given away is given to another record.
    pub(crate) fn redraw_epoch(&self, why: &str) -> Result<()> {
        let Context { disk, dir, identity, options, .. } = &*self.context;
        let machine = options.machine.clone().or_else(|| evidence(dir));
        let starts = self.store.chains().into_iter().map(|(chain, (_, next))| (chain, next));
        let _lock = lock_identity(&**disk, dir)?;
        identity.redraw(&**disk, &identity_path(dir), machine, starts.collect(), why)
    }

    /// Makes room for the names of carried records.
    pub(crate) fn adopt_naming(&self, naming: &Naming) -> Result<()> {
        let Context { disk, dir, identity, .. } = &*self.context;
        let _lock = lock_identity(&**disk, dir)?;
        let chains = self.store.chains().into_iter();
        let ends = chains.map(|(chain, (_, next))| (chain.to_string(), next)).collect();
        identity.adopt(&**disk, &identity_path(dir), naming, &ends)
    }

    /// Makes the ledger durable; one with lines that cannot be read is begun anew.
    pub(crate) fn flush_ledger_anew(&self) -> Result<()> {
        let mut courier = self.courier();
        if courier.ledger.damaged_lines > 0 {
            courier.ledger.snapshot(&*self.context.disk)?;
            courier.ledger.damaged_lines = 0;
        }
        courier.flush_ledger(self)
    }

    /// What is done once, when the spool was opened.
    fn start(&self) -> Result<()> {
        self.remove_stale_temporaries()?;
        self.measure()?;
        let Context { dir, identity, options, .. } = &*self.context;
        let machine = options.machine.clone().or_else(|| evidence(dir));
        // Processes that live beside each other are on one machine, whatever they see of it.
        if identity.is_other_machine(machine.as_deref()) && crate::attachments::is_alone(self)? {
            self.redraw_epoch("the folder is a copy, or on another machine than before")?;
        }
        self.courier().claim_or_look(self)?;
        self.take_over_from_the_dead()?;
        self.skip_given_sequences()
    }

    /// Files that a crash left half made. Those of living writers stay.
    fn remove_stale_temporaries(&self) -> Result<()> {
        let dir = self.context.state("");
        for entry in self.context.disk.list(&dir).doing("list the state folder", &dir)? {
            if self.is_own_temporary(&entry.name) {
                let path = dir.join(&entry.name);
                self.context.disk.remove(&path).doing("remove a stale file", &path)?;
            }
        }
        Ok(())
    }

    fn is_own_temporary(&self, name: &str) -> bool {
        let Some(stem) = name.strip_suffix(".tmp") else { return false };
        let Some((kind, owner)) = stem.split_once('-') else { return false };
        match kind {
            "new" | "seal" => owner.parse().is_ok_and(|chain: Chain| chain.writer == self.writer),
            "incoming" | "attachment" => {
                owner.split('-').next().is_some_and(|writer| writer == self.writer.to_string())
            }
            _ => false,
        }
    }

    /// Sequences that the ledger mentions were given away, whatever the files say.
    fn skip_given_sequences(&self) -> Result<()> {
        let beyond = self.courier().given_sequences();
        for (chain, beyond) in beyond {
            if chain.writer == self.writer && self.store.next(chain) < beyond {
                let next = self.store.next(chain);
                // Files of what was dropped or delivered go.
                if !self.account(chain, 1).unsettled_between(next, beyond).is_empty() {
                    tracing::warn!(%chain, beyond, "records that the ledger knows are not on disk any more");
                }
                self.store.skip_to(chain, beyond)?;
            }
        }
        Ok(())
    }

    /// Writes one batch, makes room for it where that is allowed, and notes trouble.
    pub(crate) fn commit(
        &self,
        items: &[Prepared],
        built: &mut Built,
        flush: bool,
        rebuild: impl Fn() -> Built,
    ) -> Result<()> {
        if self.is_stale(built) {
            *built = rebuild();
        }
        let mut result = self.write(items, built, flush);
        if let Err(error) = &result
            && error.is_full()
        {
            let bytes: u64 = items.iter().map(Prepared::size_on_disk).sum();
            let lane = items.iter().map(|item| item.record.lane).min().unwrap_or_default();
            if self.courier().make_room(self, bytes, lane)? {
                *built = rebuild();
                result = self.write(items, built, flush);
            }
        }
        match &result {
            Ok(()) if !flush => {}
            Ok(()) => self.note_trouble(None),
            Err(error) => self.note_trouble(Some(error)),
        }
        result
    }

    fn write(&self, items: &[Prepared], built: &mut Built, flush: bool) -> Result<()> {
        if flush {
            return self.store.write(items, built, flush);
        }
        // Held throughout: nobody sees records of which it is not known that they are
        // to be flushed.
        let mut unflushed = self.unflushed.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.write(items, built, flush)?;
        unflushed.positions.extend(&built.positions);
        Ok(())
    }

    /// Whether all that was appended is flushed.
    pub(crate) fn is_flushed(&self) -> bool {
        self.unflushed.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Whether sequences were taken or given back since the batch was built.
    fn is_stale(&self, built: &Built) -> bool {
        let mut firsts: BTreeMap<Chain, u64> = BTreeMap::new();
        for position in &built.positions {
            firsts.entry(position.chain).or_insert(position.sequence.0);
        }
        firsts.into_iter().any(|(chain, first)| self.store.next(chain) != first)
    }

    pub(crate) fn flush_store(&self) -> Result<()> {
        let mut unflushed = self.unflushed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut flushed = self.store.flush(&unflushed.positions);
        if unflushed.by_a_dead_process {
            let dir = &self.context.dir;
            flushed =
                flushed.and(self.context.disk.sync_all(dir).doing("sync the file system", dir));
        }
        if let Err(error) = flushed {
            self.set_mark(FLUSH_FAILED);
            self.note_trouble(Some(&error));
            return Err(error);
        }
        *unflushed = Unflushed::default();
        Ok(())
    }

    /// The guard is there while the spool is open for writing; nothing closes it
    /// before the guard is dropped.
    pub(crate) fn hold_open(&self) -> Option<MutexGuard<'_, Option<Box<dyn DiskFile>>>> {
        let guard = self.writer_lock.lock().unwrap_or_else(PoisonError::into_inner);
        guard.is_some().then_some(guard)
    }

    /// Flushes what was relaxed, and lets go of the locks.
    fn close(self: &Arc<Self>) {
        if self.check_process().is_err() || self.context.read_only {
            return;
        }
        self.committer.commit_all(self);
        if let Some(mut open) = self.hold_open() {
            let flushed = self.flush_store().inspect_err(|error| {
                tracing::error!(dir = %self.context.dir.display(), %error, "closed without a flush");
            });
            if flushed.is_ok() {
                self.set_mark(CLEAN);
            }
            self.courier().close(self, flushed.is_ok());
            if let Store::Segments(store) = &self.store {
                store.let_go_of_all();
            }
            *open = None;
        }
    }

    /// Says in the lock file of the writer number, in the folder layout, what who gets the
    /// number next has to do.
    fn set_mark(&self, mark: u64) {
        if let Store::Segments(_) = self.store {
            return;
        }
        let path = writer_lock_path(&self.context.dir, self.writer);
        let lock = self.context.disk.open(&path, Open::Write);
        if let Err(error) = lock.and_then(|lock| lock.set_len(mark)) {
            tracing::warn!(%error, "a writer's lock file cannot be marked");
        }
    }

    /// Raises or clears the alarm that `status` shows.
    pub(crate) fn note_trouble(&self, error: Option<&Error>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (error, trouble.is_some()) {
            (Some(error), false) => {
                tracing::error!(dir = %self.context.dir.display(), %error, "the spool cannot store records");
            }
            (None, true) => {
                tracing::info!(dir = %self.context.dir.display(), "the spool stores records again");
            }
            _ => {}
        }
        *trouble = error.map(ToString::to_string);
    }
}

/// Marks in the length of a writer's lock file, in the folder layout. Kill or crash leaves
/// the mark; a power cut may take it back, and with it all that is not durable.
const CLEAN: u64 = 0;
/// A process has the number, or was killed: files of it may be in the page cache alone.
const IN_USE: u64 = 1;
/// So they may, and a flush has failed: a later one proves nothing.
const FLUSH_FAILED: u64 = 2;

/// Marks the lock file of a writer number as in use. What it was marked as before.
fn mark(lock: &dyn DiskFile) -> u64 {
    let before = lock.len().unwrap_or(FLUSH_FAILED);
    if let Err(error) = lock.set_len(before.max(IN_USE)) {
        tracing::warn!(%error, "a writer's lock file cannot be marked");
    }
    before
}

pub(crate) fn identity_path(dir: &Path) -> PathBuf {
    dir.join(STATE).join("identity.json")
}

fn make_folder(disk: &dyn Disk, dir: &Path) -> Result<()> {
    let state = dir.join(STATE);
    disk.create_dir_durable(&state).map_err(|error| {
        let uid = rustix::process::getuid().as_raw();
        Error::io(&format!("create the spool's folder as user id {uid}"), &state, error)
    })
}

pub(crate) fn lock_identity(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn DiskFile>> {
    let busy = "another process has been opening the spool for five seconds";
    lock_within(disk, &dir.join(STATE).join("identity.lock"), 5_000, busy)
}

fn load_or_create_identity(
    disk: &dyn Disk,
    dir: &Path,
    options: &Options,
    naming: Option<&Naming>,
) -> Result<(Identity, bool)> {
    let path = identity_path(dir);
    match Identity::load(disk, &path) {
        Ok(Some(identity)) => return Ok((identity, false)),
        Ok(None) => {}
        Err(error) if error.kind() == ErrorKind::Damaged => {
            // The records matter more than their old names: they get new ones.
            tracing::warn!(%error, "the spool gets a new identity; the damaged one is kept beside it");
            let kept = path.with_extension("damaged");
            disk.rename(&path, &kept).doing("keep a damaged identity", &path)?;
        }
        Err(error) => return Err(error),
    }
    let device = SegmentStore::device_of(disk, dir);
    let layout = if device.is_some() { Layout::Segments } else { options.layout };
    let machine = options.machine.clone().or_else(|| evidence(dir));
    let is_new = device.is_none();
    if let Some(naming) = naming.filter(|_| is_new) {
        return Ok((Identity::create_named(disk, &path, naming, machine)?, true));
    }
    Ok((Identity::create(disk, &path, layout, device, machine)?, is_new))
}

/// The lowest writer number that no living process holds.
fn claim_writer(disk: &dyn Disk, dir: &Path) -> Result<(u16, Box<dyn DiskFile>)> {
    for number in 0..MAX_WRITERS {
        if let Some(lock) = try_lock(disk, &writer_lock_path(dir, number))? {
            return Ok((number, lock));
        }
    }
    Err(Error::at(
        ErrorKind::Busy,
        dir,
        format!("{MAX_WRITERS} processes have the spool open: close some of them"),
    ))
}

pub(crate) fn writer_lock_path(dir: &Path, number: u16) -> PathBuf {
    dir.join(STATE).join(format!("writer-{number}.lock"))
}
