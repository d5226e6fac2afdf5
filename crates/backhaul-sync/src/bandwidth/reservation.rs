//! Bytes that were set aside for something that is being sent.

use std::sync::Arc;

use super::amount::Criticality;
use super::shared::Shared;

/// A part of the allowance that nobody else can use while this is there.
///
/// Commit it with what was really sent and received, failed or not. Dropped, it gives
/// everything back but what [`sent`](Reservation::sent) was told of: a task that may be
/// cancelled tells it piece by piece.
///
/// ```
/// use backhaul_sync::{BandwidthManager, BandwidthOptions, Criticality};
///
/// # let dir = std::env::temp_dir().join(format!("backhaul-reservation-doc-{}", std::process::id()));
/// let options = BandwidthOptions { daily_limit_mb: Some(1), ..BandwidthOptions::default() };
/// let budget = BandwidthManager::new(&dir, options)?;
/// let used = || budget.status().used_bytes;
///
/// let reservation = budget.reserve(500_000, Criticality::Normal)?;
/// assert_eq!(used(), 500_000);
/// reservation.commit(120_000);
/// assert_eq!(used(), 120_000);
///
/// let mut reservation = budget.reserve(500_000, Criticality::Normal)?;
/// reservation.sent(1_000);
/// drop(reservation);
/// assert_eq!(used(), 121_000);
/// # drop(budget);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropped, it gives everything back"]
pub struct Reservation {
    shared: Arc<Shared>,
    kind: Criticality,
    /// Bytes that it still holds.
    held: u64,
    /// Bytes that were counted already.
    counted: u64,
}

impl Reservation {
    pub(crate) fn new(shared: Arc<Shared>, kind: Criticality, bytes: u64) -> Self {
        Self { shared, kind, held: bytes, counted: 0 }
    }

    /// Bytes that are set aside and were not counted yet.
    pub fn left(&self) -> u64 {
        self.held
    }

    /// Whether it may use the reserve.
    pub fn criticality(&self) -> Criticality {
        self.kind
    }

    /// Counts a part: bytes that went or came just now. They stay counted whatever
    /// becomes of the rest. More than was reserved is counted all the same, and may pass
    /// the cap.
    pub fn sent(&mut self, bytes: u64) {
        let released = bytes.min(self.held);
        self.held -= released;
        self.counted = self.counted.saturating_add(bytes);
        self.shared.count_held(self.kind, released, bytes);
    }

    /// Counts `actual_bytes` in all, with what [`sent`](Reservation::sent) has counted,
    /// and gives the rest back. More than was reserved is counted all the same, and may
    /// pass the cap: reserve the most that it can come to.
    pub fn commit(mut self, actual_bytes: u64) {
        let rest = actual_bytes.saturating_sub(self.counted);
        self.shared.count_held(self.kind, std::mem::take(&mut self.held), rest);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.held > 0 {
            self.shared.count_held(self.kind, self.held, 0);
        }
    }
}
