//! The key of a model's server.

use std::env;
use std::fmt;
use std::fs;
use std::path::Path;

use crate::error::{LlmError, LlmErrorKind};

/// A key that is kept in memory alone, and never shown.
///
/// ```
/// use backhaul_llm::ApiKey;
/// let key = ApiKey::new("sk-0123").unwrap();
/// assert_eq!(format!("{key:?}"), "ApiKey([redacted])");
/// assert_eq!(key.reveal(), "sk-0123");
/// assert!(ApiKey::new(" ").is_none());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// The key that `backhaul run` gives to a program which has none, so that its client
    /// starts. It counts as no key.
    pub const PLACEHOLDER: &str = "sk-backhaul-placeholder-0000000000000000";

    /// A key, without the blanks around it. `None`: it is empty, or the
    /// [placeholder](Self::PLACEHOLDER).
    pub fn new(key: &str) -> Option<Self> {
        let key = key.trim();
        let is_one = !key.is_empty() && key != Self::PLACEHOLDER;
        is_one.then(|| Self(key.to_owned()))
    }

    /// The key in an environment variable, such as `OPENAI_API_KEY`.
    ///
    /// # Errors
    /// [`LlmErrorKind::Credentials`] where there is none in it.
    pub fn from_env(variable: &str) -> Result<Self, LlmError> {
        let value = env::var(variable).map_err(|error| match error {
            env::VarError::NotPresent => no_key(format!("{variable} is not set: set it to a key")),
            env::VarError::NotUnicode(_) => no_key(format!("{variable} is no text")),
        })?;
        Self::new(&value).ok_or_else(|| no_key(format!("{variable} is empty: set it to a key")))
    }

    /// The key in a file that has nothing else in it.
    ///
    /// # Errors
    /// [`LlmErrorKind::Credentials`] where there is none in it.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, LlmError> {
        let path = path.as_ref();
        let shown = path.display();
        let text = fs::read_to_string(path)
            .map_err(|error| no_key(format!("cannot read the key in {shown}: {error}")))?;
        match Self::new(&text) {
            Some(key) if !key.0.contains(char::is_whitespace) => Ok(key),
            Some(_) => Err(no_key(format!("{shown} is more than a key: expected one word"))),
            None => Err(no_key(format!("{shown} is empty: expected a key"))),
        }
    }

    /// The key itself, to be sent and for nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

fn no_key(message: String) -> LlmError {
    LlmError::new(LlmErrorKind::Credentials, message)
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_a_file_is_one_word() {
        let dir = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            let path = dir.path().join("key");
            fs::write(&path, text).unwrap();
            ApiKey::from_file(path).map(|key| key.0).map_err(|error| {
                assert_eq!(error.kind(), LlmErrorKind::Credentials);
                assert!(!error.message().contains("sk-1"), "{error}");
                error.message().to_owned()
            })
        };
        assert_eq!(read("sk-1\n").unwrap(), "sk-1");
        assert!(read(" \n").unwrap_err().ends_with("is empty: expected a key"));
        assert!(read("KEY = sk-1").unwrap_err().contains("more than a key"));
        assert!(ApiKey::from_file(dir.path().join("none")).is_err());
    }

    #[test]
    fn a_key_that_is_not_in_the_environment_is_asked_for() {
        let error = ApiKey::from_env("BACKHAUL_TEST_NO_SUCH_KEY").unwrap_err();
        assert_eq!(error.message(), "BACKHAUL_TEST_NO_SUCH_KEY is not set: set it to a key");
    }
}
