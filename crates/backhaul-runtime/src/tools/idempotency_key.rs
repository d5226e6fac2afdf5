//! What one intended effect is known by.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fingerprint::{canonical, fingerprint};

/// What one intended effect is known by, however often it is tried: the same for every attempt
/// and after every restart, so that a receiver which knows it does it once.
///
/// It is a hash of the tool, its arguments in canonical form, and the step of the run that asks
/// for it; not of a model's call id, which changes when the model is asked again.
///
/// ```
/// use backhaul_runtime::tools::IdempotencyKey;
/// use serde_json::json;
/// let arguments = |text: &str| json!({"to": "ops", "text": text}).as_object().unwrap().clone();
/// let key = IdempotencyKey::of("notify", &arguments("hot"), "run_1/alert/0");
/// let same = json!({"text": "hot", "to": "ops"}).as_object().unwrap().clone();
/// assert_eq!(key, IdempotencyKey::of("notify", &same, "run_1/alert/0"));
/// assert_ne!(key, IdempotencyKey::of("notify", &arguments("hot"), "run_2/alert/0"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The key of a call of a tool with these arguments at a step of a run.
    pub fn of(tool: &str, arguments: &Map<String, Value>, step: &str) -> Self {
        let mut hex = fingerprint(&[tool, step, &canonical(arguments)]);
        hex.truncate(32);
        Self(hex)
    }

    /// A key that the caller has chosen.
    pub fn chosen(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The key as text: 32 hex digits, unless it was chosen.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
