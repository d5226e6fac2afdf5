//! What a server calls what is called otherwise here: digests of objects, tables and rows, and
//! the names that it has for projects itself.
//!
//! Older servers hash objects in the order of their keys, and all of them hash references by
//! their own names for projects, so that a digest which was answered while the server could not
//! be asked may be another than its own. What was learned is written down before the record is
//! settled: a reference that is sent after a restart must be rewritten too.
//!
//! One file of JSON lines per server, which is only ever appended to, also by several processes
//! at the same time. A line that is damaged or cut says nothing; the object is then sent again,
//! which changes nothing, when somebody brings it back.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use backhaul_sync::Url;
use serde::{Deserialize, Serialize};

use crate::error::{TraceError, TraceErrorKind};
use crate::project::ProjectId;

/// The folder of these files, in that of the program's own state.
const FOLDER: &str = "digests";

/// The digests and projects of one server.
#[derive(Debug)]
pub(super) struct Digests {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By project, as it is called here, and our digest.
    digests: HashMap<ProjectId, HashMap<String, String>>,
    projects: BTreeMap<ProjectId, String>,
    /// Up to where the file was read.
    read: u64,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    project: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    internal_id: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    digests: BTreeMap<String, String>,
}

impl Digests {
    /// Opens those of a server, in the folder of the program's state.
    pub(super) fn open(state: &Path, server: &Url) -> Result<Self, TraceError> {
        let folder = state.join(FOLDER);
        let path = folder.join(format!("{}.jsonl", file_name(server)));
        let digests = Self { path, known: Mutex::default() };
        fs::create_dir_all(&folder).map_err(|error| digests.failed("made", &error))?;
        digests.refresh().map_err(|error| digests.failed("read", &error))?;
        Ok(digests)
    }

    /// The server's digest of what has `ours` here; `None`: it is the same, or not known.
    pub(super) fn of(&self, project: &ProjectId, ours: &str) -> Option<String> {
        self.known().digests.get(project)?.get(ours).cloned()
    }

    /// Whether the server has other digests than ours for anything in a project.
    pub(super) fn has_any(&self, project: &ProjectId) -> bool {
        self.known().digests.contains_key(project)
    }

    /// What the server calls projects.
    pub(super) fn internal_ids(&self) -> BTreeMap<ProjectId, String> {
        self.known().projects.clone()
    }

    /// Takes over what other processes have learned.
    pub(super) fn refresh(&self) -> io::Result<()> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let mut known = self.known();
        if file.metadata()?.len() <= known.read {
            return Ok(());
        }
        file.seek(SeekFrom::Start(known.read))?;
        let mut new = Vec::new();
        file.read_to_end(&mut new)?;
        // What is behind the last line end is being written, or was cut.
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in new.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n') {
            known.take(line);
        }
        known.read += whole as u64;
        Ok(())
    }

    /// Writes down, durably, digests of a project that differ, ours first. Blocks.
    pub(super) fn note(
        &self,
        project: &ProjectId,
        digests: BTreeMap<String, String>,
    ) -> io::Result<()> {
        let is_new = |(ours, theirs): &(&String, &String)| {
            ours != theirs && self.of(project, ours).as_ref() != Some(theirs)
        };
        let digests: BTreeMap<String, String> = digests
            .iter()
            .filter(is_new)
            .map(|(ours, theirs)| (ours.clone(), theirs.clone()))
            .collect();
        if digests.is_empty() {
            return Ok(());
        }
        self.append(Line { project: project.to_string(), internal_id: None, digests })
    }

    /// Writes down, durably, what the server calls a project. Blocks.
    pub(super) fn note_internal_id(&self, project: &ProjectId, id: &str) -> io::Result<()> {
        if self.known().projects.get(project).is_some_and(|known| known == id) {
            return Ok(());
        }
        self.append(Line {
            project: project.to_string(),
            internal_id: Some(id.to_owned()),
            digests: BTreeMap::new(),
        })
    }

    fn append(&self, line: Line) -> io::Result<()> {
        let text = serde_json::to_string(&line).map_err(io::Error::other)?;
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let is_new = !self.path.exists();
        let mut file = options.open(&self.path)?;
        // With a line end in front, so that a line that was cut does not spoil this one.
        file.write_all(format!("\n{text}\n").as_bytes())?;
        file.sync_all()?;
        if is_new && let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.refresh()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // No call leaves it half changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, what: &str, error: &io::Error) -> TraceError {
        let path = self.path.display();
        TraceError::new(TraceErrorKind::Store, format!("{path} cannot be {what}: {error}"))
    }
}

impl Known {
    fn take(&mut self, line: &[u8]) {
        let Ok(line) = serde_json::from_slice::<Line>(line) else { return };
        let Ok(project) = line.project.parse::<ProjectId>() else { return };
        if let Some(id) = line.internal_id {
            self.projects.insert(project.clone(), id);
        }
        if !line.digests.is_empty() {
            self.digests.entry(project).or_default().extend(line.digests);
        }
    }
}

/// A server's address as the name of a file: its letters and digits, and `-` for the rest.
fn file_name(server: &Url) -> String {
    let host = server.host_str().unwrap_or_default();
    let port = server.port().map(|port| format!("-{port}")).unwrap_or_default();
    let name = format!("{host}{port}{}", server.path().trim_end_matches('/'));
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '.';
    name.chars().map(|letter| if plain(letter) { letter } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Url {
        "http://127.0.0.1:6345/traces/".parse().unwrap()
    }

    fn pair(ours: &str, theirs: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(ours.to_owned(), theirs.to_owned())])
    }

    #[test]
    fn what_was_learned_is_known_to_the_next_process_and_to_one_beside() {
        let dir = tempfile::tempdir().unwrap();
        let project: ProjectId = "me/mine".parse().unwrap();
        let first = Digests::open(dir.path(), &server()).unwrap();
        let beside = Digests::open(dir.path(), &server()).unwrap();
        first.note(&project, pair("ours", "theirs")).unwrap();
        first.note(&project, pair("same", "same")).unwrap();
        first.note_internal_id(&project, "UHJv").unwrap();
        beside.refresh().unwrap();
        let next = Digests::open(dir.path(), &server()).unwrap();
        for digests in [&first, &beside, &next] {
            assert_eq!(digests.of(&project, "ours").as_deref(), Some("theirs"));
            assert_eq!(digests.of(&project, "same"), None);
            assert_eq!(digests.internal_ids()[&project], "UHJv");
            assert!(digests.has_any(&project));
            assert!(!digests.has_any(&"me/other".parse().unwrap()));
        }
    }

    #[test]
    fn a_line_that_was_cut_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let project: ProjectId = "me/mine".parse().unwrap();
        let digests = Digests::open(dir.path(), &server()).unwrap();
        digests.note(&project, pair("a", "b")).unwrap();
        let path = dir.path().join("digests/127.0.0.1-6345-traces.jsonl");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], &whole[..whole.len() / 2]].concat()).unwrap();
        let digests = Digests::open(dir.path(), &server()).unwrap();
        digests.note(&project, pair("c", "d")).unwrap();
        let digests = Digests::open(dir.path(), &server()).unwrap();
        assert_eq!(digests.of(&project, "a").as_deref(), Some("b"));
        assert_eq!(digests.of(&project, "c").as_deref(), Some("d"));
    }
}
