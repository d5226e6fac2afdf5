//! Reading what was logged, while the server cannot be asked: its answers, from the folder.

mod bodies;
mod calls;
mod endpoints;
mod expr;
mod failure;
mod feedback;
mod index;
mod json_field;
mod objects;
mod path;
mod place;
mod project_reads;
mod refs;
mod source;
mod sql;
mod tables;
mod time;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use self::calls::Selector;
pub use self::calls::{Calls, CallsFilter, CallsQuery, Direction, SortBy};
use self::failure::Result;
use self::project_reads::{ProjectReads, View};
use self::source::Source;
use crate::error::TraceError;
use crate::kind::Kind;
use crate::offline::OfflineTraceServer;
use crate::project::ProjectId;

/// Reads what stands in a folder of Weave's data, with the meaning that a Weave trace server
/// gives to the same questions.
///
/// Answers hold all that was logged before the question, by any process. What is found by
/// its keys (the trace, the op, the parent, the time, …) is found without reading the rest;
/// conditions on inputs, outputs and the like read all calls that the filter leaves.
///
/// Cheap to clone; all clones are one. Calls block for as long as the disk takes; the first
/// use of a large folder takes longer, as it makes an index of it.
///
/// ```
/// use backhaul_weave::{CallsQuery, Entry, EntryType, OfflineOptions, OfflineTraceServer, Reads};
/// # let dir = tempfile::tempdir()?;
/// let server = OfflineTraceServer::open(dir.path(), OfflineOptions::default())?;
/// let project = "my_team/my_project".parse()?;
/// let start = br#"{"project_id": "my_team/my_project", "id": "c1", "trace_id": "t1",
///     "op_name": "greet", "started_at": "2026-01-15T12:00:00Z", "inputs": {"to": "you"}}"#;
/// server.log(&project, &[Entry::new(EntryType::CallStart, start)?])?;
///
/// let reads = Reads::of_server(&server);
/// let calls: Vec<_> = reads.calls(&project, &CallsQuery::default())?.collect::<Result<_, _>>()?;
/// assert_eq!(calls[0]["inputs"]["to"], "you");
/// assert_eq!(calls[0]["summary"]["weave"]["status"], "running");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Reads {
    inner: Arc<Inner>,
}

struct Inner {
    source: Arc<Source>,
    projects: Mutex<BTreeMap<ProjectId, Arc<ProjectReads>>>,
}

impl Reads {
    /// Reads by way of the process that logs.
    pub fn of_server(server: &OfflineTraceServer) -> Self {
        Self::new(Source::Server(server.clone()))
    }

    /// Reads a folder that others may log to. Nothing in it is changed but its index.
    pub fn of_folder(dir: impl AsRef<Path>) -> Self {
        Self::new(Source::folder(dir.as_ref()))
    }

    fn new(source: Source) -> Self {
        Self { inner: Arc::new(Inner { source: Arc::new(source), projects: Mutex::default() }) }
    }

    /// The projects that have a folder here, in order.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn projects(&self) -> std::result::Result<Vec<ProjectId>, TraceError> {
        self.inner.source.projects()
    }

    /// The calls of a project that are wanted, each read when it is its turn.
    ///
    /// # Errors
    /// For a query that makes no sense ([`InvalidInput`](crate::TraceErrorKind::InvalidInput)),
    /// and where the folder cannot be read.
    pub fn calls(
        &self,
        project: &ProjectId,
        query: &CallsQuery,
    ) -> std::result::Result<Calls, TraceError> {
        let mut kinds = vec![Kind::Calls, Kind::Feedback];
        if !query.expand_columns.is_empty() {
            kinds.extend([Kind::Ops, Kind::Objects, Kind::Tables]);
        }
        let reads = self.project(project);
        reads.with(&kinds, |view| Calls::new(view.again()?, query))
    }

    /// How many calls are wanted; at most its limit.
    ///
    /// # Errors
    /// As for [`calls`](Self::calls).
    pub fn count_calls(
        &self,
        project: &ProjectId,
        query: &CallsQuery,
    ) -> std::result::Result<usize, TraceError> {
        let kinds = [Kind::Calls, Kind::Feedback];
        self.project(project).with(&kinds, |view| calls::count(view, query))
    }

    /// The call with an id. `None`: there is none, or it was deleted.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn call(
        &self,
        project: &ProjectId,
        id: &str,
    ) -> std::result::Result<Option<Value>, TraceError> {
        let query = CallsQuery::default();
        self.project(project).with(&[Kind::Calls], |view| calls::read(view, id, &query))
    }

    /// Ids of calls that begin with a text, in order, at most so many.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn call_ids(
        &self,
        project: &ProjectId,
        prefix: &str,
        limit: usize,
    ) -> std::result::Result<Vec<String>, TraceError> {
        let find = |view: &View| Selector::new(view)?.ids(prefix, limit);
        self.project(project).with(&[Kind::Calls], find)
    }

    /// The bytes of a file of a project.
    ///
    /// # Errors
    /// [`NotFound`](crate::TraceErrorKind::NotFound) where it is not here,
    /// [`Damaged`](crate::TraceErrorKind::Damaged) where its bytes do not have the digest.
    pub fn file(
        &self,
        project: &ProjectId,
        digest: &str,
    ) -> std::result::Result<Vec<u8>, TraceError> {
        self.inner.source.file(project, digest)
    }

    fn project(&self, project: &ProjectId) -> Arc<ProjectReads> {
        // No call leaves it half changed.
        let mut projects = self.inner.projects.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reads) = projects.get(project) {
            return Arc::clone(reads);
        }
        let reads = Arc::new(ProjectReads::new(&self.inner.source, project));
        if self.inner.source.has(project) {
            projects.insert(project.clone(), Arc::clone(&reads));
        }
        reads
    }
}

impl fmt::Debug for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reads").field("dir", &self.inner.source.dir()).finish_non_exhaustive()
    }
}
