//! A project of an entity.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use backhaul_store::Disk;

use crate::error::{TraceError, TraceErrorKind};
use crate::offline::STATE;

/// The most bytes of a folder's name that file systems take, less some for what is added.
const LONGEST_NAME: usize = 200;
/// Marks an escaped byte in the name of a folder.
const ESCAPE: char = '%';

/// A project of an entity, as in `my_team/my_project`.
///
/// ```
/// use backhaul_weave::ProjectId;
/// let project: ProjectId = "my_team/my_project".parse()?;
/// assert_eq!((project.entity(), project.project()), ("my_team", "my_project"));
/// // Without an entity it is kept under `offline`, until one is known.
/// assert_eq!("my_project".parse::<ProjectId>()?.to_string(), "offline/my_project");
/// # Ok::<(), backhaul_weave::ProjectError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectId {
    entity: String,
    project: String,
}

impl ProjectId {
    /// The entity of projects that name none.
    pub const NO_ENTITY: &str = "offline";

    /// A project of an entity.
    ///
    /// # Errors
    /// Where a name is empty or has a `/` in it.
    pub fn new(entity: &str, project: &str) -> Result<Self, ProjectError> {
        let is_name = |name: &str| !name.is_empty() && !name.contains('/');
        if !is_name(entity) || !is_name(project) {
            return Err(ProjectError { found: format!("{entity}/{project}") });
        }
        Ok(Self { entity: entity.to_owned(), project: project.to_owned() })
    }

    /// The entity: a person or a team.
    pub fn entity(&self) -> &str {
        &self.entity
    }

    /// The project's name.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// The folder of its data, below that of all: `entity/project`.
    ///
    /// Names that a file system does not take, or that lead elsewhere, are escaped: each
    /// byte that is no letter, digit, `_`, `-`, `.` or space becomes `%` and two digits, and so
    /// does a dot in front. The same holds the other way round:
    /// [`of_folder`](ProjectId::of_folder).
    ///
    /// ```
    /// use backhaul_weave::ProjectId;
    /// let project = ProjectId::new("..", "a:b")?;
    /// assert_eq!(project.folder().to_str(), Some("%2e./a%3ab"));
    /// assert_eq!(ProjectId::of_folder(&project.folder()), Some(project));
    /// # Ok::<(), backhaul_weave::ProjectError>(())
    /// ```
    ///
    /// A name of which more than 200 bytes would be left is refused: see
    /// [`has_folder`](ProjectId::has_folder).
    pub fn folder(&self) -> PathBuf {
        [escaped(&self.entity), escaped(&self.project)].iter().collect()
    }

    /// Whether its names are short enough for folders.
    pub fn has_folder(&self) -> bool {
        [&self.entity, &self.project].iter().all(|name| escaped(name).len() <= LONGEST_NAME)
    }

    /// The project whose folder this is. `None`: no project's is called so.
    pub fn of_folder(folder: &Path) -> Option<Self> {
        let mut names = folder.iter().map(|name| unescaped(name.to_str()?));
        let (entity, project) = (names.next()??, names.next()??);
        let is_end = names.next().is_none();
        Self::new(&entity, &project).ok().filter(|found| is_end && found.folder() == folder)
    }
}

/// The projects that have a folder in `dir`, in order.
pub(crate) fn in_folder(disk: &dyn Disk, dir: &Path) -> Result<Vec<ProjectId>, TraceError> {
    let folders = |path: &Path| -> Result<Vec<String>, TraceError> {
        let entries = disk.list(path).map_err(|error| {
            let path = path.display();
            let message = format!("the folder {path} cannot be read: {error}");
            TraceError::new(TraceErrorKind::Store, message)
        })?;
        Ok(entries.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect())
    };
    let mut projects = Vec::new();
    for entity in folders(dir)?.into_iter().filter(|name| name != STATE) {
        for project in folders(&dir.join(&entity))? {
            projects.extend(ProjectId::of_folder(&Path::new(&entity).join(project)));
        }
    }
    projects.sort();
    Ok(projects)
}

fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric() || b"_-. ".contains(&byte);
        let is_edge = at == 0 && byte == b'.' || byte == b' ' && (at == 0 || at + 1 == name.len());
        if is_plain && !is_edge {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("{ESCAPE}{byte:02x}"));
        }
    }
    escaped
}

fn unescaped(folder: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(folder.len());
    let mut rest = folder;
    while let Some((before, after)) = rest.split_once(ESCAPE) {
        bytes.extend_from_slice(before.as_bytes());
        bytes.push(u8::from_str_radix(after.get(..2)?, 16).ok()?);
        rest = after.get(2..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.entity, self.project)
    }
}

impl FromStr for ProjectId {
    type Err = ProjectError;

    fn from_str(text: &str) -> Result<Self, ProjectError> {
        match text.split_once('/') {
            Some((entity, project)) => Self::new(entity, project),
            None => Self::new(Self::NO_ENTITY, text),
        }
    }
}

/// A text that names no project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectError {
    found: String,
}

impl fmt::Display for ProjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} names no project: expected entity/project, or a project alone", self.found)
    }
}

impl std::error::Error for ProjectError {}
