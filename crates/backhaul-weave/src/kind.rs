//! The kinds of data of a project, each of which has a folder.

use std::fmt;

/// What a project's data is sorted by: one folder for each kind.
///
/// ```
/// use backhaul_weave::Kind;
/// assert_eq!(Kind::Calls.name(), "calls");
/// assert_eq!(Kind::ALL.map(Kind::name)[..2], ["metadata", "files"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// That there is such a project, and what its models cost.
    Metadata,
    /// Files: their bytes at `files/DIGEST`, and records that name them.
    Files,
    /// Tables, such as the rows of datasets.
    Tables,
    /// Operation definitions: a record for each new version of an op.
    Ops,
    /// Published objects, their tags and aliases.
    Objects,
    /// Operation traces.
    Calls,
    /// Feedback on calls and objects.
    Feedback,
}

impl Kind {
    /// All kinds, in the order in which they depend on each other: none refers to data of a
    /// later one that a server would have to have.
    pub const ALL: [Kind; 7] = [
        Kind::Metadata,
        Kind::Files,
        Kind::Tables,
        Kind::Ops,
        Kind::Objects,
        Kind::Calls,
        Kind::Feedback,
    ];

    /// The kind's name, which is its folder's too.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Metadata => "metadata",
            Kind::Files => "files",
            Kind::Tables => "tables",
            Kind::Ops => "ops",
            Kind::Objects => "objects",
            Kind::Calls => "calls",
            Kind::Feedback => "feedback",
        }
    }

    /// The kind that is called so.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
