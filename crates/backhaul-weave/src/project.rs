//! A project of an entity.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// The most bytes of a folder's name that file systems take, less some for what is added.
const LONGEST_NAME: usize = 200;
/// What is left of a longer name, before its hash.
const CUT_NAME: usize = 120;
/// Marks an escaped byte in the name of a folder.
const ESCAPE: char = '%';
/// Stands between a name that was cut and its hash. No other folder has it in its name.
const CUT: char = '~';

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
    /// does a dot or a space in front or at the end. The same holds the other way round:
    /// [`of_folder`](ProjectId::of_folder).
    ///
    /// ```
    /// use backhaul_weave::ProjectId;
    /// let project = ProjectId::new("..", "a:b")?;
    /// assert_eq!(project.folder().to_str(), Some("%2e%2e/a%3ab"));
    /// assert_eq!(ProjectId::of_folder(&project.folder()), Some(project));
    /// # Ok::<(), backhaul_weave::ProjectError>(())
    /// ```
    ///
    /// Of a name that would be longer than 200 bytes the first 120 are left, with `~` and 32 hex
    /// digits of its SHA-256 behind them; its true name then stands in a file in the folder.
    ///
    /// ```
    /// use backhaul_weave::ProjectId;
    /// let project = ProjectId::new("me", &"long".repeat(100))?;
    /// assert_eq!(project.folder().to_str().unwrap().len(), "me/".len() + 120 + 1 + 32);
    /// # Ok::<(), backhaul_weave::ProjectError>(())
    /// ```
    pub fn folder(&self) -> PathBuf {
        [folder_name(&self.entity), folder_name(&self.project)].iter().collect()
    }

    /// Whether a name of a folder does not tell the project's.
    pub(crate) fn is_cut(folder: &Path) -> bool {
        folder.to_string_lossy().contains(CUT)
    }

    /// The project whose folder this is. `None`: no project's is called so, or its name was
    /// too long for it.
    pub fn of_folder(folder: &Path) -> Option<Self> {
        let mut names = folder.iter().map(|name| unescaped(name.to_str()?));
        let (entity, project) = (names.next()??, names.next()??);
        let is_end = names.next().is_none();
        Self::new(&entity, &project).ok().filter(|found| is_end && found.folder() == folder)
    }
}

fn folder_name(name: &str) -> String {
    let mut folder = escaped(name);
    if folder.len() > LONGEST_NAME {
        folder.truncate(CUT_NAME);
        // No half of an escaped byte is left.
        if let Some(at) = folder.rfind(ESCAPE).filter(|at| at + 3 > CUT_NAME) {
            folder.truncate(at);
        }
        folder.push(CUT);
        let hash = Sha256::digest(name);
        folder.extend(hash.iter().take(16).map(|byte| format!("{byte:02x}")));
    }
    folder
}

fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric() || b"_-. ".contains(&byte);
        let is_edge = b". ".contains(&byte) && (at == 0 || at + 1 == name.len());
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
