//! Why a node did not do what it is for.

use std::error::Error;
use std::fmt;

/// Why a node did not do what it is for. Made of any error by `?`: it is tried again then.
///
/// ```
/// use backhaul_runtime::executor::NodeError;
/// fn read(text: &str) -> Result<f64, NodeError> {
///     if text.is_empty() {
///         return Err(NodeError::fatal("there is no sensor: connect one"));
///     }
///     Ok(text.parse()?)
/// }
/// assert!(read("").unwrap_err().is_final);
/// assert_eq!(read("warm").unwrap_err().to_string(), "invalid float literal");
/// ```
// It is no `std::error::Error` itself, so that it can be made of each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeError {
    /// What went wrong, in words, with the causes behind it.
    pub message: String,
    /// Whether no other attempt helps.
    pub is_final: bool,
    /// Whether what the node does may have happened all the same: something was sent, and no
    /// answer came. The next attempt is [told](super::NodeCall::may_have_happened).
    pub may_have_happened: bool,
}

impl NodeError {
    /// An error after which another attempt may help.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_final: false, may_have_happened: false }
    }

    /// An error after which no other attempt helps.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self { is_final: true, ..Self::new(message) }
    }

    /// An error after which nobody knows whether it happened. Another attempt may help.
    pub fn unclear(message: impl Into<String>) -> Self {
        Self { may_have_happened: true, ..Self::new(message) }
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: Error> From<E> for NodeError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some errors tell of their cause themselves.
            if !message.ends_with(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        Self::new(message)
    }
}
