//! What was tried for one call.

use std::time::Duration;

use crate::error::{LlmError, LlmErrorKind};
use crate::metadata::{Attempt, Metadata, Outcome, Source};

/// What was tried, and how each model ended.
#[derive(Debug, Default)]
pub(super) struct Trail {
    attempts: Vec<Attempt>,
    ends: Vec<(String, LlmError)>,
}

impl Trail {
    pub(super) fn skipped(&mut self, client: &str, error: &LlmError) {
        let outcome = Outcome::Skipped { reason: error.message().to_owned() };
        self.note(client, outcome, Duration::ZERO);
    }

    pub(super) fn tried(&mut self, client: &str, error: Option<&LlmError>, took: Duration) {
        let outcome = error.map_or(Outcome::Answered, |error| Outcome::Failed {
            kind: error.kind(),
            message: error.message().to_owned(),
            status: error.status(),
        });
        self.note(client, outcome, took);
    }

    fn note(&mut self, client: &str, outcome: Outcome, took: Duration) {
        self.attempts.push(Attempt { client: client.to_owned(), outcome, took });
    }

    /// This model has not answered.
    pub(super) fn end_of(&mut self, client: &str, error: LlmError) {
        self.ends.push((client.to_owned(), error));
    }

    /// Says in an answer how it came about.
    pub(super) fn sign(self, metadata: &mut Metadata, source: Source) {
        metadata.source = source;
        if let Some((_, error)) = self.ends.first() {
            error.kind().name().clone_into(&mut metadata.reason);
        }
        metadata.attempts = self.attempts;
    }

    /// Nobody has answered. Where one alone was asked its own error says it; else an error
    /// that names all.
    pub(super) fn into_error(mut self) -> LlmError {
        let only = if self.ends.len() == 1 { self.ends.pop() } else { None };
        if let Some((_, error)) = only {
            return error.with_attempts(self.attempts);
        }
        let said: Vec<_> = self.ends.iter().map(|(name, error)| named(name, error)).collect();
        let message = format!("no model has answered: {}", said.join("; "));
        // A request that fits none is the caller's to shorten.
        let is_too_long =
            |(_, error): &(String, LlmError)| error.kind() == LlmErrorKind::ContextLength;
        let kind = match self.ends.last() {
            Some(last) if is_too_long(last) => LlmErrorKind::ContextLength,
            _ => LlmErrorKind::Unavailable,
        };
        let wait = self.ends.iter().filter_map(|(_, error)| error.retry_after()).min();
        let error = LlmError::new(kind, message).with_attempts(self.attempts);
        match wait {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }
}

/// An error that says whose it is. Most do by themselves.
fn named(name: &str, error: &LlmError) -> String {
    let says_so = error.message().starts_with(name);
    if says_so { error.to_string() } else { format!("{name}: {error}") }
}
