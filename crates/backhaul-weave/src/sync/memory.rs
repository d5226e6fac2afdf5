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
    /// Those that were left to the next batch, once.
    with_next: BTreeSet<Position>,
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
        match verdict {
            Verdict::WithNext => {
                self.put_off.insert(place);
                self.with_next.insert(id.position);
            }
            Verdict::Later { .. } => {
                self.put_off.insert(place);
                self.with_next.remove(&id.position);
            }
            Verdict::BrokenOff(_) => {}
            Verdict::Delivered | Verdict::Duplicate | Verdict::Rejected { .. } => {
                self.put_off.remove(&place);
                self.with_next.remove(&id.position);
                self.suspects.remove(&id);
                self.doubt.clear(&id);
            }
        }
    }

    /// Notes that records, each with its call, are on offer again: none waits for them by what
    /// was said of them before.
    pub(super) fn are_offered(&mut self, records: impl IntoIterator<Item = (String, Position)>) {
        for record in records {
            self.put_off.remove(&record);
        }
    }

    /// Whether an earlier record of its call was put off, which has to go first. Which of two
    /// that different processes wrote is the earlier is not known; but one of them is, lest both
    /// wait for ever.
    pub(super) fn has_to_wait(&self, call: &str, position: Position) -> bool {
        let first = self.put_off.range((call.to_owned(), FIRST)..).next();
        first.is_some_and(|(other, earlier)| other == call && *earlier < position)
    }

    /// Whether a record was never left to the next batch.
    pub(super) fn may_go_with_next(&self, position: Position) -> bool {
        !self.with_next.contains(&position)
    }

    /// Whether any of the records that can be offered, `within_window` in number, is neither in
    /// this batch nor put off.
    pub(super) fn others_wait(&self, within_window: u64, batch: &Batch) -> bool {
        let positions = batch.records.iter().map(|offer| offer.record.id.position);
        let known: BTreeSet<Position> =
            self.put_off.iter().map(|(_, position)| *position).chain(positions).collect();
        within_window > known.len() as u64
    }
}

/// No position is before it.
const FIRST: Position = Position {
    chain: backhaul_store::Chain { lane: backhaul_store::Lane::Critical, writer: 0 },
    sequence: backhaul_store::Sequence(0),
};

#[cfg(test)]
mod tests {
    use backhaul_store::{Chain, DeviceId, Epoch, Lane, Sequence};

    use super::*;

    fn position(writer: u16, sequence: u64) -> Position {
        Position { chain: Chain { lane: Lane::Normal, writer }, sequence: Sequence(sequence) }
    }

    fn with_put_off(positions: &[Position]) -> Memory {
        let put_off = positions.iter().map(|position| ("call".to_owned(), *position)).collect();
        Memory { put_off, ..Memory::default() }
    }

    #[test]
    fn nothing_is_kept_of_calls_that_are_over() {
        let mut memory = Memory::default();
        for number in 0..100_000 {
            let call = number.to_string();
            let [start, end] = [2 * number, 2 * number + 1].map(|sequence| RecordId {
                device: DeviceId(uuid::Uuid::nil()),
                epoch: Epoch(0),
                position: position(0, sequence),
            });
            memory.note(&call, start, &Verdict::WithNext);
            memory.are_offered([(call.clone(), start.position)]);
            memory.doubt.note(start);
            memory.suspects.insert(start);
            memory.has_call(&call);
            memory.note(&call, start, &Verdict::Delivered);
            memory.note(
                &call,
                end,
                &Verdict::Later {
                    reason: "busy".to_owned(),
                    retry_after: None,
                    spends_retry: false,
                },
            );
            memory.call_is_over(&call);
            memory.note(&call, end, &Verdict::Delivered);
            assert!(!memory.doubt.is_about(&start));
        }
        let Memory { calls, put_off, with_next, suspects, .. } = memory;
        assert_eq!([calls.len(), put_off.len(), with_next.len(), suspects.len()], [0; 4]);
    }

    #[test]
    fn a_record_waits_for_an_earlier_one_of_its_call_alone() {
        let memory = with_put_off(&[position(0, 5)]);
        assert!(memory.has_to_wait("call", position(0, 6)));
        assert!(!memory.has_to_wait("call", position(0, 5)));
        assert!(!memory.has_to_wait("call", position(0, 4)));
        assert!(!memory.has_to_wait("another", position(0, 6)));
    }

    #[test]
    fn a_record_does_not_wait_for_what_is_offered_with_it() {
        let mut memory = with_put_off(&[position(0, 5)]);
        memory.are_offered([("call".to_owned(), position(0, 5))]);
        assert!(!memory.has_to_wait("call", position(0, 6)));
    }

    #[test]
    fn records_of_two_processes_do_not_wait_for_each_other() {
        let (one, other) = (position(0, 5), position(1, 5));
        let memory = with_put_off(&[one, other]);
        let wait = [one, other].map(|position| memory.has_to_wait("call", position));
        assert_eq!(wait, [false, true]);
    }
}
