//! Why a tool did not do it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::failure;

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

impl ToolErrorKind {
    /// Lower case with underscores, such as `invalid_arguments`.
    pub fn name(self) -> &'static str {
        match self {
            ToolErrorKind::Unreachable => "unreachable",
            ToolErrorKind::Unclear => "unclear",
            ToolErrorKind::Failed => "failed",
            ToolErrorKind::Permanent => "permanent",
            ToolErrorKind::Offline => "offline",
            ToolErrorKind::InvalidArguments => "invalid_arguments",
            ToolErrorKind::UnknownTool => "unknown_tool",
            ToolErrorKind::NotQueued => "not_queued",
        }
    }
}

impl fmt::Display for ToolErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a tool did not do it: a kind to act on, what went wrong in words, and what caused it.
///
/// Tools get one of any error by `?`. Its kind is then that of the first error in the chain of
/// causes that says something of the network or of a server's answer; of other errors it is
/// [`Failed`](ToolErrorKind::Failed).
///
/// | what is found | kind |
/// |---|---|
/// | [`std::io::Error`]: connection refused, host or network unreachable or down, not connected, address not available, name not found | `Unreachable` |
/// | timed out, would block, reset, aborted, broken pipe, unexpected end | `Unclear` |
/// | `tokio::time::error::Elapsed`, `tokio::task::JoinError` (it panicked) | `Unclear` |
/// | `reqwest::Error` (0.13): while connecting | `Unreachable` |
/// | while sending, or reading the answer | `Unclear` |
/// | status 429 or 5xx | `Failed` |
/// | any other status of 4xx, a request that cannot be made | `Permanent` |
/// | [`LlmError`](backhaul_llm::LlmError): unreachable, unavailable | `Unreachable` |
/// | timeout, broken off, garbled | `Unclear` |
/// | credentials, context length, not found, invalid, unsupported | `Permanent` |
/// | [`LinkError`](backhaul_sync::LinkError): over the data cap | `Unreachable` |
/// | unreachable (it may have broken when all was sent), timeout | `Unclear` |
/// | refused, too large, bad batch | `Permanent` |
///
/// `Display` tells what went wrong, and `{:#}` its causes too, after colons.
///
/// ```
/// use backhaul_runtime::tools::{ToolError, ToolErrorKind};
///
/// fn send() -> Result<(), ToolError> {
///     std::net::TcpStream::connect("127.0.0.1:1")?;
///     Ok(())
/// }
/// let error = send().unwrap_err();
/// assert_eq!(error.kind(), ToolErrorKind::Unreachable);
/// assert!(error.is_of_the_network());
///
/// let error = ToolError::permanent("no such sensor: `mast-9`");
/// assert_eq!(error.to_string(), "no such sensor: `mast-9`");
/// ```
#[derive(Debug, Clone)]
pub struct ToolError {
    kind: ToolErrorKind,
    message: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl ToolError {
    /// An error of a kind.
    pub fn new(kind: ToolErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// It was not done. It may be another time.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ToolErrorKind::Failed, message)
    }

    /// It was not done, and never will be.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(ToolErrorKind::Permanent, message)
    }

