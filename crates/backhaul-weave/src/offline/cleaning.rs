//! Removing what was delivered: by age, because somebody asks; or to keep within a cap.

use std::path::Path;
use std::time::Duration;

use super::project_store::ProjectStore;
use super::whole_file::{self, failed};
use super::{OfflineTraceServer, prototype};
use crate::error::TraceError;
use crate::kind::Kind;

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cleaned {
    /// Files: of records, and those that they named.
    pub files: u64,
    /// Records in them, as far as they are counted: those of the prototype's files are not.
    pub records: u64,
    /// Bytes that are free now, about.
    pub bytes: u64,
}

impl Cleaned {
    pub(super) fn add(&mut self, other: Self) {
        self.files += other.files;
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

impl From<backhaul_store::Cleaned> for Cleaned {
    fn from(cleaned: backhaul_store::Cleaned) -> Self {
        let backhaul_store::Cleaned { files, records, bytes } = cleaned;
        Self { files, records, bytes }
    }
}

impl OfflineTraceServer {
    /// Removes what was delivered longer ago than this, of all projects: files of which all
    /// records are, the bytes of files that no record names any more, and what the prototype
    /// of Weave's offline mode has delivered, by the time of its last change.
    ///
    /// What waits or was refused is never removed.
    ///
    /// # Errors
    /// Where another process delivers from a project's folder, or the disk fails. What can be
    /// removed nonetheless is.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use backhaul_weave::{Kind, OfflineOptions, OfflineTraceServer, ProjectId};
    /// # let dir = tempfile::tempdir()?;
    /// let server = OfflineTraceServer::open(dir.path(), OfflineOptions::default())?;
    /// let project: ProjectId = "my_team/my_project".parse()?;
    /// server.create_file(&project, "a.txt", None, b"abc")?;
    /// assert_eq!(server.clean_synced_files(Duration::ZERO)?.files, 0);
    /// server.spool(&project, Kind::Files)?.unwrap().drop_all(backhaul_store::Standing::Pending, "")?;
    /// // The record's file, and the bytes.
    /// assert_eq!(server.clean_synced_files(Duration::ZERO)?.files, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clean_synced_files(&self, older_than: Duration) -> Result<Cleaned, TraceError> {
        let mut cleaned = Cleaned::default();
        let mut left = Vec::new();
        for project in self.projects()? {
            let store = self.project_for_a_moment(&project);
            cleaned.add(store.clean_prototype(older_than)?);
            left.extend(Kind::ALL.map(|kind| (project.clone(), kind)));
        }
        // To remove the last file of a chain takes room for the next one, which may have to
        // be made by others first.
        loop {
            let mut refused = None;
            let before = left.len();
            let mut still_left = Vec::new();
            for (project, kind) in left {
                match self.project_for_a_moment(&project).clean(kind, older_than) {
                    Ok(more) => cleaned.add(more),
                    Err(error) => {
                        refused = Some(error);
                        still_left.push((project, kind));
                    }
                }
            }
            left = still_left;
            match refused {
                None => return Ok(cleaned),
                Some(error) if left.len() == before => return Err(error),
                Some(_) => {}
            }
        }
    }
}

impl ProjectStore {
    /// Removes what was delivered of a kind.
    pub(super) fn clean(&self, kind: Kind, older_than: Duration) -> Result<Cleaned, TraceError> {
        let Some(spool) = self.open_if_there(kind)? else { return Ok(Cleaned::default()) };
        let mut cleaned = Cleaned::from(spool.clean(older_than)?);
        if kind == Kind::Files {
            cleaned.add(self.sweep_files()?);
        }
        Ok(cleaned)
    }

    fn clean_prototype(&self, older_than: Duration) -> Result<Cleaned, TraceError> {
        let mut cleaned = Cleaned::default();
        for (path, len) in prototype::delivered(&*self.disk, &self.roots())? {
            if self.is_old(&path, older_than)? {
                self.disk.remove(&path).map_err(|error| failed("remove a file", &path, error))?;
                cleaned.add(Cleaned { files: 1, records: 0, bytes: len });
                if let Some(dir) = path.parent() {
                    whole_file::sync_dir(&*self.disk, dir)?;
                }
            }
        }
        Ok(cleaned)
    }

    fn is_old(&self, path: &Path, than: Duration) -> Result<bool, TraceError> {
        if than.is_zero() {
            return Ok(true);
        }
        let modified = self.disk.modified(path);
        let modified =
            modified.map_err(|error| failed("ask for the time of a file", path, error))?;
        Ok(self.clock.now().wall.since(modified) >= than)
    }
}
