//! A run that survives a crash.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backhaul_agent::{Context, ContextPatch};
use backhaul_store::Flush;

use super::checkpoint::{self, Checkpoint};
use super::context_persistence::Inner;
use super::files::{self, FilesOfRun, Kind, Number, RunName};
use super::journal::Journal;
use super::journal_line;
use super::nesting;
use super::persistence_error::PersistenceError;
use super::run_state::RunState;
use super::run_step::RunStep;
use crate::run_status::RunStatus;

/// A journal that is longer is followed by another one at the next checkpoint, so that it can
/// go once it is not needed.
const LONG_JOURNAL: u64 = 1 << 20;

/// A run that survives a crash: each step is on disk when [`take`](PersistentRun::take)
/// returns. One process has it at a time.
///
/// ```
/// use backhaul_agent::{Context, ContextPatch};
/// use backhaul_runtime::persistence::{ContextPersistence, RunState};
/// # let dir = tempfile::tempdir()?;
/// let persistence = ContextPersistence::new(dir.path())?;
/// let mut run = persistence.begin(RunState::new("run_001", "sensors", Context::new()))?;
/// run.apply(ContextPatch::set("celsius", 21.5))?;
/// // The process is killed here.
/// drop(run);
///
/// let context = persistence.recover_latest()?.unwrap();
/// assert_eq!(context.to_value(), serde_json::json!({"celsius": 21.5}));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PersistentRun {
    inner: Arc<Inner>,
    name: RunName,
    state: RunState,
    /// Lines so far, over all journals.
    lines: u64,
    patches_since_checkpoint: u64,
    /// `None`: the run has ended.
    journal: Option<Journal>,
    files: FilesOfRun,
    flushed_at: Duration,
    is_behind: bool,
}

impl PersistentRun {
    /// Begins to keep a run, in a journal of its own that begins with all that is known of it.
    pub(super) fn open(
        inner: Arc<Inner>,
        name: RunName,
        from: Checkpoint,
        files: FilesOfRun,
        (number, journal): (Number, Journal),
    ) -> Result<Self, PersistenceError> {
        let Checkpoint { state, lines } = from;
        let flushed_at = inner.clock.now().since_boot;
        let mut run = Self {
            inner,
            name,
            state,
            lines,
            patches_since_checkpoint: 0,
            journal: None,
            files,
            flushed_at,
            is_behind: false,
        };
        run.begin_in(number, journal)?;
        Ok(run)
    }

    /// All that is known of the run.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// The context of now.
    pub fn context(&self) -> &Context {
        &self.state.context
    }

    /// Changes the context.
    ///
    /// # Errors
    /// As of [`take`](PersistentRun::take).
    pub fn apply(&mut self, patch: ContextPatch) -> Result<(), PersistenceError> {
        self.take(&[RunStep::Patch(patch)])
    }

    /// Ends the run.
    ///
    /// # Errors
    /// As of [`take`](PersistentRun::take).
    pub fn end(
        &mut self,
        status: RunStatus,
        error: Option<String>,
    ) -> Result<(), PersistenceError> {
        self.take(&[RunStep::Ended { status, error }])
    }

    /// Takes steps, and writes them down together: with one flush of the disk.
    ///
    /// # Errors
    /// [`Patch`](super::PersistenceErrorKind::Patch) for one that cannot be applied, and
    /// [`TooDeep`](super::PersistenceErrorKind::TooDeep); those before it are taken.
    /// [`Storage`](super::PersistenceErrorKind::Storage) where the disk refuses:
    /// the steps are taken then, and are written with the next ones that it does not refuse.
    pub fn take(&mut self, steps: &[RunStep]) -> Result<(), PersistenceError> {
        let (taken, refused) = self.advance(steps);
        let kept = self.keep(taken);
        let has_ended = matches!(taken.last(), Some(RunStep::Ended { .. }));
        let is_due = self.patches_since_checkpoint >= self.inner.options.checkpoint_interval;
        if kept.is_ok() && (has_ended || is_due) {
            self.checkpoint();
        }
        refused.map_or(kept, Err)
    }

