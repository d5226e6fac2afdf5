//! What is to become of a tool's calls in an outage.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::registration_error::{RegistrationError, RegistrationErrorKind};

/// What becomes of a call while there is no network, or when it fails for want of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfflinePolicy {
    /// It is stored, and done when there is a network again.
    Queue,
    /// It is left out. The run goes on, and its record says so.
    Skip,
    /// The last result that was kept is given, or what the tool does on the device itself.
    LocalFallback,
    /// It fails.
    #[default]
    Fail,
}

impl OfflinePolicy {
    /// Lower case with underscores, such as `local_fallback`.
    pub fn name(self) -> &'static str {
        match self {
            OfflinePolicy::Queue => "queue",
            OfflinePolicy::Skip => "skip",
            OfflinePolicy::LocalFallback => "local_fallback",
            OfflinePolicy::Fail => "fail",
        }
    }
}

/// What is done with a call that was begun, and of which nobody knows whether it was done: the
/// program was killed, or the answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// It is done again, under the same key: at least once, and once where the receiver knows
    /// the key.
    #[default]
    Repeat,
    /// The tool looks whether it was done ([`Tool::probe`](super::Tool::probe)), and it is done
    /// if it was not.
    CheckFirst,
    /// It waits until a person decides.
    AskPerson,
    /// It is never done again: at most once. It is kept among the failed, with the reason.
    Abandon,
}

/// How a tool is handled where there is no network.
///
/// ```
/// use backhaul_runtime::tools::{OfflinePolicy, OnUnknown, ToolOptions};
/// use std::time::Duration;
/// let options = ToolOptions::new()
///     .offline_policy(OfflinePolicy::Queue)
///     .on_unknown(OnUnknown::CheckFirst)
///     .expires_after(Duration::from_secs(3 * 86_400))
///     .max_retries(5);
/// assert!(options.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct ToolOptions {
    /// What becomes of a call while there is no network. Default: it fails.
    pub offline_policy: OfflinePolicy,
    /// How old a kept result may be that is given in an outage, with
    /// [`OfflinePolicy::LocalFallback`]. Default: none is given.
    pub local_cache_ttl: Option<Duration>,
    /// Whether an older one is given too, marked as stale. Default: off.
    pub is_stale_allowed: bool,
    /// What is done with a call of which nobody knows whether it was done. Default: it is done
    /// again.
    pub on_unknown: OnUnknown,
    /// How long one attempt may take; one that takes longer is unknown. Default: no limit.
    pub timeout: Option<Duration>,
    /// How old a queued call may get, in power-on time, before it is not worth doing any more.
    /// Default: any age.
    pub expires_after: Option<Duration>,
    /// Arguments that tell queued calls apart: of those that agree in them, the newest alone is
    /// done. `Some` and empty: of all calls of the tool. Default: all are done.
    pub collapse_by: Option<Vec<String>>,
    /// How often a call that fails while there is a network is tried again. Default: 3.
    pub max_retries: Option<u32>,
}

impl ToolOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// What becomes of a call while there is no network.
    #[must_use]
    pub fn offline_policy(self, offline_policy: OfflinePolicy) -> Self {
        Self { offline_policy, ..self }
    }

    /// How old a kept result may be that is given in an outage. Zero: none is, unless
    /// [stale ones are allowed](ToolOptions::stale_allowed).
    #[must_use]
    pub fn local_cache_ttl(self, ttl: Duration) -> Self {
        Self { local_cache_ttl: Some(ttl), ..self }
    }

    /// Older ones are given too, marked as stale.
    #[must_use]
    pub fn stale_allowed(self) -> Self {
        Self { is_stale_allowed: true, ..self }
    }

    /// What is done with a call of which nobody knows whether it was done.
    #[must_use]
    pub fn on_unknown(self, on_unknown: OnUnknown) -> Self {
        Self { on_unknown, ..self }
    }

    /// How long one attempt may take.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// How old a queued call may get, in power-on time.
    #[must_use]
    pub fn expires_after(self, age: Duration) -> Self {
        Self { expires_after: Some(age), ..self }
    }

    /// Arguments that tell queued calls apart; none of them: there is one call at most.
    #[must_use]
    pub fn collapse_by(self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { collapse_by: Some(arguments.into_iter().map(Into::into).collect()), ..self }
    }

    /// How often a call that fails while there is a network is tried again.
    #[must_use]
    pub fn max_retries(self, retries: u32) -> Self {
        Self { max_retries: Some(retries), ..self }
    }

    /// Looks for what contradicts itself. A tool with such options is not registered.
    ///
    /// # Errors
    /// [`InvalidOptions`](RegistrationErrorKind::InvalidOptions) with the first contradiction:
    /// a cache without [`OfflinePolicy::LocalFallback`], what is for queued calls without
    /// [`OfflinePolicy::Queue`], stale results without a cache, and times of zero.
    ///
    /// ```
    /// use backhaul_runtime::tools::ToolOptions;
    /// use std::time::Duration;
    /// let error = ToolOptions::new().local_cache_ttl(Duration::from_secs(60)).check();
    /// assert_eq!(
    ///     error.unwrap_err().to_string(),
    ///     "`local_cache_ttl` is for `offline_policy` local_fallback, and this one is fail",
    /// );
    /// ```
    pub fn check(&self) -> Result<(), RegistrationError> {
        match self.contradiction() {
            None => Ok(()),
            Some(why) => Err(RegistrationError::new(RegistrationErrorKind::InvalidOptions, why)),
        }
    }

    fn contradiction(&self) -> Option<String> {
        let policy = self.offline_policy;
        let needs = [
            ("local_cache_ttl", self.local_cache_ttl.is_some(), OfflinePolicy::LocalFallback),
            ("expires_after", self.expires_after.is_some(), OfflinePolicy::Queue),
            ("collapse_by", self.collapse_by.is_some(), OfflinePolicy::Queue),
        ];
        if let Some((option, _, wanted)) =
            needs.into_iter().find(|(_, is_given, wanted)| *is_given && *wanted != policy)
        {
            let (wanted, found) = (wanted.name(), policy.name());
            return Some(format!(
                "`{option}` is for `offline_policy` {wanted}, and this one is {found}"
            ));
        }
        if self.is_stale_allowed && self.local_cache_ttl.is_none() {
            return Some("`stale_allowed` needs `local_cache_ttl`: nothing is kept".to_owned());
        }
        let times = [("timeout", self.timeout), ("expires_after", self.expires_after)];
        let zero = times.into_iter().find(|(_, time)| *time == Some(Duration::ZERO));
        zero.map(|(option, _)| format!("`{option}` is zero: expected more, or none at all"))
    }
}
