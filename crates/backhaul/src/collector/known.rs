//! What the real server has said once, for when it cannot be asked.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use backhaul_weave::{OfflineTraceServer, ProjectId, STATE};
use serde::{Deserialize, Serialize};

/// Its file, in the folder of what this program keeps beside the projects.
const FILE: &str = "server.json";
/// Who writes, where no server has said it.
const NOBODY: &str = "offline";

/// What the server has said, and what the environment says in its place.
pub(super) struct Known {
    path: PathBuf,
    /// Wins over the server's.
    entity: Option<String>,
    said: Mutex<Said>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Said {
    pub(super) username: Option<String>,
    /// Where projects of this user go that name no entity.
    pub(super) entity: Option<String>,
    pub(super) trace_server_version: Option<String>,
    /// What the server calls projects.
    pub(super) internal_ids: BTreeMap<String, String>,
}

impl Known {
    /// What was said to this folder's collectors before, and has `server` know the names of
    /// projects.
    pub(super) fn read(server: &OfflineTraceServer, entity: Option<String>) -> Self {
        let path = server.dir().join(STATE).join(FILE);
        let text = std::fs::read(&path).unwrap_or_default();
        let said: Said = serde_json::from_slice(&text).unwrap_or_default();
        for (project, id) in &said.internal_ids {
            if let Ok(project) = project.parse() {
                server.set_internal_id(&project, id);
            }
        }
        let entity = entity.filter(|entity| !entity.is_empty());
        Self { path, entity, said: Mutex::new(said) }
    }

    /// Notes what the server says. A disk that does not take it costs no answer.
    pub(super) fn learn(&self, note: impl FnOnce(&mut Said)) {
        let mut said = self.said();
        let before = said.clone();
        note(&mut said);
        if *said != before
            && let Err(error) = write(&self.path, &said)
        {
            tracing::warn!(%error, path = %self.path.display(), "what the server said is not kept");
        }
    }

    pub(super) fn entity(&self) -> String {
        let of_server = || self.said().entity.clone();
        let entity = self.entity.clone().or_else(of_server);
        entity.unwrap_or_else(|| ProjectId::NO_ENTITY.to_owned())
    }

    pub(super) fn username(&self) -> String {
        self.said().username.clone().unwrap_or_else(|| NOBODY.to_owned())
    }

    pub(super) fn trace_server_version(&self) -> Option<String> {
        self.said().trace_server_version.clone()
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whole or not at all: several processes may write it.
fn write(path: &Path, said: &Said) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec_pretty(said)?)?;
    file.persist(path)?;
    Ok(())
}