    /// Nobody was reached, and nothing was done.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(ToolErrorKind::Unreachable, message)
    }

    /// It may have been done.
    pub fn unclear(message: impl Into<String>) -> Self {
        Self::new(ToolErrorKind::Unclear, message)
    }

    pub(super) fn invalid_arguments(message: impl Into<String>) -> Self {
        Self::new(ToolErrorKind::InvalidArguments, message)
    }

    /// With what caused it.
    ///
    /// ```
    /// use backhaul_runtime::tools::ToolError;
    /// let cause = std::io::Error::other("the modem sleeps");
    /// let error = ToolError::unreachable("no message was sent").with_source(cause);
    /// assert_eq!(error.to_string(), "no message was sent");
    /// assert_eq!(format!("{error:#}"), "no message was sent: the modem sleeps");
    /// ```
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(Arc::from(source.into())), ..self }
    }

    /// The error of a tool's own code, which is of the kind that its chain of causes says. One
    /// that was a [`ToolError`] is that again.
    ///
    /// ```
    /// use backhaul_runtime::tools::{ToolError, ToolErrorKind};
    /// let error: Box<dyn std::error::Error + Send + Sync> = "out of paper".into();
    /// assert_eq!(ToolError::of_boxed(error).kind(), ToolErrorKind::Failed);
    /// ```
    pub fn of_boxed(error: Box<dyn Error + Send + Sync>) -> Self {
        Self::of_boxed_kind(failure::kind_of(&*error), error)
    }

    /// The same of an error whose kind is known.
    pub(super) fn of_boxed_kind(kind: ToolErrorKind, error: Box<dyn Error + Send + Sync>) -> Self {
        match error.downcast::<Boxed>() {
            Ok(boxed) => boxed.0,
            Err(error) => {
                Self { kind, message: error.to_string(), source: Some(Arc::new(Whole(error))) }
            }
        }
    }

    /// What it means for those who would try again.
    pub fn kind(&self) -> ToolErrorKind {
        self.kind
    }

    /// What went wrong, in words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What caused it, where that is known. Its own causes follow by [`Error::source`].
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source: &(dyn Error + 'static) = self.source.as_deref()?;
        match source.downcast_ref::<Whole>() {
            Some(whole) => whole.0.source(),
            None => Some(source),
        }
    }

    /// The error that it was made of by `?`, where it was one of type `E`.
    ///
    /// ```
    /// use backhaul_runtime::tools::ToolError;
    /// let error = ToolError::from("twelve".parse::<u8>().unwrap_err());
    /// assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
    /// ```
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        let source: &(dyn Error + 'static) = self.source.as_deref()?;
        match source.downcast_ref::<Whole>() {
            Some(whole) => whole.0.downcast_ref(),
            None => source.downcast_ref(),
        }
    }

    /// Whether the tool panicked: that is no matter of the network.
    pub(crate) fn is_panic(&self) -> bool {
        self.downcast_ref::<tokio::task::JoinError>().is_some()
    }

    /// Whether the network is to blame, and not the call: nobody was reached, or no answer came.
    pub fn is_of_the_network(&self) -> bool {
        use ToolErrorKind::{Offline, Unclear, Unreachable};
        matches!(self.kind, Unreachable | Unclear | Offline)
    }
}

/// Errors are equal when they say the same; causes cannot be compared.
impl PartialEq for ToolError {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.message) == (other.kind, &other.message)
    }
}

impl Eq for ToolError {}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if f.alternate() {
            for cause in failure::chain(self.source()) {
                write!(f, ": {cause}")?;
            }
        }
        Ok(())
    }
}

/// By `?` in a tool. So that every error can be converted, `ToolError` does not implement
/// `Error` itself: Rust has a conversion of every type to itself already. Where an `Error` is
/// wanted, it becomes a boxed one.
impl<E: Error + Send + Sync + 'static> From<E> for ToolError {
    fn from(error: E) -> Self {
        Self::of_boxed(Box::new(error))
    }
}

/// ```
/// use backhaul_runtime::tools::ToolError;
/// fn run() -> Result<(), Box<dyn std::error::Error>> {
///     Err(ToolError::failed("out of paper"))?
/// }
/// assert_eq!(run().unwrap_err().to_string(), "out of paper");
/// ```
impl From<ToolError> for Box<dyn Error + Send + Sync> {
    fn from(error: ToolError) -> Self {
        Box::new(Boxed(error))
    }
}

impl From<ToolError> for Box<dyn Error> {
    fn from(error: ToolError) -> Self {
        Box::new(Boxed(error))
    }
}

/// A tool's error as an `Error`.
pub(super) struct Boxed(pub(super) ToolError);

impl fmt::Debug for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for Boxed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// The error that the message is of: its causes are the tool error's, and not it.
#[derive(Debug)]
struct Whole(Box<dyn Error + Send + Sync>);

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for Whole {}
