//! What the cases of a campaign reached.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was seen in all cases of a run, to tell that they reached what they should.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) cases: AtomicU64,
    pub(super) steps: AtomicU64,
    pub(super) long_cases: AtomicU64,
    pub(super) power_cuts: AtomicU64,
    pub(super) kills: AtomicU64,
    pub(super) waiting_again: AtomicU64,
    pub(super) relaxed_lost: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) requeued: AtomicU64,
    pub(super) expired: AtomicU64,
    /// Batches that went to the oldest record past a more urgent lane.
    pub(super) shares: AtomicU64,
}

impl Seen {
    pub(super) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
}
