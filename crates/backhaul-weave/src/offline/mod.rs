//! Where everything that is logged stands until a server has it, and after.

mod files;
mod newest;
mod options;
mod project_store;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use backhaul_store::{Clock, Disk, OsDisk, RecordId, Spool, SystemClock};
use serde_json::{Value, json};

pub(crate) use self::files::read_file;
pub use self::options::OfflineOptions;
use self::project_store::ProjectStore;
use crate::entry::{DIGEST_LABEL, Entry, EntryType, OBJECT_LABEL};
use crate::error::{TraceError, TraceErrorKind};
use crate::kind::Kind;
use crate::project::{self, ProjectId};
use crate::{digest, refs};

/// What this program keeps beside the projects: no entity's folder is called so.
pub const STATE: &str = ".backhaul";

type Listener = Box<dyn Fn(&ProjectId, Kind) + Send + Sync>;

/// A folder that takes what a Weave trace server would, for any number of projects.
///
/// Each kind of data of a project is a [`Spool`] in `entity/project/KIND`: gzip files of JSON
/// lines, `YYYYMMDD_0000.jsonl.gz`. What a call returns from is on stable storage. Several
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
    dir: PathBuf,
    options: OfflineOptions,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    projects: Mutex<BTreeMap<ProjectId, Arc<ProjectStore>>>,
    /// What the server that is synced with calls projects, as far as that is known.
    internal_ids: RwLock<BTreeMap<ProjectId, String>>,
    listener: OnceLock<Listener>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// A table that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTable {
    /// The table's name.
    pub digest: String,
    /// Those of its rows, in order.
    pub row_digests: Vec<String>,
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
        disk.create_dir_all(&dir.join(STATE)).map_err(|error| {
            let path = dir.display();
            TraceError::new(
                TraceErrorKind::Store,
                format!("the folder {path} for Weave's data cannot be made: {error}"),
            )
        })?;
        let inner = Inner {
            dir,
            options,
            disk,
            clock,
            projects: Mutex::default(),
            internal_ids: RwLock::default(),
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
        &self.inner.dir
    }

    /// The disk that it is on.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.inner.disk
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
        let store = self.project(project)?;
        let now = self.inner.clock.now().wall;
        let mut tickets = Vec::with_capacity(entries.len());
        for entry in entries {
            let spool = store.open(entry.entry_type().kind())?;
            tickets.push(spool.submit(entry.to_record(now))?);
        }
        let ids = tickets.into_iter().map(|ticket| ticket.wait()).collect::<Result<_, _>>()?;
        let mut kinds: Vec<Kind> = entries.iter().map(|entry| entry.entry_type().kind()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        for (listener, kind) in self
            .inner
            .listener
            .get()
            .into_iter()
            .flat_map(|listener| kinds.iter().map(move |kind| (listener, *kind)))
        {
            listener(project, kind);
        }
        Ok(ids)
    }

    /// Stores a version of an object or an op, given as the `obj` of a request, and gives its
    /// digest. The version that is the newest of its object already is not stored again.
    ///
    /// # Errors
    /// [`TraceErrorKind::InvalidInput`] where `object` has no `object_id` or no `val`.
    pub fn create_object(&self, project: &ProjectId, object: &Value) -> Result<String, TraceError> {
        let (Some(name), Some(value)) = (object["object_id"].as_str(), object.get("val")) else {
            return Err(TraceError::new(
                TraceErrorKind::InvalidInput,
                "an object lacks its object_id or its val",
            ));
        };
        let digest = self.digest_of(value);
        let store = self.project(project)?;
        let entry_type = match value["weave_type"]["type"].as_str() {
            Some("Op") => EntryType::OpCreate,
            _ => EntryType::ObjCreate,
        };
        // Held until it is stored: the newest is the one that is stored last.
        let mut newest = store.newest()?;
        if !newest.is(name, &digest) {
            let entry = Entry::of_value(entry_type, object)
                .label(OBJECT_LABEL, name)
                .label(DIGEST_LABEL, &digest);
            self.log(project, &[entry])?;
            newest.note(name, &digest);
        }
        Ok(digest)
    }

    /// Stores a table, given as the `table` of a request.
    ///
    /// # Errors
    /// [`TraceErrorKind::InvalidInput`] where it has no `rows`.
    pub fn create_table(
        &self,
        project: &ProjectId,
        table: &Value,
    ) -> Result<CreatedTable, TraceError> {
        let rows = table["rows"].as_array().ok_or_else(|| {
            TraceError::new(TraceErrorKind::InvalidInput, "a table lacks its rows")
        })?;
        let row_digests: Vec<String> = rows.iter().map(|row| self.digest_of(row)).collect();
        let digest = digest::of_table(&row_digests);
        let entry = Entry::of_value(EntryType::TableCreate, table).label(DIGEST_LABEL, &digest);
        self.log(project, &[entry])?;
        Ok(CreatedTable { digest, row_digests })
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
        let store = self.project(project)?;
        let digest = digest::of_file(content);
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
    /// [`TraceErrorKind::NotFound`] where it is not here, [`TraceErrorKind::Damaged`] where
    /// its bytes do not have the digest.
    pub fn file(&self, project: &ProjectId, digest: &str) -> Result<Vec<u8>, TraceError> {
        self.project(project)?.read_file(digest)
    }

    /// The digest of a value, as the server that is synced with gives it, as far as its names
    /// for projects are known.
    pub fn digest_of(&self, value: &Value) -> String {
        let internal_ids = self.inner.internal_ids.read().unwrap_or_else(PoisonError::into_inner);
        if internal_ids.is_empty() {
            return digest::of_value(value);
        }
        let mut value = value.clone();
        refs::rewrite(&mut value, &mut |project, rest| {
            let id = internal_ids.get(project)?;
            Some(format!("{}{id}/{rest}", refs::INTERNAL_SCHEME))
        });
        digest::of_value(&value)
    }

    /// Notes what the server that is synced with calls a project.
    pub fn set_internal_id(&self, project: &ProjectId, id: impl Into<String>) {
        let mut ids = self.inner.internal_ids.write().unwrap_or_else(PoisonError::into_inner);
        ids.insert(project.clone(), id.into());
    }

    /// What the server that is synced with calls a project, where that is known.
    pub fn internal_id(&self, project: &ProjectId) -> Option<String> {
        let ids = self.inner.internal_ids.read().unwrap_or_else(PoisonError::into_inner);
        ids.get(project).cloned()
    }

    /// The projects that have a folder here, in order.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn projects(&self) -> Result<Vec<ProjectId>, TraceError> {
        project::in_folder(&*self.inner.disk, &self.inner.dir)
    }

    /// The spool of a kind of data of a project. `Ok(None)`: nothing of it was ever logged.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn spool(&self, project: &ProjectId, kind: Kind) -> Result<Option<Spool>, TraceError> {
        self.project(project)?.open_if_there(kind)
    }

    fn project(&self, project: &ProjectId) -> Result<Arc<ProjectStore>, TraceError> {
        if let Some(store) = self.stores().get(project) {
            return Ok(Arc::clone(store));
        }
        if !project.has_folder() {
            return Err(TraceError::new(
                TraceErrorKind::InvalidInput,
                format!("the name of the project {project} is too long for a folder"),
            ));
        }
        let Inner { dir, options, disk, clock, .. } = &*self.inner;
        let folder = dir.join(project.folder());
        let store = ProjectStore::new(folder, options.clone(), Arc::clone(disk), Arc::clone(clock));
        let mut stores = self.stores();
        Ok(Arc::clone(stores.entry(project.clone()).or_insert_with(|| Arc::new(store))))
    }

    fn stores(&self) -> MutexGuard<'_, BTreeMap<ProjectId, Arc<ProjectStore>>> {
        // No call leaves it half changed.
        self.inner.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