    /// Advances the state, and says how far that went.
    fn advance<'a>(&mut self, steps: &'a [RunStep]) -> (&'a [RunStep], Option<PersistenceError>) {
        for (at, step) in steps.iter().enumerate() {
            let before = self.state.patch_count;
            let taken = nesting::check(step).and_then(|()| Ok(self.state.take(step)?));
            if let Err(error) = taken {
                return (steps.get(..at).unwrap_or_default(), Some(error));
            }
            self.patches_since_checkpoint += self.state.patch_count - before;
        }
        (steps, None)
    }

    fn keep(&mut self, steps: &[RunStep]) -> Result<(), PersistenceError> {
        let at = self.inner.clock.now().wall;
        let mut text = Vec::new();
        for step in steps {
            self.lines += 1;
            text.extend(journal_line::encode(self.lines, at, step));
        }
        if text.is_empty() || self.inner.options.sabotage_skip_journal {
            return Ok(());
        }
        let flush = self.flush_now();
        let kept = match &mut self.journal {
            Some(journal) if journal.is_usable() => journal.append(text, flush).map_err(|error| {
                let path = self.path(self.files.newest(), Kind::Journal);
                PersistenceError::storage("cannot write", &path, error)
            }),
            // It stays locked, so that nobody else goes on with the run meanwhile.
            _ => self.begin_journal(),
        };
        self.tell(&kept);
        kept
    }

    /// Says once that the disk refuses, and once that it does not any more.
    fn tell(&mut self, kept: &Result<(), PersistenceError>) {
        let run_id = &self.state.run_id;
        match kept {
            Err(error) if !self.is_behind => {
                tracing::error!(run_id, %error, "a run cannot be kept: a crash would lose what it does");
            }
            Ok(()) if self.is_behind => tracing::warn!(run_id, "the run is kept again"),
            _ => {}
        }
        self.is_behind = kept.is_err();
    }

    fn flush_now(&mut self) -> Flush {
        let now = self.inner.clock.now().since_boot;
        match self.inner.options.flush {
            Flush::Every(period) if now.saturating_sub(self.flushed_at) < period => Flush::Never,
            Flush::Never => Flush::Never,
            Flush::Always | Flush::Every(_) => {
                self.flushed_at = now;
                Flush::Always
            }
        }
    }

    /// Begins another journal.
    fn begin_journal(&mut self) -> Result<(), PersistenceError> {
        let (number, journal) = self.inner.claim_journal(&self.name)?;
        self.begin_in(number, journal)
    }

    /// Begins a journal with all that is known of the run.
    fn begin_in(&mut self, number: Number, mut journal: Journal) -> Result<(), PersistenceError> {
        let line = self.snapshot();
        let disk = &*self.inner.disk;
        let begun = journal.append(line, Flush::Always);
        if let Err(error) = begun.and_then(|()| disk.sync_dir(&self.inner.dir)) {
            let path = self.path(number, Kind::Journal);
            let _ = disk.remove(&path);
            return Err(PersistenceError::storage("cannot begin the journal", &path, error));
        }
        self.files.journals.push(number);
        self.journal = Some(journal);
        Ok(())
    }

    /// All that is known of the run, in bytes. Its history is cut to its limit, here and there.
    fn snapshot(&mut self) -> Vec<u8> {
        let limit = self.inner.options.history_limit;
        self.state.context = self.state.context.with_history_limit(limit);
        checkpoint::encode(&self.state, self.lines, self.inner.clock.now().wall)
    }

    /// Writes a checkpoint. The journal has all of it: one that cannot be written is left out.
    fn checkpoint(&mut self) {
        let written = self.write_checkpoint();
        match written {
            Ok(number) => {
                self.patches_since_checkpoint = 0;
                self.files.checkpoints.push(number);
                self.tidy();
            }
            Err(error) => {
                let run_id = &self.state.run_id;
                tracing::warn!(run_id, %error, "a checkpoint is left out: the journal has what is in it");
            }
        }
    }

    fn write_checkpoint(&mut self) -> Result<Number, PersistenceError> {
        let number = self.inner.next_number();
        let path = self.path(number, Kind::Checkpoint);
        let failed = |error| PersistenceError::storage("cannot write", &path, error);
        let bytes = self.snapshot();
        if let Some(journal) =
            self.journal.as_ref().filter(|_| self.inner.options.flush != Flush::Always)
        {
            journal.flush().map_err(failed)?;
        }
        let disk = &*self.inner.disk;
        let written = files::write(disk, &path, &bytes);
        written.and_then(|()| disk.sync_dir(&self.inner.dir)).map_err(|error| {
            let _ = disk.remove(&path);
            failed(error)
        })?;
        Ok(number)
    }

    /// Removes what no recovery needs any more, and marks the journals of a run that has ended.
    fn tidy(&mut self) {
        let is_long = self.journal.as_ref().is_some_and(|journal| journal.len() > LONG_JOURNAL);
        if self.state.status.is_over() {
            self.journal = None;
            self.mark_ended();
        } else if is_long && let Err(error) = self.begin_journal() {
            self.tell(&Err(error));
        }
        self.remove_old();
        if self.state.status.is_over() {
            self.inner.remove_old_runs();
        }
    }

    fn mark_ended(&mut self) {
        if self.state.status == RunStatus::Failed {
            return;
        }
        for number in std::mem::take(&mut self.files.journals) {
            let to = self.path(number, Kind::Ended);
            match self.inner.disk.rename(&self.path(number, Kind::Journal), &to) {
                Ok(()) => self.files.ended.push(number),
                // Of somebody who came too late, and left.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(path = %to.display(), %error, "a run that has ended looks as if it went on");
                    self.files.journals.push(number);
                }
            }
        }
    }

    fn remove_old(&mut self) {
        let extra = self.files.checkpoints.len().saturating_sub(self.inner.options.keep);
        let removed: Vec<Number> = self.files.checkpoints.drain(..extra).collect();
        let Some(&oldest) = self.files.checkpoints.first().filter(|_| extra > 0) else { return };
        // The journal that was written when the oldest checkpoint was is needed, and those since.
        let needed = self.files.journals.iter().rposition(|number| *number <= oldest).unwrap_or(0);
        let journals: Vec<Number> = self.files.journals.drain(..needed).collect();
        let checkpoints = removed.into_iter().map(|number| self.path(number, Kind::Checkpoint));
        let journals = journals.into_iter().map(|number| self.path(number, Kind::Journal));
        checkpoints.chain(journals).for_each(|path| self.inner.remove(&path));
    }

    fn path(&self, number: Number, kind: Kind) -> PathBuf {
        files::path(&self.inner.dir, number, &self.name, kind)
    }
}
