//! Where contexts and runs are kept.

use std::cmp::Reverse;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use backhaul_agent::Context;
use backhaul_store::{Clock, Disk, Open, OsDisk, SystemClock};

use super::checkpoint::Checkpoint;
use super::files::{self, FilesOfRun, Kind, Listing, Number, RunName};
use super::journal::Journal;
use super::nesting;
use super::persistence_error::{PersistenceError, PersistenceErrorKind};
use super::persistence_options::PersistenceOptions;
use super::persistent_run::PersistentRun;
use super::recovery;
use super::run_state::RunState;
use super::run_step::RunStep;

/// A file that was listed is gone so often at most: each time a run has ended meanwhile.
const MOST_LOOKS: usize = 100;

/// Keeps the contexts of runs on disk, so that a crash loses nothing of them. Cheap to clone.
///
/// Several processes may share a folder; a run belongs to one of them.
///
/// ```
/// use backhaul_agent::Context;
/// use backhaul_runtime::persistence::{ContextPersistence, RunState};
/// # let dir = tempfile::tempdir()?;
/// let persistence = ContextPersistence::new(dir.path())?;
/// assert_eq!(persistence.recover_latest()?, None);
/// let context = Context::new().set("celsius", 21.5);
/// let run = persistence.begin(RunState::new("run_001", "sensors", context.clone()))?;
/// drop(run);
/// assert_eq!(persistence.recover_latest()?, Some(context));
/// assert_eq!(persistence.recover_run(Recovery::any())?.unwrap().run_id, "run_001");
/// # use backhaul_runtime::persistence::Recovery;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ContextPersistence {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) dir: PathBuf,
    pub(super) options: PersistenceOptions,
    last: AtomicU64,
    /// One run begins at a time.
    beginning: Mutex<()>,
}

/// Which runs are meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    run_id: Option<String>,
    dag_name: Option<String>,
}

impl Recovery {
    /// Any run.
    pub fn any() -> Self {
        Self::default()
    }

    /// The run of this id.
    #[must_use]
    pub fn run(self, run_id: impl Into<String>) -> Self {
        Self { run_id: Some(run_id.into()), ..self }
    }

    /// Runs of this graph.
    #[must_use]
    pub fn dag(self, dag_name: impl Into<String>) -> Self {
        Self { dag_name: Some(dag_name.into()), ..self }
    }

    /// Whether the files of a run may be meant. Those of others are not opened.
    fn may_take(&self, name: &RunName) -> bool {
        self.run_id.as_ref().is_none_or(|id| *name == RunName::of(id))
    }

    fn takes(&self, state: &RunState) -> bool {
        self.run_id.as_ref().is_none_or(|id| *id == state.run_id)
            && self.dag_name.as_ref().is_none_or(|name| *name == state.dag_name)
    }
}

impl ContextPersistence {
    /// Keeps contexts in a folder, which is made when it is needed.
    ///
    /// # Errors
    /// Where the folder is there and cannot be looked at.
    pub fn new(storage_path: impl AsRef<Path>) -> Result<Self, PersistenceError> {
        Self::open(storage_path, PersistenceOptions::default())
    }

    /// Keeps contexts in a folder, with options.
    ///
    /// # Errors
    /// [`InvalidOption`](PersistenceErrorKind::InvalidOption), and as of [`new`](Self::new).
    pub fn open(
        storage_path: impl AsRef<Path>,
        options: PersistenceOptions,
    ) -> Result<Self, PersistenceError> {
        Self::open_on(Arc::new(OsDisk), Arc::new(SystemClock::new()), storage_path, options)
    }

