//! Addresses of what was published.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::error::{TraceError, TraceErrorKind};
use crate::project::ProjectId;
use crate::refs;
use crate::remote::segment;

/// The address of a version of an object, an op or a table, or of a part of it:
/// `weave:///entity/project/object/NAME:DIGEST`. Logged or published it leads there.
///
/// ```
/// use backhaul_weave::ObjectRef;
/// let text = "weave:///me/mine/object/settings:Ybm7UTiaQS9I0VeKCUGILJlkmxlY9Xl3ceG7FLqi0Tw";
/// let settings: ObjectRef = text.parse()?;
/// assert_eq!(settings.name(), "settings");
/// assert_eq!(settings.key("limit").to_string(), format!("{text}/key/limit"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectRef {
    project: ProjectId,
    /// `object`, `op` or `table`.
    kind: String,
    name: String,
    digest: String,
    /// What leads to a part, with a `/` in front.
    path: String,
}

impl ObjectRef {
    pub(crate) fn of_object(project: &ProjectId, name: &str, digest: String) -> Self {
        Self::new(project, "object", name, digest)
    }

    pub(crate) fn of_table(project: &ProjectId, digest: String) -> Self {
        Self::new(project, "table", "", digest)
    }

    fn new(project: &ProjectId, kind: &str, name: &str, digest: String) -> Self {
        Self {
            project: project.clone(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            digest,
            path: String::new(),
        }
    }

    /// The project that it is in.
    pub fn project(&self) -> &ProjectId {
        &self.project
    }

    /// The object's or op's name; empty for a table.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// A field of the object.
    #[must_use]
    pub fn attr(&self, name: &str) -> Self {
        self.part("attr", &segment(name))
    }

    /// A value of the map.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.part("key", &segment(key))
    }

    /// An item of the list, from 0.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.part("index", &index.to_string())
    }

    /// A row of the table, by its digest.
    #[must_use]
    pub fn row(&self, digest: &str) -> Self {
        self.part("id", digest)
    }

    fn part(&self, kind: &str, which: &str) -> Self {
        Self { path: format!("{}/{kind}/{which}", self.path), ..self.clone() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { project, kind, name, digest, path } = self;
        let colon = if name.is_empty() { "" } else { ":" };
        write!(f, "{}{project}/{kind}/{name}{colon}{digest}{path}", refs::SCHEME)
    }
}

impl FromStr for ObjectRef {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Self, TraceError> {
        read(text).ok_or_else(|| {
            let expected = "weave:///entity/project/object/NAME:DIGEST";
            let message = format!("{text:?} is no address of an object: expected {expected}");
            TraceError::new(TraceErrorKind::InvalidInput, message)
        })
    }
}

fn read(text: &str) -> Option<ObjectRef> {
    let (project, rest) = refs::parts(text)?;
    let (kind, rest) = rest.split_once('/')?;
    let (version, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (name, digest) = match kind {
        "table" => ("", version),
        "object" | "op" => version.rsplit_once(':')?,
        _ => return None,
    };
    let mut found = ObjectRef::new(&project, kind, name, digest.to_owned());
    path.clone_into(&mut found.path);
    Some(found).filter(|found| !found.digest.is_empty())
}

impl Serialize for ObjectRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
