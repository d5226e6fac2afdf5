//! Who answered a call, why, and what was tried.

use std::time::Duration;

use backhaul_sync::header::HeaderMap;
use serde_json::{Map, Value, json};

use crate::error::LlmErrorKind;

/// Which of several answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The one that is asked first.
    #[default]
    Primary,
    /// One that is asked where the primary does not answer.
    Fallback,
    /// An earlier answer that was kept.
    Cache,
}

impl Source {
    /// `primary`, `fallback` or `cache`.
    pub fn name(self) -> &'static str {
        match self {
            Source::Primary => "primary",
            Source::Fallback => "fallback",
            Source::Cache => "cache",
        }
    }
}

/// What became of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It answered.
    Answered,
    /// It failed.
    Failed {
        /// How.
        kind: LlmErrorKind,
        /// In words.
        message: String,
        /// The status of the answer, where there was one.
        status: Option<u16>,
    },
    /// It was not asked.
    Skipped {
        /// Why not.
        reason: String,
    },
}

/// One try of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The client that was asked, by its name.
    pub client: String,
    /// What became of it.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

impl Attempt {
    /// As one object.
    pub fn to_json(&self) -> Value {
        let took_ms = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        let mut fields = json!({ "client": self.client, "took_ms": took_ms });
        let said = match &self.outcome {
            Outcome::Answered => json!({ "outcome": "answered" }),
            Outcome::Failed { kind, message, status } => json!({
                "outcome": "failed", "kind": kind.name(), "message": message, "status": status,
            }),
            Outcome::Skipped { reason } => json!({ "outcome": "skipped", "reason": reason }),
        };
        if let (Value::Object(fields), Value::Object(said)) = (&mut fields, said) {
            fields.extend(said);
        }
        fields
    }
}

/// Who answered a call, why, and what was tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// Which of several answered.
    pub source: Source,
    /// The model that answered.
    pub model: String,
    /// Why it was not the primary, such as `unreachable`. Empty where it was.
    pub reason: String,
    /// What was tried, the one that answered last. Empty where one client alone was asked.
    pub attempts: Vec<Attempt>,
    /// What was left out or changed so that the request fits the model. Empty: nothing.
    pub changes: Vec<String>,
    /// Tokens that were left out for that.
    pub trimmed_tokens: u64,
    /// How old the answer is, where it was kept.
    pub age: Option<Duration>,
    /// What its server says beside the answer: headers such as `x-request-id` and
    /// `x-ratelimit-…`.
    pub remarks: HeaderMap,
}

impl Metadata {
    /// Of a client that is alone: nothing was tried before.
    pub fn of_model(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Of a call that nobody has answered.
    pub fn of_attempts(attempts: Vec<Attempt>) -> Self {
        Self { attempts, ..Self::default() }
    }

    /// With what its server says beside the answer.
    #[must_use]
    pub fn with_remarks(self, remarks: HeaderMap) -> Self {
        Self { remarks, ..self }
    }

    /// As one object, without the server's remarks.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("source".to_owned(), self.source.name().into());
        fields.insert("model".to_owned(), self.model.clone().into());
        if !self.reason.is_empty() {
            fields.insert("reason".to_owned(), self.reason.clone().into());
        }
        if !self.attempts.is_empty() {
            let attempts = self.attempts.iter().map(Attempt::to_json).collect();
            fields.insert("attempts".to_owned(), Value::Array(attempts));
        }
        if !self.changes.is_empty() {
            fields.insert("changes".to_owned(), self.changes.clone().into());
            fields.insert("trimmed_tokens".to_owned(), self.trimmed_tokens.into());
        }
        if let Some(age) = self.age {
            fields.insert("age_seconds".to_owned(), age.as_secs().into());
        }
        fields
    }
}