    /// Keeps contexts on a disk and by a clock of one's own.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub fn open_on(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        storage_path: impl AsRef<Path>,
        options: PersistenceOptions,
    ) -> Result<Self, PersistenceError> {
        options.check()?;
        let inner = Inner {
            disk,
            clock,
            dir: storage_path.as_ref().to_owned(),
            options,
            last: AtomicU64::new(0),
            beginning: Mutex::new(()),
        };
        inner.list()?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The folder.
    pub fn storage_path(&self) -> &Path {
        &self.inner.dir
    }

    /// The newest context that was kept, whatever became of its run. `None`: there is none.
    ///
    /// # Errors
    /// [`Newer`](PersistenceErrorKind::Newer) where a newer version wrote it, and where the disk
    /// refuses. Damaged checkpoints are put aside, and the one before is used.
    pub fn recover_latest(&self) -> Result<Option<Context>, PersistenceError> {
        self.recover_latest_of(&Recovery::any())
    }

    /// The newest context of certain runs, whatever became of them.
    ///
    /// # Errors
    /// As of [`recover_latest`](Self::recover_latest).
    pub fn recover_latest_of(&self, which: &Recovery) -> Result<Option<Context>, PersistenceError> {
        look(|| self.inner.recover_latest(which))
    }

    /// The newest run that was interrupted, or that failed, and that nobody goes on with at the
    /// moment. `None`: there is none.
    ///
    /// # Errors
    /// As of [`recover_latest`](Self::recover_latest).
    pub fn recover_run(&self, which: Recovery) -> Result<Option<RunState>, PersistenceError> {
        look(|| self.inner.recover_run(&which))
    }

    /// Begins a run. What is left of an earlier one of the same id goes.
    ///
    /// # Errors
    /// [`Busy`](PersistenceErrorKind::Busy) while a run of this id goes on,
    /// [`TooDeep`](PersistenceErrorKind::TooDeep), and where the disk refuses.
    pub fn begin(&self, state: RunState) -> Result<PersistentRun, PersistenceError> {
        nesting::check_context(&state.context)?;
        let _one = self.inner.beginning.lock().unwrap_or_else(PoisonError::into_inner);
        // A process that crashes again and again ends none, and begins many.
        self.inner.remove_old_runs();
        let name = RunName::of(&state.run_id);
        let ((), before, journal) = self.inner.claim(&name, &state.run_id, |_| Ok(()))?;
        let from = Checkpoint { state, lines: 0 };
        let inner = Arc::clone(&self.inner);
        let run = PersistentRun::open(inner, name.clone(), from, FilesOfRun::default(), journal)?;
        if before.is_open() {
            tracing::warn!(
                run_id = run.state().run_id,
                "a run that was interrupted is begun anew: what it had come to is removed"
            );
        }
        before.paths(&self.inner.dir, &name).iter().for_each(|path| self.inner.remove(path));
        Ok(run)
    }

    /// Goes on with a run that was interrupted, or that failed. Nodes that failed, and those
    /// that were skipped, are open again.
    ///
    /// # Errors
    /// [`NotFound`](PersistenceErrorKind::NotFound),
    /// [`NotResumable`](PersistenceErrorKind::NotResumable) for one that has ended,
    /// [`Busy`](PersistenceErrorKind::Busy), and where the disk refuses.
    pub fn resume(&self, run_id: &str) -> Result<PersistentRun, PersistenceError> {
        let _one = self.inner.beginning.lock().unwrap_or_else(PoisonError::into_inner);
        let name = RunName::of(run_id);
        let resumable = |files: &FilesOfRun| self.inner.resumable(&name, run_id, files);
        let (found, files, journal) = self.inner.claim(&name, run_id, resumable)?;
        let inner = Arc::clone(&self.inner);
        let mut run = PersistentRun::open(inner, name.clone(), found, files, journal)?;
        run.take(&[RunStep::Resumed])?;
        Ok(run)
    }
}

impl Inner {
    fn list(&self) -> Result<Listing, PersistenceError> {
        let failed = |error| PersistenceError::storage("cannot look into", &self.dir, error);
        let listing = files::list(&*self.disk, &self.dir).map_err(failed)?;
        self.last.fetch_max(listing.last, Ordering::Relaxed);
        Ok(listing)
    }

