//! How long the primary is waited for, and when another model is asked.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::error::LlmErrorKind;

/// How an [`OfflineLlmClient`](crate::OfflineLlmClient) goes from one model to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct OfflineLlmOptions {
    /// How long the primary may take until a streamed answer begins, or a whole one has come,
    /// all its tries together: at most that long until the next model is asked. Default: 5.
    pub timeout_seconds: f64,
    /// The same for whole answers alone, which take as long as the model writes.
    /// `None`, the default: `timeout_seconds` holds for them too.
    pub answer_timeout_seconds: Option<f64>,
    /// How often the primary is tried again within that time, where it answered with an error
    /// that may be gone in a moment. Default: 2.
    pub max_retries: u32,
    /// How much of a request's token budget a fallback has, 0 to 1. Its own context is the
    /// limit in any case. Default: 0.5.
    pub fallback_budget_ratio: f64,
    /// How many calls one fallback answers at a time. Default: 1, as a local model has one
    /// memory and one processor.
    pub fallback_calls: usize,
    /// How many more may wait for their turn; others are turned away. Default: 16.
    pub fallback_queue: usize,
    /// What another model is asked for. Default: all that is not the request's own fault.
    pub fall_back_on: BTreeSet<LlmErrorKind>,
    /// The wait before a model that did not answer is looked at again. It doubles up to
    /// [`probe_max`](Self::probe_max). Default: 1 s.
    pub probe_interval: Duration,
    /// The longest wait. Default: 30 s.
    pub probe_max: Duration,
}

impl Default for OfflineLlmOptions {
    fn default() -> Self {
        Self {
            timeout_seconds: 5.0,
            answer_timeout_seconds: None,
            max_retries: 2,
            fallback_budget_ratio: 0.5,
            fallback_calls: 1,
            fallback_queue: 16,
            fall_back_on: LlmErrorKind::ALL.into_iter().filter(|it| it.falls_back()).collect(),
            probe_interval: Duration::from_secs(1),
            probe_max: Duration::from_secs(30),
        }
    }
}

/// An option that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LlmOptionError {
    option: &'static str,
    message: String,
}

impl LlmOptionError {
    /// The option, by its name.
    pub fn option(&self) -> &'static str {
        self.option
    }
}

impl fmt::Display for LlmOptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.option, self.message)
    }
}

impl std::error::Error for LlmOptionError {}

impl OfflineLlmOptions {
    /// # Errors
    /// Names the first option that makes no sense.
    pub fn check(&self) -> Result<(), LlmOptionError> {
        let error = |option, message: String| Err(LlmOptionError { option, message });
        let is_time = |seconds: f64| seconds > 0.0 && seconds <= 86_400.0;
        if !is_time(self.timeout_seconds) {
            let found = self.timeout_seconds;
            return error("timeout_seconds", format!("is {found}: expected 0 < s <= 86400"));
        }
        if let Some(found) = self.answer_timeout_seconds.filter(|it| !is_time(*it)) {
            let message = format!("is {found}: expected 0 < s <= 86400");
            return error("answer_timeout_seconds", message);
        }
        let ratio = self.fallback_budget_ratio;
        if !(ratio > 0.0 && ratio <= 1.0) {
            let message = format!("is {ratio}: expected more than 0, and 1 at most");
            return error("fallback_budget_ratio", message);
        }
        if self.fallback_calls == 0 {
            return error("fallback_calls", "is 0: expected at least 1".to_owned());
        }
        if self.probe_interval.is_zero() || self.probe_max < self.probe_interval {
            let message = "is 0 or more than probe_max: expected 0 < probe_interval <= probe_max";
            return error("probe_interval", message.to_owned());
        }
        Ok(())
    }

    /// How long the primary may take in all.
    pub(super) fn budget(&self, is_streamed: bool) -> Duration {
        let of_answers = self.answer_timeout_seconds.filter(|_| !is_streamed);
        let seconds = of_answers.unwrap_or(self.timeout_seconds);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// How long to wait before a model is looked at that was found not to answer `times` times
    /// in a row.
    pub(super) fn wait(&self, times: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(times.saturating_sub(1));
        self.probe_interval.saturating_mul(doubled).min(self.probe_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_document_and_make_sense() {
        let options = OfflineLlmOptions::default();
        options.check().unwrap();
        assert_eq!((options.timeout_seconds, options.max_retries), (5.0, 2));
        assert!(options.fall_back_on.contains(&LlmErrorKind::Credentials));
        assert!(!options.fall_back_on.contains(&LlmErrorKind::Invalid));
        assert_eq!(options.budget(false), Duration::from_secs(5));
    }

    #[test]
    fn an_option_that_makes_no_sense_is_named() {
        let of = OfflineLlmOptions::default;
        for (message, options) in [
            ("timeout_seconds is NaN", OfflineLlmOptions { timeout_seconds: f64::NAN, ..of() }),
            (
                "answer_timeout_seconds is 0",
                OfflineLlmOptions { answer_timeout_seconds: Some(0.0), ..of() },
            ),
            (
                "fallback_budget_ratio is 1.5",
                OfflineLlmOptions { fallback_budget_ratio: 1.5, ..of() },
            ),
            ("fallback_calls is 0", OfflineLlmOptions { fallback_calls: 0, ..of() }),
            ("probe_interval is 0", OfflineLlmOptions { probe_interval: Duration::ZERO, ..of() }),
        ] {
            let error = options.check().unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let options = OfflineLlmOptions::default();
        let seconds = [1, 2, 5, 6, 40].map(|times| options.wait(times).as_secs());
        assert_eq!(seconds, [1, 2, 16, 30, 30]);
    }
}
