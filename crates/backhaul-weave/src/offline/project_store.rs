//! The folder of one project.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backhaul_store::{Clock, Disk, Spool};

use super::newest::Newest;
use super::options::OfflineOptions;
use crate::error::TraceError;
use crate::kind::Kind;

/// The spools of a project, each opened when it is needed.
#[derive(Debug)]
pub(super) struct ProjectStore {
    pub(super) folder: PathBuf,
    options: OfflineOptions,
    pub(super) disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    spools: Mutex<[Option<Spool>; Kind::ALL.len()]>,
    newest: Mutex<Option<Newest>>,
}

/// The newest versions of objects, for as long as nobody else may store one.
pub(super) struct NewestGuard<'a>(MutexGuard<'a, Option<Newest>>);

impl NewestGuard<'_> {
    pub(super) fn is(&self, name: &str, digest: &str) -> bool {
        self.0.as_ref().is_some_and(|newest| newest.is(name, digest))
    }

    pub(super) fn note(&mut self, name: &str, digest: &str) {
        if let Some(newest) = self.0.as_mut() {
            newest.note(name, digest);
        }
    }
}

impl ProjectStore {
    pub(super) fn new(
        folder: PathBuf,
        options: OfflineOptions,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { folder, options, disk, clock, spools: Mutex::default(), newest: Mutex::default() }
    }

    /// The spool of a kind, made where there is none.
    pub(super) fn open(&self, kind: Kind) -> Result<Spool, TraceError> {
        let mut spools = self.spools.lock().unwrap_or_else(PoisonError::into_inner);
        // As many as there are kinds.
        let Some(place) = spools.get_mut(kind as usize) else { unreachable!() };
        if let Some(spool) = place {
            return Ok(spool.clone());
        }
        let folder = self.folder.join(kind.name());
        self.disk
            .create_dir_all(&folder)
            .map_err(|error| super::files::failed("make", &folder, error))?;
        let options = self.options.of_folder(&*self.disk, &folder);
        let (disk, clock) = (Arc::clone(&self.disk), Arc::clone(&self.clock));
        let spool = Spool::open_on(&folder, options, disk, clock)?;
        Ok(place.insert(spool).clone())
    }

    /// The spool of a kind, where there is one.
    pub(super) fn open_if_there(&self, kind: Kind) -> Result<Option<Spool>, TraceError> {
        match self.disk.list(&self.folder.join(kind.name())) {
            Ok(_) => self.open(kind).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(super::files::failed("read", &self.folder.join(kind.name()), error)),
        }
    }

    /// The newest versions of its objects, read from disk the first time.
    pub(super) fn newest(&self) -> Result<NewestGuard<'_>, TraceError> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.is_none() {
            let mut read = Newest::default();
            for kind in [Kind::Ops, Kind::Objects] {
                if let Some(spool) = self.open_if_there(kind)? {
                    read.read(&spool)?;
                }
            }
            *newest = Some(read);
        }
        Ok(NewestGuard(newest))
    }
}