    fn recover_latest(&self, which: &Recovery) -> Result<Option<Context>, PersistenceError> {
        let listing = self.list()?;
        for (run, files) in newest_first(&listing).filter(|(run, _)| which.may_take(run)) {
            if let Some(found) = self.recover(run, files)?
                && which.takes(&found.state)
            {
                return Ok(Some(found.state.context));
            }
        }
        self.foreign(&listing, which)
    }

    fn recover_run(&self, which: &Recovery) -> Result<Option<RunState>, PersistenceError> {
        let listing = self.list()?;
        for (run, files) in newest_first(&listing) {
            if !files.is_open() || !which.may_take(run) || self.is_alive(run, files) {
                continue;
            }
            if let Some(found) = self.recover(run, files)?
                && found.state.can_resume()
                && which.takes(&found.state)
            {
                return Ok(Some(found.state));
            }
        }
        Ok(None)
    }

    /// Makes a run one's own, by a journal that is locked, unless somebody else has one. What
    /// there is of the run is looked at when nobody else can change it any more. Nothing is in
    /// the journal before that: one that is left again is no state of the run, though a power
    /// cut may bring it back.
    fn claim<T>(
        &self,
        name: &RunName,
        run_id: &str,
        look_at: impl Fn(&FilesOfRun) -> Result<T, PersistenceError>,
    ) -> Result<(T, FilesOfRun, (Number, Journal)), PersistenceError> {
        let seen = |own| {
            look(|| {
                let files = self.free(name, run_id, own)?;
                Ok((look_at(&files)?, files))
            })
        };
        // One that cannot be had is not touched.
        seen(None)?;
        let (own, journal) = self.claim_journal(name).map_err(|error| {
            let is_taken = error.is_of(io::ErrorKind::AlreadyExists);
            if is_taken { PersistenceError::busy(run_id) } else { error }
        })?;
        // Who has not yet locked a journal that is seen here looks later, and sees this one. Two
        // that see each other both leave it.
        match seen(Some(own)) {
            Ok((found, files)) => Ok((found, files, (own, journal))),
            Err(error) => {
                self.remove(&files::path(&self.dir, own, name, Kind::Journal));
                Err(error)
            }
        }
    }

    /// What a run goes on from.
    fn resumable(
        &self,
        name: &RunName,
        run_id: &str,
        files: &FilesOfRun,
    ) -> Result<Checkpoint, PersistenceError> {
        let found = self.recover(name, files)?.ok_or_else(|| {
            let message = format!("there is no run {run_id:?} in {}", self.dir.display());
            PersistenceError::new(PersistenceErrorKind::NotFound, message)
        })?;
        if found.state.can_resume() {
            return Ok(found);
        }
        let message = format!(
            "run {run_id:?} is {}: only one that was interrupted or failed can go on",
            found.state.status
        );
        Err(PersistenceError::new(PersistenceErrorKind::NotResumable, message))
    }

    /// Makes an empty journal that nobody else has. Its name is durable once the folder was
    /// synced.
    pub(super) fn claim_journal(
        &self,
        name: &RunName,
    ) -> Result<(Number, Journal), PersistenceError> {
        let number = self.next_number();
        let path = files::path(&self.dir, number, name, Kind::Journal);
        let folder = self.disk.create_dir_durable(&self.dir);
        let journal = folder.and_then(|()| Journal::create(&*self.disk, &path));
        let failed = |error| PersistenceError::storage("cannot begin the journal", &path, error);
        Ok((number, journal.map_err(failed)?))
    }

