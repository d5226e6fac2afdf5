//! Outages that somebody asked for: to test, or while the link costs money.

use std::sync::Arc;
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

/// Gives the outage that lasts. It may wait for the disk.
pub(crate) type AskOutage = Arc<dyn Fn() -> Option<PlannedOutage> + Send + Sync>;
