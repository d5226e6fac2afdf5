//! The key of a model's server.

use std::fmt;

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

    /// The key itself, to be sent and for nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey([redacted])")
    }
}
