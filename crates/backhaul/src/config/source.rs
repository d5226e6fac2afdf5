//! Where a value comes from.

use std::fmt;
use std::path::PathBuf;

/// Where the value of a setting comes from. A later kind wins over those before it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    /// Nothing was said.
    #[default]
    Default,
    /// The configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The character in the line, from 1.
        column: usize,
    },
    /// A variable of the environment, by its name.
    Variable(String),
    /// A flag of the command line, by its name.
    Flag(String),
}

impl Source {
    pub(super) fn rank(&self) -> u8 {
        match self {
            Source::Default => 0,
            Source::File { .. } => 1,
            Source::Variable(_) => 2,
            Source::Flag(_) => 3,
        }
    }

    /// How a message about the setting `name` begins: the place and the name.
    pub(super) fn naming(&self, name: &str) -> String {
        match self {
            Source::Default => format!("{name} (its default)"),
            Source::File { path, line, column } => {
                format!("{}:{line}:{column}: {name}", path.display())
            }
            Source::Variable(variable) => variable.clone(),
            Source::Flag(flag) => flag.clone(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File { path, line, .. } => write!(f, "{}:{line}", path.display()),
            Source::Variable(name) | Source::Flag(name) => f.write_str(name),
        }
    }
}
