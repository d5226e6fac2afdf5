//! What is known from batches before.

use std::collections::{BTreeSet, HashMap, HashSet};

use backhaul_store::{Batch, Position, RecordId};
use backhaul_sync::Verdict;

use super::doubt::Doubt;

/// So many calls are remembered to be there; past it the server is asked again.
const MOST_CALLS: usize = 100_000;

/// What a kind's destination remembers while its process runs. None of it is needed: without
/// it the server is asked.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) doubt: Doubt,
    /// Calls that the server has and that did not end yet, as far as is known.
    calls: HashSet<String>,
    /// Records that were put off, by their call.
    put_off: BTreeSet<(String, Position)>,
    /// Records of requests over which the server failed: they go alone.
    pub(super) suspects: HashSet<RecordId>,
    /// By record over which the server failed when it went alone: how many batches had arrived
    /// at the server then.
    failures: HashMap<RecordId, u64>,
    /// Failures of the server over records alone, since the last batch of this kind arrived.
    failures_in_a_row: u32,
    /// By object, the place of the last version that was delivered, and the server's digest.
    pub(super) versions: HashMap<String, (Position, String)>,
}

impl Memory {
    /// Notes that the server failed over a record alone. Says whether others have arrived since
    /// it did so before: then it is the record's fault.
    pub(super) fn failed_alone(&mut self, id: RecordId, arrived: u64) -> bool {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.failures.insert(id, arrived).is_some_and(|before| before < arrived)
    }

    /// Notes that a batch of this kind arrived.
    pub(super) fn arrived(&mut self) {
        self.failures_in_a_row = 0;
        self.failures.clear();
    }

    /// Whether the server fails over one record, as far as can be told without sending others.
    pub(super) fn is_stuck(&self) -> bool {
        self.failures_in_a_row > 1
    }

    /// Notes that the server has a call.
    pub(super) fn has_call(&mut self, call: &str) {
        if self.calls.len() >= MOST_CALLS {
            self.calls.clear();
        }
        self.calls.insert(call.to_owned());
    }

    pub(super) fn call_is_over(&mut self, call: &str) {
        self.calls.remove(call);
    }

    pub(super) fn knows_call(&self, call: &str) -> bool {
        self.calls.contains(call)
    }

    /// Notes what was said of a record of a call.
    pub(super) fn note(&mut self, call: &str, id: RecordId, verdict: &Verdict) {
        let place = (call.to_owned(), id.position);
        if let Verdict::Later { .. } = verdict {
            self.put_off.insert(place);
        } else {
            self.put_off.remove(&place);
            self.suspects.remove(&id);
            self.doubt.clear(&id);
        }
    }

    /// Whether an earlier record of its call was put off, which has to go first. Which of two
    /// that different processes wrote is the earlier is not known.
    pub(super) fn has_to_wait(&self, call: &str, position: Position) -> bool {
        let of_call = self.put_off.range((call.to_owned(), FIRST)..);
        of_call.take_while(|(other, _)| other == call).any(|(_, other)| {
            *other != position && (other.chain != position.chain || *other < position)
        })
    }

    /// Whether records wait that are not in a batch and that were never put off.
    pub(super) fn others_wait(&self, pending: u64, batch: &Batch) -> bool {
        let positions = batch.records.iter().map(|offer| offer.record.id.position);
        let known: BTreeSet<Position> =
            self.put_off.iter().map(|(_, position)| *position).chain(positions).collect();
        pending > known.len() as u64
    }
}

/// No position is before it.
const FIRST: Position = Position {
    chain: backhaul_store::Chain { lane: backhaul_store::Lane::Critical, writer: 0 },
    sequence: backhaul_store::Sequence(0),
};
