//! Why a tool did not do it.

use std::fmt;

/// What a failure means for those who would try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ToolErrorKind {
    /// Nobody was reached, and nothing was done. It is a matter of the network.
    Unreachable,
    /// Something may have been sent, and no answer came: it may have been done.
    Unclear,
    /// It was not done. It may be another time.
    Failed,
    /// It was not done, and never will be.
    Permanent,
    /// There is no network, and the tool's policy is to fail then.
    Offline,
    /// The arguments are not those that the tool takes.
    InvalidArguments,
    /// No tool of this name is registered.
    UnknownTool,
    /// It could not be stored for later.
    NotQueued,
}

/// Why a tool did not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolError {
    kind: ToolErrorKind,
    message: String,
}

impl ToolError {
    /// An error of a kind.
    pub fn new(kind: ToolErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What it means for those who would try again.
    pub fn kind(&self) -> ToolErrorKind {
        self.kind
    }

    /// What went wrong, in words.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
