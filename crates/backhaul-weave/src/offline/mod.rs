//! Where everything that is logged stands until a server has it, and after.

mod cap;
mod cleaning;
mod disk_reader;
mod files;
mod internal_ids;
mod names;
mod newest;
mod objects;
mod options;
mod project_store;
mod prototype;
mod table_rows;
mod tables;
mod trouble;
mod whole_file;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use backhaul_store::{Clock, Disk, OsDisk, RecordId, SharedCap, Spool, SystemClock};
use serde_json::json;

pub use self::cleaning::{Cleaned, CleanedKind};
pub(crate) use self::files::read_file;
use self::internal_ids::InternalIds;
pub(crate) use self::names::projects;
pub use self::options::OfflineOptions;
use self::project_store::{ProjectStore, Shared};
pub use self::prototype::Imported;
pub use self::tables::{CreatedTable, UpdatedTable};
use crate::digest;
use crate::entry::{DIGEST_LABEL, Entry, EntryType};
use crate::error::{TraceError, TraceErrorKind};
use crate::kind::Kind;
use crate::project::ProjectId;

/// What this program keeps beside the projects: no entity's folder is called so.
pub const STATE: &str = ".backhaul";

type Listener = Box<dyn Fn(&ProjectId, Kind) + Send + Sync>;

/// A folder that takes what a Weave trace server would, for any number of projects.
///
/// Each kind of data of a project is a [`Spool`] in `entity/project/KIND`: gzip files of JSON
/// lines, `YYYYMMDD_0000.jsonl.gz`, or plain ones, `….jsonl`. What a call returns from is on stable storage. Several
/// processes may log to one folder.
///
/// Cheap to clone; all clones are one. Calls block for as long as the disk takes.
///
/// ```
/// use backhaul_weave::{Entry, EntryType, OfflineOptions, OfflineTraceServer, ProjectId};
/// # let dir = tempfile::tempdir()?;
/// let server = OfflineTraceServer::open(dir.path(), OfflineOptions::default())?;
/// let project: ProjectId = "my_team/my_project".parse()?;
///
/// let object = serde_json::json!({"object_id": "greeting", "val": {"text": "hello"}});
/// let digest = server.create_object(&project, &object)?;
/// assert_eq!(digest, backhaul_weave::digest::of_value(&object["val"]));
///
/// let start = br#"{"project_id": "my_team/my_project", "id": "0192", "op_name": "greet"}"#;
/// server.log(&project, &[Entry::new(EntryType::CallStart, start)?])?;
/// assert!(dir.path().join("my_team/my_project/calls").is_dir());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct OfflineTraceServer {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Shared,
    projects: Mutex<BTreeMap<ProjectId, Arc<ProjectStore>>>,
    looks: cap::Looks,
    listener: OnceLock<Listener>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

/// Keeps files that were stored from being removed before a record names them.
pub struct ReceivedFiles {
    _held: files::Creating,
}

impl fmt::Debug for ReceivedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedFiles").finish_non_exhaustive()
    }
}

impl OfflineTraceServer {
    /// Opens the folder `dir`, making it where there is none, on the machine's own disk and
    /// clock.
    ///
    /// # Errors
    /// For options that make no sense, and where the folder cannot be made.
    pub fn open(dir: impl AsRef<Path>, options: OfflineOptions) -> Result<Self, TraceError> {
        Self::open_on(dir, options, Arc::new(OsDisk), Arc::new(SystemClock::new()))
    }

