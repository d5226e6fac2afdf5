//! How a monitor behaves.

use std::time::Duration;

use super::check_url::CheckUrl;
use super::judge::{Judge, Rules};
use super::schedule::Schedule;
use crate::backoff::Backoff;
use crate::options::OptionError;

/// Settings of a [`ConnectivityMonitor`](crate::ConnectivityMonitor). The first three are
/// CEMAF's, with the values that its document shows.
///
/// ```
/// use backhaul_sync::{CheckRule, ConnectivityOptions};
/// let options = ConnectivityOptions {
///     check_urls: vec!["https://api.example.com/health".parse()?],
///     rule: CheckRule::All,
///     ..ConnectivityOptions::default()
/// };
/// assert!(options.check().is_ok());
/// # Ok::<(), backhaul_sync::OptionError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectivityOptions {
    /// What is asked, in this order. None: nothing is asked, and the state follows what
    /// traffic tells. Default: none.
    pub check_urls: Vec<CheckUrl>,
    /// The wait between checks, and the longest one while nothing gets through. Default: 30.
    pub check_interval_seconds: u64,
    /// How long one address may take in all: name lookup, connection, TLS, redirects and
    /// answer. Default: 5.
    pub timeout_seconds: u64,
    /// How many of the addresses have to answer. Default: any one.
    pub rule: CheckRule,
    /// The wait doubles with each check of a link that stays up, to at most this. No more
    /// than the interval: it does not grow. Default: 300.
    pub check_stable_interval_seconds: u64,
    /// The first wait while checks speak against the state or nothing gets through; it
    /// doubles up to the interval. Default: 1 s.
    pub check_retry_interval: Duration,
    /// Failures in a row that make it offline. Default: 2.
    pub failures_to_go_offline: u32,
    /// Successes in a row that make it online. Default: 1.
    pub successes_to_go_online: u32,
    /// The least time online: a link that flaps changes the state at most twice in it.
    /// Default: 5 s.
    pub min_online: Duration,
    /// The least time offline. Default: none, so that a link that is back is used at once.
    pub min_offline: Duration,
    /// Whether waits vary by a tenth. Tests turn it off. Default: on.
    pub jitter: bool,
}

/// How many addresses have to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CheckRule {
    /// One is enough; those behind the first that answers are not asked. Traffic that gets
    /// through counts as an answer.
    #[default]
    Any,
    /// Every one; those behind the first that fails are not asked. Traffic that contradicts
    /// the state only brings the next check forward.
    All,
}

impl CheckRule {
    /// Both.
    pub const ALL: [CheckRule; 2] = [CheckRule::Any, CheckRule::All];

    /// The rule's name, as settings have it.
    pub fn name(self) -> &'static str {
        match self {
            CheckRule::Any => "any",
            CheckRule::All => "all",
        }
    }
}

impl Default for ConnectivityOptions {
    fn default() -> Self {
        Self {
            check_urls: Vec::new(),
            check_interval_seconds: 30,
            timeout_seconds: 5,
            rule: CheckRule::default(),
            check_stable_interval_seconds: 300,
            check_retry_interval: Duration::from_secs(1),
            failures_to_go_offline: 2,
            successes_to_go_online: 1,
            min_online: Duration::from_secs(5),
            min_offline: Duration::ZERO,
            jitter: true,
        }
    }
}

impl ConnectivityOptions {
    /// Checks that the values make sense.
    ///
    /// # Errors
    /// Names the option, what was found and what was expected.
    pub fn check(&self) -> Result<(), OptionError> {
        let bad = |option, found: String, expected| Err(OptionError::new(option, found, expected));
        for (option, found) in [
            ("check_interval_seconds", self.check_interval_seconds),
            ("timeout_seconds", self.timeout_seconds),
            ("failures_to_go_offline", self.failures_to_go_offline.into()),
            ("successes_to_go_online", self.successes_to_go_online.into()),
        ] {
            if found == 0 {
                return bad(option, "0".into(), "at least 1");
            }
        }
        if self.check_retry_interval.is_zero() || self.check_retry_interval > self.interval() {
            let found = format!("{:?}", self.check_retry_interval);
            return bad("check_retry_interval", found, "more than no time, at most the interval");
        }
        Ok(())
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    pub(super) fn judge(&self) -> Judge {
        Judge::new(Rules {
            failures_to_go_offline: self.failures_to_go_offline,
            successes_to_go_online: self.successes_to_go_online,
            min_online: self.min_online,
            min_offline: self.min_offline,
        })
    }

    pub(super) fn schedule(&self) -> Schedule {
        let jitter = if self.jitter { Backoff::default().jitter } else { 0.0 };
        let waits = |initial, max| Backoff { initial, max, jitter, ..Backoff::default() };
        let stable = Duration::from_secs(self.check_stable_interval_seconds).max(self.interval());
        Schedule::new(
            waits(self.check_retry_interval, self.interval()),
            waits(self.interval(), stable),
        )
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(self.check_interval_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_document() {
        let options = ConnectivityOptions::default();
        assert_eq!((options.check_interval_seconds, options.timeout_seconds), (30, 5));
        assert_eq!(options.check(), Ok(()));
    }

    #[test]
    fn values_without_sense_are_refused_by_name() {
        let base = ConnectivityOptions::default;
        for (name, options) in [
            ("check_interval_seconds", ConnectivityOptions { check_interval_seconds: 0, ..base() }),
            ("timeout_seconds", ConnectivityOptions { timeout_seconds: 0, ..base() }),
            ("failures_to_go_offline", ConnectivityOptions { failures_to_go_offline: 0, ..base() }),
            ("successes_to_go_online", ConnectivityOptions { successes_to_go_online: 0, ..base() }),
            (
                "check_retry_interval",
                ConnectivityOptions { check_retry_interval: Duration::ZERO, ..base() },
            ),
            ("check_retry_interval", {
                ConnectivityOptions { check_retry_interval: Duration::from_secs(31), ..base() }
            }),
        ] {
            let error = options.check().unwrap_err();
            assert_eq!(error.option(), name);
        }
    }
}
