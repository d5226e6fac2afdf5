//! What is to become of a tool's calls in an outage.

use std::time::Duration;

use serde::{Deserialize, Serialize};

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
