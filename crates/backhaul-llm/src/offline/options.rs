//! How long the primary is waited for, and when another model is asked.

use std::collections::BTreeSet;
use std::time::Duration;

use backhaul_sync::OptionError;

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

impl OfflineLlmOptions {
    /// Checks that the values make sense.
    ///
    /// # Errors
    /// Names the first option that makes no sense.
    pub fn check(&self) -> Result<(), OptionError> {
        let is_time = |seconds: f64| seconds > 0.0 && seconds <= 86_400.0;
        let of_answers = self.answer_timeout_seconds.unwrap_or(self.timeout_seconds);
        let (ratio, probe) = (self.fallback_budget_ratio, self.probe_interval);
        let seconds = "more than 0 and at most 86400 seconds";
        for (makes_sense, option, found, expected) in [
            (
                is_time(self.timeout_seconds),
                "timeout_seconds",
                self.timeout_seconds.to_string(),
                seconds,
            ),
            (is_time(of_answers), "answer_timeout_seconds", of_answers.to_string(), seconds),
            (
                ratio > 0.0 && ratio <= 1.0,
                "fallback_budget_ratio",
                ratio.to_string(),
                "more than 0, and 1 at most",
            ),
            (self.fallback_calls > 0, "fallback_calls", "0".to_owned(), "at least 1"),
            (
                !probe.is_zero() && probe <= self.probe_max,
                "probe_interval",
                format!("{probe:?}"),
                "more than 0, and probe_max at most",
            ),
        ] {
            if !makes_sense {
                return Err(OptionError::new(option, found, expected));
            }
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
