//! How a courier says that things stand.

use std::time::Duration;

use backhaul_store::{Books, Timestamp};
use tokio::time::Instant;

use super::link::Link;
use super::shared::Shared;
use crate::bandwidth::BandwidthManager;
use crate::connectivity::Connectivity;
use crate::report::{Blocked, BlockedKind, SyncStatus};

impl Shared {
    /// The spool's books, or the last that it told.
    pub(crate) fn books(&self) -> Books {
        match self.spool.books() {
            Ok(books) => {
                self.lock().books = books;
                books
            }
            Err(error) => {
                tracing::debug!(%error, "the spool's books cannot be read now");
                self.lock().books
            }
        }
    }

    pub(crate) fn status(&self) -> SyncStatus {
        let spool = self.spool.status();
        let books = match &spool {
            Ok(status) => status.books,
            Err(_) => self.books(),
        };
        let lanes = spool.as_ref().map(|status| &status.lanes).into_iter().flatten();
        let pending = lanes.map(|(lane, books)| (*lane, books.pending));
        let bandwidth = self.destination.bandwidth();
        let now = self.spool.clock().now();
        let offline = self.offline();
        let state = self.lock();
        let is_running = state.background.as_ref().is_some_and(|task| !task.is_finished());
        let is_syncing = state.running.is_some();
        let next = state.next_attempt.filter(|_| is_running && offline.is_none());
        let is_slowed = is_syncing && bandwidth.is_some_and(|cap| !cap.wait_for(1).is_zero());
        let connectivity = state.link.as_ref().map(Link::status);
        let is_online = match connectivity.as_ref().map(|status| status.state) {
            Some(Connectivity::Online) => Some(true),
            Some(Connectivity::Offline) => Some(false),
            Some(Connectivity::Unknown) | None => state.is_online,
        };
        // Offline, a check that goes well is what lets it try again.
        let next_check = connectivity.as_ref().and_then(|status| status.next_probe_at);
        let next_check = next_check.filter(|_| is_running && offline.is_some());
        let blocked_by = match &state.blocked_by {
            _ if books.pending == 0 => None,
            _ if offline.is_some() => offline,
            None if is_slowed => {
                Some(Blocked::new(BlockedKind::Rate, "the rate limit slows a request"))
            }
            blocked_by => blocked_by.clone(),
        };
        SyncStatus {
            pending_count: books.pending,
            pending_by_lane: pending.filter(|(_, count)| *count > 0).collect(),
            oversized_count: spool.as_ref().map_or(0, |status| status.oversized),
            summarized_count: spool.as_ref().map_or(0, |status| status.summarized),
            oldest_age: spool.as_ref().ok().and_then(|status| status.oldest_age),
            bytes: spool.as_ref().map_or(0, |status| status.bytes),
            last_sync_at: state.last_sync_at,
            synced_bytes: state.synced_bytes,
            is_online,
            connectivity,
            last_attempt_at: state.last_attempt_at,
            last_error: state.last_error.clone(),
            next_attempt_at: next_check.or(next.map(|at| {
                let wait = at.saturating_duration_since(Instant::now());
                after(now.wall, wait)
            })),
            failed_count: books.rejected,
            blocked_by,
            paused: state.paused.clone(),
            is_syncing,
            is_running,
            bandwidth: bandwidth.map(BandwidthManager::status),
            failing_rules: state.priority.failing_rules(),
        }
    }
}

/// A wall-clock time, moved forward.
pub(crate) fn after(time: Timestamp, wait: Duration) -> Timestamp {
    let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(time.as_micros().saturating_add(micros))
}