    /// [`open`](Self::open) on a given disk and clock: the seam for tests.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_on(
        dir: impl AsRef<Path>,
        options: OfflineOptions,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TraceError> {
        options.check()?;
        let dir = dir.as_ref().to_owned();
        let state = dir.join(STATE);
        disk.create_dir_durable(&state)
            .map_err(|error| whole_file::failed("make a folder", &state, error))?;
        let shared = Shared {
            cap: options.max_bytes.map(SharedCap::new),
            dir,
            options,
            disk,
            clock,
            internal_ids: Arc::new(InternalIds::default()),
        };
        let inner = Inner {
            shared,
            projects: Mutex::default(),
            looks: cap::Looks::default(),
            listener: OnceLock::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The folder that is used where none is named: `~/.weave/offline`. `None`: there is no
    /// home folder.
    pub fn default_dir() -> Option<PathBuf> {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
        Some(Path::new(&home).join(".weave").join("offline"))
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.inner.shared.dir
    }

    /// Has the first listener that is given called after each time that something was stored.
    pub fn on_stored(&self, listener: impl Fn(&ProjectId, Kind) + Send + Sync + 'static) {
        let _ = self.inner.listener.set(Box::new(listener));
    }

    /// Stores entries and returns when all of them are durable: those of one kind share a
    /// flush with each other and with whoever stores at the same time.
    ///
    /// # Errors
    /// Some of the entries may be stored then, and none is acknowledged.
    pub fn log(&self, project: &ProjectId, entries: &[Entry]) -> Result<Vec<RecordId>, TraceError> {
        let store = self.project(project);
        let now = self.inner.shared.clock.now().wall;
        let bytes = entries.iter().map(|entry| entry.data().len() as u64).sum();
        self.make_room(bytes)?;
        let mut tickets = Vec::with_capacity(entries.len());
        for entry in entries {
            let spool = store.open(entry.entry_type().kind())?;
            tickets.push(spool.submit(entry.to_record(now))?);
        }
        let ids = tickets.into_iter().map(|ticket| ticket.wait()).collect::<Result<_, _>>()?;
        self.tell_listener(project, entries);
        Ok(ids)
    }

    fn tell_listener(&self, project: &ProjectId, entries: &[Entry]) {
        let Some(listener) = self.inner.listener.get() else { return };
        let mut kinds: Vec<Kind> = entries.iter().map(|entry| entry.entry_type().kind()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds.into_iter().for_each(|kind| listener(project, kind));
    }

    /// Stores a file's bytes at `files/DIGEST`, and a record that names it; gives the digest.
    ///
    /// # Errors
    /// Nothing is acknowledged then.
    pub fn create_file(
        &self,
        project: &ProjectId,
        name: &str,
        content_type: Option<&str>,
        content: &[u8],
    ) -> Result<String, TraceError> {
        let store = self.project(project);
        let digest = digest::of_file(content);
        self.make_room(content.len() as u64)?;
        store.open(Kind::Files)?;
        let _until_it_is_named = store.creating()?;
        store.write_file(&digest, content)?;
        let data = json!({
            "project_id": project.to_string(),
            "name": name,
            "content_type": content_type,
            "size": content.len(),
            "digest": digest,
        });
        let entry =
            Entry::of_value(EntryType::FileCreate, &data).label(DIGEST_LABEL, digest.clone());
        self.log(project, &[entry])?;
        Ok(digest)
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// [`NotFound`](crate::TraceErrorKind::NotFound) where it is not here,
    /// [`Damaged`](crate::TraceErrorKind::Damaged) where
    /// its bytes do not have the digest.
    pub fn file(&self, project: &ProjectId, digest: &str) -> Result<Vec<u8>, TraceError> {
        self.project(project).read_file(digest)
    }

    /// Stores the bytes of files that were carried here, each under its digest. Those that no
    /// record names are not removed before what is returned is dropped: store the records that
    /// name them before.
    ///
    /// # Errors
    /// Where a file does not have its digest, or cannot be stored, and the first error of
    /// `files`.
    pub fn receive_files(
        &self,
        project: &ProjectId,
        files: impl IntoIterator<Item = std::io::Result<(String, Vec<u8>)>>,
    ) -> Result<ReceivedFiles, TraceError> {
        let store = self.project(project);
        let held = store.creating()?;
        for file in files {
            let (name, content) = file.map_err(|error| {
                whole_file::failed("read a file that is to be stored in", self.dir(), error)
            })?;
            let digest = digest::of_file(&content);
            if digest != name {
                let message = format!("the file {name} has the digest {digest}");
                return Err(TraceError::new(TraceErrorKind::Damaged, message));
            }
            store.write_file(&digest, &content)?;
        }
        Ok(ReceivedFiles { _held: held })
    }

    /// Notes what the server that is synced with calls a project.
    pub fn set_internal_id(&self, project: &ProjectId, id: impl Into<String>) {
        self.inner.shared.internal_ids.set(project, id.into());
    }

    /// What the server that is synced with calls a project, where that is known.
    pub fn internal_id(&self, project: &ProjectId) -> Option<String> {
        self.inner.shared.internal_ids.get(project)
    }

    /// What was taken over of data that the prototype of Weave's offline mode had stored for a
    /// project, since its folder is there. That happens when one of its kinds is used first.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn imported(&self, project: &ProjectId) -> Result<Imported, TraceError> {
        prototype::imported(&self.project_for_a_moment(project))
    }

    /// The projects that have a folder here, in order.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn projects(&self) -> Result<Vec<ProjectId>, TraceError> {
        let Shared { dir, disk, .. } = &self.inner.shared;
        names::projects(&**disk, dir)
    }

    /// The clock that it goes by.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.shared.clock
    }

    /// The disk that it is on.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.inner.shared.disk
    }

    /// The spool of a kind of data of a project, with what the prototype left of it.
    /// `Ok(None)`: nothing of it was ever logged.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn spool(&self, project: &ProjectId, kind: Kind) -> Result<Option<Spool>, TraceError> {
        self.project(project).open_if_there(kind)
    }

    fn project(&self, project: &ProjectId) -> Arc<ProjectStore> {
        let mut stores = self.stores();
        let store = stores.entry(project.clone()).or_insert_with(|| self.new_store(project));
        Arc::clone(store)
    }

    /// The same, but its spools are closed again, unless the project is in use.
    fn project_for_a_moment(&self, project: &ProjectId) -> Arc<ProjectStore> {
        let known = self.stores().get(project).map(Arc::clone);
        known.unwrap_or_else(|| self.new_store(project))
    }

    fn new_store(&self, project: &ProjectId) -> Arc<ProjectStore> {
        Arc::new(ProjectStore::new(project.clone(), self.inner.shared.clone()))
    }

    fn stores(&self) -> MutexGuard<'_, BTreeMap<ProjectId, Arc<ProjectStore>>> {
        // No call leaves it half changed.
        self.inner.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
