//! Outages that somebody asked for: to test, or while the link costs money.

use std::time::Duration;

/// An outage that was asked for. While it lasts the courier counts as offline.
///
/// See [`SyncManager::offline_while`](crate::SyncManager::offline_while).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedOutage {
    /// Who asked for it, for people.
    pub reason: String,
    /// How long it still lasts; `None`: until somebody ends it.
    pub left: Option<Duration>,
}
