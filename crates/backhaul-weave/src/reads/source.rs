//! Where the records are read from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backhaul_store::{Disk, ErrorKind, OsDisk, Spool, SystemClock};
use serde_json::Value;

use crate::digest;
use crate::error::TraceError;
use crate::kind::Kind;
use crate::offline::{self, OfflineTraceServer, STATE};
use crate::project::ProjectId;

/// A folder of Weave's data, by way of who logs to it or beside others who do.
#[derive(Debug)]
pub(super) enum Source {
    Server(OfflineTraceServer),
    Folder(PathBuf, Arc<dyn Disk>),
}

impl Source {
    pub(super) fn folder(dir: &Path) -> Self {
        Self::Folder(dir.to_owned(), Arc::new(OsDisk))
    }

    pub(super) fn dir(&self) -> &Path {
        match self {
            Self::Server(server) => server.dir(),
            Self::Folder(dir, _) => dir,
        }
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        match self {
            Self::Server(server) => server.disk(),
            Self::Folder(_, disk) => disk,
        }
    }

    pub(super) fn projects(&self) -> Result<Vec<ProjectId>, TraceError> {
        offline::projects(&**self.disk(), self.dir())
    }

    /// Whether anything was ever logged to a project.
    pub(super) fn has(&self, project: &ProjectId) -> bool {
        self.disk().list(&self.dir().join(project.folder())).is_ok()
    }

    /// Where the index of a project is.
    pub(super) fn index_path(&self, project: &ProjectId) -> PathBuf {
        self.dir().join(STATE).join("index").join(project.folder()).join("index.redb")
    }

    /// The spool of a kind. `Ok(None)`: nothing of it was ever logged.
    pub(super) fn spool(
        &self,
        project: &ProjectId,
        kind: Kind,
    ) -> Result<Option<Spool>, TraceError> {
        let (dir, disk) = match self {
            Self::Server(server) => return server.spool(project, kind),
            Self::Folder(dir, disk) => (dir, disk),
        };
        let folder = dir.join(project.folder()).join(kind.name());
        let clock = Arc::new(SystemClock::new());
        match Spool::open_read_only_on(folder, Arc::clone(disk), clock) {
            Ok(spool) => Ok(Some(spool)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The bytes of a file.
    pub(super) fn file(&self, project: &ProjectId, digest: &str) -> Result<Vec<u8>, TraceError> {
        match self {
            Self::Server(server) => server.file(project, digest),
            Self::Folder(dir, disk) => {
                offline::read_file(&**disk, &dir.join(project.folder()), digest)
            }
        }
    }

    /// What the server calls a value.
    pub(super) fn digest_of(&self, value: &Value) -> String {
        match self {
            Self::Server(server) => server.digest_of(value),
            Self::Folder(..) => digest::of_value(value),
        }
    }
}
