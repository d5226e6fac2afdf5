//! Which records a server may have without our knowing.
//!
//! A record is settled after its answer. Between the two there is a moment in which a process
//! can die, and an answer can be lost on its way. Two rules say which records are in doubt:
//!
//! - A request that did not go well says nothing about its records: a proxy may have answered in
//!   the server's place, and older servers store the first items of a batch before they refuse
//!   a later one.
//! - Of what a process before this one had offered nothing is known here. Spools offer at most
//!   [`WINDOW`] sequences past the first that is not settled, so that what is in doubt ends so
//!   far behind the first record that this process is offered of a chain. Another process may
//!   have delivered in between, where this one took nothing for some minutes: then it begins
//!   anew.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use backhaul_store::{Batch, Chain, RecordId, WINDOW};
use tokio::time::Instant;

/// A process that delivers lets another one do so when it has taken nothing for five minutes.
const UNDISTURBED: Duration = Duration::from_secs(4 * 60);

/// What is in doubt of one spool.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// Where the window of a process before this one ends at the latest.
    windows: HashMap<Chain, u64>,
    unanswered: HashSet<RecordId>,
    last_offer: Option<Instant>,
}

impl Doubt {
    /// Notes that a batch is on offer.
    pub(super) fn begin(&mut self, batch: &Batch) {
        let now = Instant::now();
        if self.last_offer.is_some_and(|last| now - last > UNDISTURBED) {
            self.windows.clear();
        }
        self.last_offer = Some(now);
        if let Some(first) = batch.records.first() {
            let first = first.record.id.position.sequence.0;
            self.windows.entry(batch.chain).or_insert(first.saturating_add(WINDOW));
        }
    }

    /// Whether the server may have a record.
    pub(super) fn is_about(&self, id: &RecordId) -> bool {
        let end = self.windows.get(&id.position.chain).copied().unwrap_or(0);
        id.position.sequence.0 < end || self.unanswered.contains(id)
    }

    /// Notes that a request with this record did not go well.
    pub(super) fn note(&mut self, id: RecordId) {
        self.unanswered.insert(id);
    }

    /// Notes that it is known what became of a record.
    pub(super) fn clear(&mut self, id: &RecordId) {
        self.unanswered.remove(id);
    }
}
