//! Why a tool is not registered.

use std::fmt;

/// What is wrong with a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RegistrationErrorKind {
    /// A tool of this name is registered already.
    DuplicateName,
    /// Models cannot call a tool of this name.
    InvalidName,
    /// Its options contradict themselves.
    InvalidOptions,
}

/// Why a tool is not registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationError {
    kind: RegistrationErrorKind,
    message: String,
}

impl RegistrationError {
    pub(super) fn new(kind: RegistrationErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The same, said of a tool.
    pub(super) fn of_tool(self, name: &str) -> Self {
        Self { message: format!("the tool `{name}`: {}", self.message), ..self }
    }

    /// What is wrong.
    pub fn kind(&self) -> RegistrationErrorKind {
        self.kind
    }
}

impl fmt::Display for RegistrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RegistrationError {}
