//! What is on offer to a destination at one time.

use crate::error::Result;
use crate::folder::FolderStore;
use crate::id::{Chain, Lane, Position, Sequence};
use crate::layout::Store;
use crate::record::{Flush, StoredRecord};
use crate::segment::SegmentStore;
use crate::spool::Spool;

/// How much to take at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most records; at least 1. Default: 50, as the CEMAF document has it.
    pub records: usize,
    /// Most bytes of bodies; the first record is taken whatever its size. Default: 1 MB.
    pub bytes: usize,
    /// The least urgent lane to take from. Default: all.
    pub down_to: Lane,
}

impl Default for Limits {
    fn default() -> Self {
        Self { records: 50, bytes: 1_000_000, down_to: Lane::Bulk }
    }
}

/// Records on offer to a destination, all of one chain, in order.
///
/// Records that are not settled when the batch is dropped wait again.
#[derive(Debug)]
pub struct Batch {
    /// The records and how often each was tried before.
    pub records: Vec<Offer>,
    /// The chain.
    pub chain: Chain,
    /// Everything of the chain before this is settled for good.
    pub floor: Sequence,
    /// How many records the one who took it means to take next, if this one goes well: a
    /// receiver can keep time for them. 0: none, or unknown.
    pub next: usize,
    /// Which take it comes from: a record may be on offer again by now.
    pub(super) turn: u64,
    pub(super) spool: Spool,
}

/// A record on offer.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The record.
    pub record: StoredRecord,
    /// How many of its batch were chosen before it: who hands records on one by one does so
    /// in this order.
    pub place: usize,
    /// Attempts before this one.
    pub attempts: u32,
    /// Those of them that count against its retries.
    pub spent_retries: u32,
    /// Whether the last one began, and nobody knows what it came to: what it does may have
    /// happened. It is offered however old it is.
    pub is_begun: bool,
    /// Whether it was put off the last time because no data cap holds it.
    pub is_oversized: bool,
    /// Whether the destination has a summary of it.
    pub is_summarized: bool,
}

impl Batch {
    /// Splits off the records from `at` on as a batch of their own, so that a part
    /// can be offered alone; none where there are not as many.
    pub fn split_off(&mut self, at: usize) -> Batch {
        let records = self.records.split_off(at.min(self.records.len()));
        let Batch { chain, floor, next, turn, .. } = *self;
        Batch { records, chain, floor, next, turn, spool: self.spool.clone() }
    }

    /// A batch of the summary of its first record, under the summary's name: nothing of it
    /// is stored, and nothing is settled of it. `None`: there is no record.
    pub fn summary(&self, body: Vec<u8>) -> Option<Batch> {
        let StoredRecord { id, facts, stamp, .. } = &self.records.first()?.record;
        let id = id.of_summary();
        let record = StoredRecord { id, facts: facts.clone(), stamp: stamp.clone(), body };
        let offer = Offer {
            record,
            place: 0,
            attempts: 0,
            spent_retries: 0,
            is_begun: false,
            is_oversized: false,
            is_summarized: false,
        };
        let (chain, spool) = (id.position.chain, self.spool.clone());
        let Batch { floor, turn, .. } = self;
        Some(Batch { records: vec![offer], chain, floor: *floor, next: 0, turn: *turn, spool })
    }

    /// Sees to it that no power cut frees the names of what is offered.
    pub(super) fn make_durable(&self) -> Result<()> {
        match &self.spool.inner.store {
            Store::Folder(store) => self.flush_files(store),
            Store::Segments(store) => self.note_places(store),
        }
    }

    /// Flushes files that another process, or one that was killed, appended without
    /// a flush, or is just appending.
    fn flush_files(&self, store: &FolderStore) -> Result<()> {
        let own = self.spool.inner.writer;
        let records = self.records.iter().map(|offer| &offer.record);
        let relaxed: Vec<Position> = records
            .filter(|record| {
                record.stamp.flush != Flush::Always.name() || record.id.position.chain.writer != own
            })
            .map(|record| record.id.position)
            .collect();
        store.make_offerable(&relaxed)
    }

    /// Writes down that places are given away, where the segments may not show it after
    /// a power cut.
    fn note_places(&self, store: &SegmentStore) -> Result<()> {
        let inner = &self.spool.inner;
        let places = || self.records.iter().map(|offer| offer.record.id.position.sequence.0);
        let (Some(first), Some(last)) = (places().min(), places().max()) else { return Ok(()) };
        let end = if inner.is_flushed() {
            store.to_be_noted(self.chain, first, last)
        } else {
            Some(last + 1)
        };
        end.map_or(Ok(()), |end| inner.courier().note_given(inner, self.chain, end))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let mut courier = self.spool.inner.courier();
        for offer in &self.records {
            let position = offer.record.id.position;
            if courier.in_flight.get(&position).is_none_or(|offered| offered.turn != self.turn) {
                continue;
            }
            if let Some(offered) = courier.in_flight.remove(&position)
                && !courier.is_settled(position)
            {
                courier.cursor(self.chain).waiting.insert(position.sequence.0, offered.known);
            }
        }
    }
}