    /// A number that is higher than those of all files, other processes' too. Where the folder
    /// cannot be looked at, it is higher than all that were seen.
    pub(super) fn next_number(&self) -> Number {
        let _ = self.list();
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn recover(
        &self,
        run: &RunName,
        files: &FilesOfRun,
    ) -> Result<Option<Checkpoint>, PersistenceError> {
        recovery::recover(&*self.disk, &self.dir, run, files)
    }

    /// What there is of a run that nobody goes on with, but for one's own journal.
    fn free(
        &self,
        name: &RunName,
        run_id: &str,
        own: Option<Number>,
    ) -> Result<FilesOfRun, PersistenceError> {
        let mut files = self.list()?.runs.remove(name).unwrap_or_default();
        files.journals.retain(|number| Some(*number) != own);
        if self.is_alive(name, &files) {
            return Err(PersistenceError::busy(run_id));
        }
        Ok(files)
    }

    /// Whether somebody goes on with a run: a journal of it is locked. Not the last one alone:
    /// that may be of somebody who came too late, and leaves.
    fn is_alive(&self, run: &RunName, files: &FilesOfRun) -> bool {
        files.journals.iter().rev().any(|number| {
            let path = files::path(&self.dir, *number, run, Kind::Journal);
            let file = self.disk.open(&path, Open::Write);
            // Together with others who look, who are not taken for somebody who goes on with it.
            file.is_ok_and(|file| !file.try_lock_shared().unwrap_or(true))
        })
    }

    /// The newest context that another program wrote.
    fn foreign(
        &self,
        listing: &Listing,
        which: &Recovery,
    ) -> Result<Option<Context>, PersistenceError> {
        let paths = listing.foreign.iter().map(|name| self.dir.join(name));
        let mut dated: Vec<_> = paths.map(|path| (self.disk.modified(&path).ok(), path)).collect();
        dated.sort_by(|left, right| right.cmp(left));
        for (_, path) in dated {
            let failed = |error| PersistenceError::storage("cannot read", &path, error);
            let bytes = files::read(&*self.disk, &path).map_err(failed)?;
            match Checkpoint::decode(&bytes) {
                Ok(found) if which.takes(&found.state) => return Ok(Some(found.state.context)),
                Ok(_) => {}
                Err(why) => {
                    tracing::warn!(path = %path.display(), ?why, "not a checkpoint: left alone")
                }
            }
        }
        Ok(None)
    }

    /// Removes the oldest runs that have ended, and the oldest that nobody goes on with, beyond
    /// what is to be kept.
    pub(super) fn remove_old_runs(&self) {
        let listing = match self.list() {
            Ok(listing) => listing,
            Err(error) => return tracing::warn!(%error, "old runs are not removed"),
        };
        let (mut ended, mut interrupted) = (0, 0);
        for (run, files) in newest_first(&listing) {
            let (count, most) = match files.is_open() {
                true => (&mut interrupted, self.options.keep_interrupted),
                false => (&mut ended, self.options.keep),
            };
            *count += 1;
            if *count <= most || self.is_alive(run, files) {
                continue;
            }
            if files.is_open() {
                tracing::warn!(?run, most, "the oldest of too many interrupted runs is removed");
            }
            files.paths(&self.dir, run).iter().for_each(|path| self.remove(path));
        }
    }

    pub(super) fn remove(&self, path: &Path) {
        // One that comes back with a power cut is removed the next time.
        if let Err(error) = self.disk.remove(path) {
            tracing::warn!(path = %path.display(), %error, "a file that has served stays");
        }
    }
}

/// Looks at the folder again where a file has gone that was listed: another process has
/// finished a run, or removed an old one.
fn look<T>(look: impl Fn() -> Result<T, PersistenceError>) -> Result<T, PersistenceError> {
    for _ in 1..MOST_LOOKS {
        match look() {
            Err(error) if error.is_of(io::ErrorKind::NotFound) => {}
            seen => return seen,
        }
    }
    look()
}

fn newest_first(listing: &Listing) -> impl Iterator<Item = (&RunName, &FilesOfRun)> {
    let mut runs: Vec<_> = listing.runs.iter().collect();
    runs.sort_by_key(|(_, files)| Reverse(files.newest()));
    runs.into_iter()
}

impl fmt::Debug for ContextPersistence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextPersistence").field("dir", &self.inner.dir).finish_non_exhaustive()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextPersistence").field("dir", &self.dir).finish_non_exhaustive()
    }
}
