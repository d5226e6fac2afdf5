//! The folder of one project.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backhaul_store::{Clock, Disk, RecordId, SharedCap, Spool};
use serde_json::json;

use super::internal_ids::InternalIds;
use super::newest::{self, Newest};
use super::options::OfflineOptions;
use super::trouble::Trouble;
use super::whole_file::{self, Hold};
use super::{names, prototype};
use crate::entry::{Entry, EntryType};
use crate::error::TraceError;
use crate::kind::Kind;
use crate::project::ProjectId;

/// Held by a process while it does to a project's folder what is done once.
const LOCK: &str = "project.lock";

/// What all projects of a folder share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    /// The folder of all projects.
    pub(super) dir: PathBuf,
    pub(super) options: OfflineOptions,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) internal_ids: Arc<InternalIds>,
    pub(super) cap: Option<SharedCap>,
}

/// The spools of a project, each opened when it is needed.
#[derive(Debug)]
pub(super) struct ProjectStore {
    pub(super) id: ProjectId,
    pub(super) folder: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) internal_ids: Arc<InternalIds>,
    shared: Shared,
    ready: Mutex<Ready>,
    spools: Mutex<[Option<Spool>; Kind::ALL.len()]>,
    newest: Mutex<Newest>,
    opening: Trouble,
    pub(super) writing_files: Trouble,
}

/// What this process has done to the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ready {
    Not,
    /// What the prototype left is in the spools.
    TakenOver,
    /// The project's own record is stored.
    Introduced,
}

/// The newest versions of objects, for as long as nobody else here may store one.
pub(super) struct NewestGuard<'a> {
    store: &'a ProjectStore,
    newest: MutexGuard<'a, Newest>,
}

impl NewestGuard<'_> {
    /// Whether a version is the newest of its object, whoever stored it.
    pub(super) fn is(&mut self, name: &str, digest: &str) -> Result<bool, TraceError> {
        for kind in newest::KINDS {
            if let Some(spool) = self.store.open_if_there(kind)? {
                self.newest.read(kind, &spool)?;
            }
        }
        Ok(self.newest.is(name, digest))
    }

    pub(super) fn note(&mut self, name: &str, digest: &str, kind: Kind, id: RecordId) {
        let now = self.store.clock.now().wall;
        self.newest.note(name, digest, (kind, id.position.chain), now);
    }
}

impl ProjectStore {
    pub(super) fn new(id: ProjectId, shared: Shared) -> Self {
        Self {
            folder: shared.dir.join(id.folder()),
            id,
            disk: Arc::clone(&shared.disk),
            clock: Arc::clone(&shared.clock),
            internal_ids: Arc::clone(&shared.internal_ids),
            shared,
            ready: Mutex::new(Ready::Not),
            spools: Mutex::default(),
            newest: Mutex::default(),
            opening: Trouble::default(),
            writing_files: Trouble::default(),
        }
    }

    /// The folders that its data may lie in: its own, and what the prototype made of its name.
    pub(super) fn roots(&self) -> Vec<PathBuf> {
        let of_prototype = names::folder_of_prototype(&self.shared.dir, &self.id);
        std::iter::once(self.folder.clone()).chain(of_prototype).collect()
    }

    /// The spool of a kind, to append to, made where there is none. The first one that a
    /// project ever had is told so: its own record comes before all others.
    pub(super) fn open(&self, kind: Kind) -> Result<Spool, TraceError> {
        let opened = self.be_ready(Ready::Introduced).and_then(|()| self.spool(kind));
        self.opening.note(&self.id, opened)
    }

    /// The spool of a kind, where there is one.
    pub(super) fn open_if_there(&self, kind: Kind) -> Result<Option<Spool>, TraceError> {
        let is_there = |root: &PathBuf| names::list(&*self.disk, root).map(|all| !all.is_empty());
        for root in self.roots() {
            if is_there(&root)? {
                self.be_ready(Ready::TakenOver)?;
                return self.spool_if_there(kind);
            }
        }
        Ok(None)
    }

    /// The newest versions of its objects.
    pub(super) fn newest(&self) -> NewestGuard<'_> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        NewestGuard { store: self, newest }
    }

    /// Does what is done once to a folder, by one process at a time.
    fn be_ready(&self, wanted: Ready) -> Result<(), TraceError> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if *ready >= wanted {
            return Ok(());
        }
        whole_file::make_folder(&*self.disk, &self.folder, &self.shared.dir)?;
        let _alone = whole_file::lock(&*self.disk, &self.folder.join(LOCK), Hold::Alone)?;
        if *ready == Ready::Not {
            self.remove_unfinished()?;
            names::note(&*self.disk, &self.folder, &self.id)?;
            prototype::take_over(self, &self.roots())?;
        }
        if wanted == Ready::Introduced {
            self.introduce()?;
        }
        *ready = wanted;
        Ok(())
    }

    /// Stores that there is such a project, unless somebody did before: it is the first
    /// record of its metadata.
    fn introduce(&self) -> Result<(), TraceError> {
        let spool = self.spool(Kind::Metadata)?;
        if spool.status()?.books.accepted > 0 {
            return Ok(());
        }
        let now = self.clock.now().wall;
        let data = json!({
            "entity": self.id.entity(),
            "project": self.id.project(),
            "created_at": now.to_string(),
        });
        spool.append(Entry::of_value(EntryType::Project, &data).to_record(now))?;
        Ok(())
    }

    /// The spool of a kind of a folder that is ready.
    pub(super) fn spool(&self, kind: Kind) -> Result<Spool, TraceError> {
        let mut spools = self.spools.lock().unwrap_or_else(PoisonError::into_inner);
        // As many as there are kinds.
        let Some(place) = spools.get_mut(kind as usize) else { unreachable!() };
        if let Some(spool) = place {
            return Ok(spool.clone());
        }
        let folder = self.folder.join(kind.name());
        whole_file::make_folder(&*self.disk, &folder, &self.folder)?;
        let options = self.shared.options.of_folder(&*self.disk, &folder, self.shared.cap.clone());
        let (disk, clock) = (Arc::clone(&self.disk), Arc::clone(&self.clock));
        let spool = Spool::open_on(&folder, options, disk, clock)?;
        Ok(place.insert(spool).clone())
    }

    /// The same, where there is one.
    pub(super) fn spool_if_there(&self, kind: Kind) -> Result<Option<Spool>, TraceError> {
        let folder = self.folder.join(kind.name());
        match names::list(&*self.disk, &folder)?.is_empty() {
            true => Ok(None),
            false => self.spool(kind).map(Some),
        }
    }

    /// Whether this process has a kind's spool open, and counts what is in its folder.
    pub(super) fn has_open(&self, kind: Kind) -> bool {
        let spools = self.spools.lock().unwrap_or_else(PoisonError::into_inner);
        spools.get(kind as usize).is_some_and(Option::is_some)
    }
}
