//! How a courier behaves.

use std::fmt;

use std::time::Duration;

use crate::backoff::{Backoff, BackoffStrategy};
use crate::link_error::LONGEST_WAIT;
use crate::oversized::Oversized;

/// Settings of a [`SyncManager`](crate::SyncManager). The first four are CEMAF's, with
/// the values that its document shows.
///
/// ```
/// use backhaul_sync::{BackoffStrategy, SyncOptions};
/// let options = SyncOptions {
///     sync_interval_seconds: 10,
///     backoff_strategy: BackoffStrategy::Fibonacci,
///     ..SyncOptions::default()
/// };
/// assert!(options.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SyncOptions {
    /// How often an idle courier looks for records that it was not told of. Default: 60.
    pub sync_interval_seconds: u64,
    /// Retries of one record after its first try, spent only where the record itself is
    /// put off. Past them it is kept as failed. Default: 3.
    pub max_retries: u32,
    /// How waits grow, for a record that is put off and for a link that fails. Default:
    /// exponential.
    pub backoff_strategy: BackoffStrategy,
    /// Most records in one batch. `None`: what the queue says, else 50.
    pub batch_size: Option<usize>,
    /// Most bytes of records in one batch; a larger record goes alone. Default: 1 MB.
    pub batch_bytes: usize,
    /// The wait before the first retry. Default: 1 s.
    pub backoff_initial: Duration,
    /// The longest wait. Default: 60 s.
    pub backoff_max: Duration,
    /// The factor of the exponential strategy. Default: 2.
    pub backoff_multiplier: f64,
    /// Whether waits vary by a tenth. Tests turn it off. Default: on.
    pub backoff_jitter: bool,
    /// After an outage of a minute or more, devices of a fleet begin to send one after the
    /// other over so many seconds, each at a place that its id chooses. 0: at once. A
    /// destination that asks to wait is obeyed in any case. Default: 0.
    pub fleet_spread_seconds: u64,
    /// What is done for a record that is larger than a whole allowance of the data cap.
    /// Default: it waits.
    pub oversized: Oversized,
    /// How long [`stop`](crate::SyncManager::stop) waits for the batch under way.
    /// Default: 10 s.
    pub stop_timeout: Duration,
}

impl Default for SyncOptions {
    fn default() -> Self {
        let backoff = Backoff::default();
        Self {
            sync_interval_seconds: 60,
            max_retries: 3,
            backoff_strategy: backoff.strategy,
            batch_size: None,
            batch_bytes: 1_000_000,
            backoff_initial: backoff.initial,
            backoff_max: backoff.max,
            backoff_multiplier: backoff.multiplier,
            backoff_jitter: true,
            fleet_spread_seconds: 0,
            oversized: Oversized::default(),
            stop_timeout: Duration::from_secs(10),
        }
    }
}

impl SyncOptions {
    /// Records in one batch where nobody says otherwise: what CEMAF's document shows.
    pub const DEFAULT_BATCH_SIZE: usize = 50;

    /// Checks that the values make sense.
    ///
    /// # Errors
    /// Names the option, what was found and what was expected.
    pub fn check(&self) -> Result<(), OptionError> {
        let bad = |option, found: String, expected| Err(OptionError::new(option, found, expected));
        if self.sync_interval_seconds == 0 {
            return bad("sync_interval_seconds", "0".into(), "at least 1");
        }
        if self.batch_size == Some(0) {
            return bad("batch_size", "0".into(), "at least 1");
        }
        if self.batch_bytes == 0 {
            return bad("batch_bytes", "0".into(), "at least 1");
        }
        if self.backoff_initial.is_zero() {
            return bad("backoff_initial", "0".into(), "more than no time");
        }
        if self.fleet_spread() > LONGEST_WAIT {
            let found = self.fleet_spread_seconds.to_string();
            return bad("fleet_spread_seconds", found, "at most a day, which has 86400");
        }
        if self.backoff_max < self.backoff_initial {
            let found = format!("{:?}", self.backoff_max);
            return bad("backoff_max", found, "at least backoff_initial");
        }
        if !(self.backoff_multiplier >= 1.0 && self.backoff_multiplier.is_finite()) {
            return bad("backoff_multiplier", self.backoff_multiplier.to_string(), "at least 1");
        }
        Ok(())
    }

    /// The waits that these options describe.
    pub fn backoff(&self) -> Backoff {
        Backoff {
            strategy: self.backoff_strategy,
            initial: self.backoff_initial,
            max: self.backoff_max,
            multiplier: self.backoff_multiplier,
            jitter: if self.backoff_jitter { Backoff::default().jitter } else { 0.0 },
        }
    }

    /// Most records in one batch.
    pub(crate) fn records(&self) -> usize {
        self.batch_size.unwrap_or(Self::DEFAULT_BATCH_SIZE)
    }

    pub(crate) fn fleet_spread(&self) -> Duration {
        Duration::from_secs(self.fleet_spread_seconds)
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs(self.sync_interval_seconds)
    }
}

/// An option that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionError {
    option: &'static str,
    problem: String,
}

impl OptionError {
    /// What is wrong with `option`: "`option` is `found`: expected `expected`".
    pub fn new(option: &'static str, found: impl fmt::Display, expected: &'static str) -> Self {
        Self { option, problem: format!("is {found}: expected {expected}") }
    }

    /// A mistake inside of `option`, in words that say what was found and expected.
    pub fn inside(option: &'static str, mistake: impl fmt::Display) -> Self {
        Self { option, problem: format!("has a mistake: {mistake}") }
    }

    /// The same where the option has another name.
    #[must_use]
    pub fn called(self, option: &'static str) -> Self {
        Self { option, ..self }
    }

    /// The option's name.
    pub fn option(&self) -> &'static str {
        self.option
    }

    /// What was found and what would have made sense, in words that follow the name.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.option, self.problem)
    }
}

impl std::error::Error for OptionError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_document() {
        let options = SyncOptions::default();
        assert_eq!(
            (options.sync_interval_seconds, options.max_retries, options.batch_size),
            (60, 3, None)
        );
        assert_eq!(options.backoff_strategy.name(), "exponential");
        assert_eq!(SyncOptions::DEFAULT_BATCH_SIZE, 50);
        assert_eq!(options.check(), Ok(()));
    }

    #[test]
    fn values_without_sense_are_refused_by_name() {
        let base = SyncOptions::default;
        for (name, options) in [
            ("sync_interval_seconds", SyncOptions { sync_interval_seconds: 0, ..base() }),
            ("batch_size", SyncOptions { batch_size: Some(0), ..base() }),
            ("batch_bytes", SyncOptions { batch_bytes: 0, ..base() }),
            ("backoff_initial", SyncOptions { backoff_initial: Duration::ZERO, ..base() }),
            ("backoff_max", SyncOptions { backoff_max: Duration::from_millis(1), ..base() }),
            ("fleet_spread_seconds", SyncOptions { fleet_spread_seconds: 86_401, ..base() }),
            ("backoff_multiplier", SyncOptions { backoff_multiplier: 0.5, ..base() }),
            ("backoff_multiplier", SyncOptions { backoff_multiplier: f64::NAN, ..base() }),
        ] {
            let error = options.check().unwrap_err();
            assert_eq!(error.option(), name);
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
}
