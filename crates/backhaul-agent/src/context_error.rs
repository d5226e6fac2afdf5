//! What can go wrong with a context.

use std::fmt;

/// Why a context could not be changed, rebuilt or read as a type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContextError {
    /// A merge patch whose value is not an object.
    NotAnObject {
        /// The id of the patch.
        patch_id: String,
        /// The path of the patch.
        path: String,
    },
    /// A patch id that is not in the history.
    UnknownPatch {
        /// The id that was asked for.
        id: String,
    },
    /// A value that cannot be read as the type that was asked for.
    WrongType {
        /// Where the value is; empty for the whole data.
        path: String,
        /// What is there, in words; long text is cut.
        found: String,
        /// The name of the Rust type.
        expected: &'static str,
        /// What the type says about it.
        reason: String,
    },
    /// A Rust value that JSON has no form for, such as a map with keys that are no text.
    NotJson {
        /// Where the value was to be put.
        path: String,
        /// The name of the Rust type.
        found: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject { patch_id, path } => {
                write!(f, "patch {patch_id} merges a value into `{path}` that is not an object")
            }
            Self::UnknownPatch { id } => write!(f, "no patch {id} in the history of the context"),
            Self::WrongType { path, found, expected, reason } => {
                write!(f, "`{path}`: found {found}, expected {expected} ({reason})")
            }
            Self::NotJson { path, found, reason } => {
                write!(f, "`{path}`: found {found}, expected what JSON can hold ({reason})")
            }
        }
    }
}

impl std::error::Error for ContextError {}
