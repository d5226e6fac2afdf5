//! Why a model did not answer.

use std::fmt;
use std::time::Duration;

use backhaul_sync::header::HeaderMap;
use serde_json::{Map, Value, json};

use crate::metadata::Attempt;

/// What went wrong, in the terms a caller acts on. It is decided once, where the error is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LlmErrorKind {
    /// No answer came: no network, no such name, nobody listens, TLS failed, the connection
    /// broke before the answer began.
    Unreachable,
    /// The answer, or the next piece of it, took too long.
    Timeout,
    /// The answer began and did not come to its end.
    BrokenOff,
    /// The answer is not one that such a server gives: a captive portal's page, broken JSON,
    /// nothing at all.
    Garbled,
    /// The server cannot serve now: 408, 409, 5xx.
    Busy,
    /// Too many requests (429).
    RateLimited,
    /// The key is missing, wrong or without money (401, 402, 403).
    Credentials,
    /// The request does not fit into the model's context.
    ContextLength,
    /// There is no such model or path (404, 405, 410).
    NotFound,
    /// Something in the request is wrong (400, 413, 422 and all other 4xx).
    Invalid,
    /// The client cannot do what was asked for, such as embeddings of a chat model.
    Unsupported,
    /// The model is not asked at the moment: it was just found not to answer, the device is
    /// offline, or all that could be asked have failed.
    Unavailable,
    /// The engine in this process failed.
    Engine,
}

impl LlmErrorKind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        LlmErrorKind::Unreachable,
        LlmErrorKind::Timeout,
        LlmErrorKind::BrokenOff,
        LlmErrorKind::Garbled,
        LlmErrorKind::Busy,
        LlmErrorKind::RateLimited,
        LlmErrorKind::Credentials,
        LlmErrorKind::ContextLength,
        LlmErrorKind::NotFound,
        LlmErrorKind::Invalid,
        LlmErrorKind::Unsupported,
        LlmErrorKind::Unavailable,
        LlmErrorKind::Engine,
    ];

    /// The kind of an answer with a status other than 2xx.
    ///
    /// ```
    /// use backhaul_llm::LlmErrorKind;
    /// assert_eq!(LlmErrorKind::of_status(503), LlmErrorKind::Busy);
    /// ```
    pub fn of_status(status: u16) -> Self {
        match status {
            401..=403 => LlmErrorKind::Credentials,
            404 | 405 | 410 => LlmErrorKind::NotFound,
            429 => LlmErrorKind::RateLimited,
            408 | 409 | 500.. => LlmErrorKind::Busy,
            400..=499 => LlmErrorKind::Invalid,
            // A redirect or less: whoever answered is no such server.
            _ => LlmErrorKind::Garbled,
        }
    }

    /// Lower case with underscores, such as `rate_limited`.
    pub fn name(self) -> &'static str {
        match self {
            LlmErrorKind::Unreachable => "unreachable",
            LlmErrorKind::Timeout => "timeout",
            LlmErrorKind::BrokenOff => "broken_off",
            LlmErrorKind::Garbled => "garbled",
            LlmErrorKind::Busy => "busy",
            LlmErrorKind::RateLimited => "rate_limited",
            LlmErrorKind::Credentials => "credentials",
            LlmErrorKind::ContextLength => "context_length_exceeded",
            LlmErrorKind::NotFound => "not_found",
            LlmErrorKind::Invalid => "invalid_request",
            LlmErrorKind::Unsupported => "unsupported",
            LlmErrorKind::Unavailable => "unavailable",
            LlmErrorKind::Engine => "engine",
        }
    }

    /// Whether another model may be asked instead: the trouble is not the request's.
    pub fn falls_back(self) -> bool {
        use LlmErrorKind::{ContextLength, Invalid, NotFound};
        !matches!(self, ContextLength | Invalid | NotFound)
    }
}

impl fmt::Display for LlmErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a model did not answer: a kind to act on, and a message that says what was found, what
/// was expected and what to do.
///
/// ```
/// use backhaul_llm::{LlmError, LlmErrorKind};
/// let error = LlmError::new(LlmErrorKind::Busy, "the server is busy").with_status(503);
/// assert_eq!(error.to_string(), "the server is busy (HTTP 503)");
/// assert!(error.kind().falls_back());
/// ```
#[derive(Debug, Clone)]
pub struct LlmError(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: LlmErrorKind,
    message: String,
    status: Option<u16>,
    retry_after: Option<Duration>,
    body: Option<Map<String, Value>>,
    attempts: Vec<Attempt>,
    remarks: HeaderMap,
    /// Whether it is the caller's who had no more patience, and if so, for how long it waited.
    waited: Option<Duration>,
}

impl LlmError {
    /// An error of a kind.
    pub fn new(kind: LlmErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Inner {
            kind,
            message,
            status: None,
            retry_after: None,
            body: None,
            attempts: Vec::new(),
            remarks: HeaderMap::new(),
            waited: None,
        }))
    }

    /// The caller's patience was over after so long: the model may be well.
    pub(crate) fn impatience(waited: Duration) -> Self {
        let message = format!("no answer within the {waited:.1?} that the caller left it");
        let mut error = Self::new(LlmErrorKind::Timeout, message);
        error.0.waited = Some(waited);
        error
    }

    /// How long a caller waited whose patience was over.
    pub(crate) fn waited(&self) -> Option<Duration> {
        self.0.waited
    }

    /// With the status of the answer.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    /// With how long the server asks to wait.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// With what the server said itself: the object under `error`, or what stands in its place.
    #[must_use]
    pub fn with_body(mut self, body: Map<String, Value>) -> Self {
        self.0.body = Some(body);
        self
    }

    /// With what was tried before.
    #[must_use]
    pub fn with_attempts(mut self, attempts: Vec<Attempt>) -> Self {
        self.0.attempts = attempts;
        self
    }

    /// With what the server says beside it, such as the request's id.
    #[must_use]
    pub fn with_remarks(mut self, remarks: HeaderMap) -> Self {
        self.0.remarks = remarks;
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> LlmErrorKind {
        self.0.kind
    }

    /// What went wrong in words, without the status.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The status of the answer, where there was one.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// How long the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What was tried, the last one last. Empty where one client alone was asked.
    pub fn attempts(&self) -> &[Attempt] {
        &self.0.attempts
    }

    /// What the server says beside it: headers such as `x-request-id` and `x-ratelimit-…`.
    pub fn remarks(&self) -> &HeaderMap {
        &self.0.remarks
    }

    /// The error as OpenAI's clients read it: what the server said itself, or an object made of
    /// kind and message.
    pub fn to_json(&self) -> Value {
        if let Some(body) = &self.0.body {
            return json!({ "error": body });
        }
        let (kind, message) = (self.0.kind, &self.0.message);
        let class = match kind {
            LlmErrorKind::Invalid | LlmErrorKind::ContextLength | LlmErrorKind::NotFound => {
                "invalid_request_error"
            }
            LlmErrorKind::Credentials => "authentication_error",
            LlmErrorKind::RateLimited => "rate_limit_error",
            _ => "server_error",
        };
        let code = match kind {
            LlmErrorKind::Credentials => "invalid_api_key",
            LlmErrorKind::RateLimited => "rate_limit_exceeded",
            LlmErrorKind::NotFound => "model_not_found",
            _ => kind.name(),
        };
        json!({ "error": { "message": message, "type": class, "param": null, "code": code } })
    }
}

impl fmt::Display for LlmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match self.0.status {
            Some(status) => write!(f, " (HTTP {status})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LlmError {}
