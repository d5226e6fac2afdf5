//! How long to wait before the next try.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::str::FromStr;
use std::time::Duration;

/// How waits grow from try to try.
///
/// ```
/// use backhaul_sync::BackoffStrategy;
/// assert_eq!("fibonacci".parse(), Ok(BackoffStrategy::Fibonacci));
/// let error = "quadratic".parse::<BackoffStrategy>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "unknown backoff strategy \"quadratic\": expected constant, linear, exponential or fibonacci"
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BackoffStrategy {
    /// Always the initial wait.
    Constant,
    /// 1, 2, 3, 4… times the initial wait.
    Linear,
    /// The initial wait times the multiplier, each time: 1, 2, 4, 8… with a multiplier of 2.
    #[default]
    Exponential,
    /// 1, 1, 2, 3, 5… times the initial wait.
    Fibonacci,
}

impl BackoffStrategy {
    /// All strategies.
    pub const ALL: [BackoffStrategy; 4] = [
        BackoffStrategy::Constant,
        BackoffStrategy::Linear,
        BackoffStrategy::Exponential,
        BackoffStrategy::Fibonacci,
    ];

    /// The strategy's name, lower case.
    pub fn name(self) -> &'static str {
        match self {
            BackoffStrategy::Constant => "constant",
            BackoffStrategy::Linear => "linear",
            BackoffStrategy::Exponential => "exponential",
            BackoffStrategy::Fibonacci => "fibonacci",
        }
    }
}

impl fmt::Display for BackoffStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no backoff strategy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownStrategy(String);

impl fmt::Display for UnknownStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown backoff strategy {:?}: expected constant, linear, exponential or fibonacci",
            self.0
        )
    }
}

impl std::error::Error for UnknownStrategy {}

impl FromStr for BackoffStrategy {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        BackoffStrategy::ALL
            .into_iter()
            .find(|strategy| strategy.name() == text)
            .ok_or_else(|| UnknownStrategy(text.to_owned()))
    }
}

/// Waits between tries. The defaults are CEMAF's: exponential from 1 s to 60 s, times 2.
///
/// ```
/// use backhaul_sync::Backoff;
/// use std::time::Duration;
/// let backoff = Backoff { jitter: 0.0, ..Backoff::default() };
/// let waits: Vec<u64> = (0..8).map(|retry| backoff.delay(retry).as_secs()).collect();
/// assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// How waits grow.
    pub strategy: BackoffStrategy,
    /// The wait before the first retry. Default: 1 s.
    pub initial: Duration,
    /// No wait is longer, but for the jitter. Default: 60 s.
    pub max: Duration,
    /// The factor of [`BackoffStrategy::Exponential`]; at least 1. Default: 2.
    pub multiplier: f64,
    /// Each wait is longer or shorter by up to this share, at random, so that a fleet
    /// does not come back in step. 0 for none. Default: 0.1.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            strategy: BackoffStrategy::default(),
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            multiplier: 2.0,
            jitter: 0.1,
        }
    }
}

impl Backoff {
    /// The wait before a retry; the first is 0.
    pub fn delay(&self, retry: u32) -> Duration {
        let factor = match self.strategy {
            BackoffStrategy::Constant => 1.0,
            BackoffStrategy::Linear => f64::from(retry) + 1.0,
            BackoffStrategy::Exponential => {
                self.multiplier.powi(i32::try_from(retry).unwrap_or(i32::MAX))
            }
            BackoffStrategy::Fibonacci => fibonacci(retry),
        };
        let seconds = (self.initial.as_secs_f64() * factor).min(self.max.as_secs_f64());
        let jittered = seconds * (1.0 + self.jitter * (2.0 * random_share() - 1.0));
        Duration::try_from_secs_f64(jittered).unwrap_or(self.max)
    }
}

/// 1, 1, 2, 3, 5… Beyond what a cap of hours could ever reach it stays what it is.
fn fibonacci(index: u32) -> f64 {
    let (mut this, mut next) = (1.0, 1.0);
    for _ in 0..index.min(64) {
        (this, next) = (next, this + next);
    }
    this
}

/// A random number from 0 to 1. It spreads devices in time and keeps no secret: the
/// standard library's hasher keys are random enough.
pub(crate) fn random_share() -> f64 {
    let bits = std::hash::RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(bits >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(strategy: BackoffStrategy) -> Vec<u64> {
        let backoff = Backoff { strategy, jitter: 0.0, ..Backoff::default() };
        (0..7).map(|retry| backoff.delay(retry).as_secs()).collect()
    }

    #[test]
    fn each_strategy_grows_as_its_name_says_up_to_the_cap() {
        assert_eq!(seconds(BackoffStrategy::Constant), [1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(seconds(BackoffStrategy::Linear), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(seconds(BackoffStrategy::Exponential), [1, 2, 4, 8, 16, 32, 60]);
        assert_eq!(seconds(BackoffStrategy::Fibonacci), [1, 1, 2, 3, 5, 8, 13]);
    }

    #[test]
    fn the_cap_holds_however_many_tries_there_were() {
        for strategy in BackoffStrategy::ALL {
            let backoff = Backoff { strategy, jitter: 0.0, ..Backoff::default() };
            assert!(backoff.delay(u32::MAX) <= Duration::from_secs(60), "{strategy}");
        }
    }

    #[test]
    fn jitter_stays_within_a_tenth_and_differs() {
        let backoff = Backoff::default();
        let waits: Vec<Duration> = (0..200).map(|_| backoff.delay(3)).collect();
        let range = Duration::from_millis(7200)..=Duration::from_millis(8800);
        assert!(waits.iter().all(|wait| range.contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| wait != &waits[0]));
    }

    #[test]
    fn names_read_back() {
        for strategy in BackoffStrategy::ALL {
            assert_eq!(strategy.to_string().parse(), Ok(strategy));
        }
        assert!("Exponential".parse::<BackoffStrategy>().is_err());
    }
}
