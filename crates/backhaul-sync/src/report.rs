//! What a courier says of itself.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use backhaul_store::{Lane, Timestamp};

use crate::bandwidth::BandwidthStatus;
use crate::connectivity::ConnectivityStatus;
use crate::prioritizer::FailingRule;

/// What a sync came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SyncReport {
    /// Records that the destination has, thanks to this sync; duplicates included.
    pub synced: u64,
    /// Of these: how many it had already.
    pub duplicates: u64,
    /// Records that it will never take. They are kept, with the reason.
    pub failed: u64,
    /// Records that were put off because they are larger than the data cap ever allows.
    pub oversized: u64,
    /// Of these: of how many the destination has a summary.
    pub summarized: u64,
    /// Records that still wait.
    pub remaining: u64,
    /// Bytes of the records that were synced, as they are stored.
    pub bytes: u64,
    /// Why records remain; none where nothing remains.
    pub blocked_by: Option<Blocked>,
}

impl SyncReport {
    /// Whether nothing was left behind: none remains and none failed.
    pub fn is_complete(&self) -> bool {
        self.remaining == 0 && self.failed == 0 && self.blocked_by.is_none()
    }
}

/// What keeps records from being delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// In the terms a caller acts on.
    pub kind: BlockedKind,
    /// In words.
    pub reason: String,
}

impl Blocked {
    pub(crate) fn new(kind: BlockedKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// The kinds of what keeps records from being delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BlockedKind {
    /// The destination cannot be reached, or does not answer in time.
    Offline,
    /// The destination answered that it cannot serve now.
    Busy,
    /// Address or credentials are wrong: somebody has to act.
    Refused,
    /// Records wait for the time of their next try, or behind one of their stream that does.
    PutOff,
    /// Another process delivers from this spool.
    OtherProcess,
    /// The spool cannot be read.
    Storage,
    /// The data cap, or what of it is kept for critical records.
    Cap,
    /// An outage that was asked for.
    Outage,
    /// The rate: a request is under way, and slowed down.
    Rate,
    /// An outage is over, and the device's turn in the fleet comes later.
    Spread,
    /// The courier was stopped.
    Stopped,
}

impl BlockedKind {
    /// The kind's name, lower case with underscores.
    pub fn name(self) -> &'static str {
        match self {
            BlockedKind::Offline => "offline",
            BlockedKind::Busy => "busy",
            BlockedKind::Refused => "refused",
            BlockedKind::PutOff => "put_off",
            BlockedKind::OtherProcess => "other_process",
            BlockedKind::Storage => "storage",
            BlockedKind::Cap => "cap",
            BlockedKind::Outage => "outage",
            BlockedKind::Rate => "rate",
            BlockedKind::Spread => "spread",
            BlockedKind::Stopped => "stopped",
        }
    }
}

/// A courier at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncStatus {
    /// Records that wait, put off or not.
    pub pending_count: u64,
    /// Those of each lane that has any.
    pub pending_by_lane: BTreeMap<Lane, u64>,
    /// Those that are larger than the data cap ever allows, as far as they were tried.
    pub oversized_count: u64,
    /// Of these: of how many the destination has a summary.
    pub summarized_count: u64,
    /// How long the oldest of them has waited, in power-on time where that is known.
    pub oldest_age: Option<Duration>,
    /// Bytes of everything in the spool's folder.
    pub bytes: u64,
    /// When records were last delivered; `None` before the first.
    pub last_sync_at: Option<Timestamp>,
    /// Bytes of the records that this courier has synced, as they are stored.
    pub synced_bytes: u64,
    /// What a monitor that is watched knows of the link; without one, whether the destination
    /// answered the last attempt. `None`: nothing is known yet.
    pub is_online: Option<bool>,
    /// What the monitor that is watched says of itself; `None`: none is.
    pub connectivity: Option<ConnectivityStatus>,
    /// When a batch was last offered.
    pub last_attempt_at: Option<Timestamp>,
    /// What went wrong last; cleared by the next sync that goes well.
    pub last_error: Option<String>,
    /// When the next attempt is due, while the courier runs or backs off; while the monitor
    /// says that there is no link, when that is checked next.
    pub next_attempt_at: Option<Timestamp>,
    /// Records that are kept as failed.
    pub failed_count: u64,
    /// Why the destination is paused until somebody acts; `None`: it is not.
    pub paused: Option<String>,
    /// What is in the way of the records that wait; `None`: nothing is, or none waits.
    pub blocked_by: Option<Blocked>,
    /// The data cap, where the destination has one.
    pub bandwidth: Option<BandwidthStatus>,
    /// Whether a batch is under way.
    pub is_syncing: bool,
    /// Whether the background task runs.
    pub is_running: bool,
    /// Rules of the prioritizer that have failed: they count 0 where they do.
    pub failing_rules: Vec<FailingRule>,
}
