//! One project: its index, and what its records say.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::ReadTransaction;

use super::bodies::Bodies;
use super::failure::{Failure, Result, guarded};
use super::index::{Feed, Index};
use super::source::Source;
use crate::error::TraceError;
use crate::kind::Kind;
use crate::project::ProjectId;

/// A project that is read.
#[derive(Debug)]
pub(super) struct ProjectReads {
    pub(super) project: ProjectId,
    pub(super) source: Arc<Source>,
    pub(super) bodies: Bodies,
    index: Mutex<Option<Arc<Index>>>,
    /// The disk takes no index.
    in_memory: AtomicBool,
}

/// All that is known of a project at one moment.
pub(super) struct View {
    pub(super) reads: Arc<ProjectReads>,
    pub(super) tables: ReadTransaction,
}

impl View {
    /// The same moment or a later one, for somebody else.
    pub(super) fn again(&self) -> Result<Self> {
        let tables = self.reads.index()?.view()?;
        Ok(Self { reads: Arc::clone(&self.reads), tables })
    }
}

impl ProjectReads {
    pub(super) fn new(source: &Arc<Source>, project: &ProjectId) -> Self {
        Self {
            project: project.clone(),
            source: Arc::clone(source),
            bodies: Bodies::new(Arc::clone(source), project.clone()),
            index: Mutex::default(),
            in_memory: AtomicBool::new(false),
        }
    }

    /// Does `work` with what was logged of `kinds` before this call. An index that turns
    /// out to be damaged is made anew, once.
    pub(super) fn with<T>(
        self: &Arc<Self>,
        kinds: &[Kind],
        work: impl Fn(&View) -> Result<T>,
    ) -> std::result::Result<T, TraceError> {
        let once = || guarded(|| work(&self.view(kinds)?));
        let mut done = once();
        // A second time: what the disk does not take is kept in memory.
        for _ in 0..2 {
            match &done {
                Err(failure) if self.mend(failure) => done = once(),
                _ => break,
            }
        }
        done.map_err(Failure::into_error)
    }

    fn view(self: &Arc<Self>, kinds: &[Kind]) -> Result<View> {
        let index = self.index()?;
        let mut spools = Vec::new();
        for kind in kinds {
            spools.extend(self.bodies.spool(*kind)?.map(|spool| (*kind, spool)));
        }
        let feeds: Vec<Feed<'_>> =
            spools.iter().map(|(kind, spool)| Feed { kind: *kind, spool }).collect();
        index.catch_up(&feeds, &|value| self.source.digest_of(value))?;
        Ok(View { tables: index.view()?, reads: Arc::clone(self) })
    }

    fn index(&self) -> Result<Arc<Index>> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = &*index {
            return Ok(Arc::clone(index));
        }
        if !self.source.has(&self.project) {
            // Until something is logged.
            return Ok(Arc::new(Index::in_memory()?));
        }
        let opened = match self.in_memory.load(Ordering::Relaxed) {
            true => Index::in_memory()?,
            false => Index::open(&**self.source.disk(), &self.source.index_path(&self.project))?,
        };
        Ok(Arc::clone(index.insert(Arc::new(opened))))
    }

    /// Makes ready for another try. `false`: that would not help.
    pub(super) fn mend(&self, failure: &Failure) -> bool {
        let path = self.source.index_path(&self.project);
        let (index, project) = (path.display(), &self.project);
        match failure {
            Failure::Damaged(what) => {
                tracing::warn!(%index, %project, what, "the index is made anew");
                // In whatever process has it open it goes on, without a name.
                let _ = std::fs::remove_file(&path);
            }
            Failure::Database(error) => {
                tracing::warn!(%index, %project, %error, "the index is kept in memory");
                self.in_memory.store(true, Ordering::Relaxed);
            }
            Failure::Other(_) => return false,
        }
        *self.index.lock().unwrap_or_else(PoisonError::into_inner) = None;
        true
    }
}
