//! Records in memory, while the disk does not take them.

use std::collections::VecDeque;

use backhaul_store::Record;

use crate::journal::Journal;
use crate::queue::Enqueued;
use crate::queue_error::QueueError;

/// A record that waits for the disk, with the journal that holds its run meanwhile.
#[derive(Debug)]
pub(crate) struct HeldRecord {
    record: Record,
    journal: Option<Journal>,
}

impl HeldRecord {
    pub(crate) fn new(record: Record, journal: Option<Journal>) -> Self {
        Self { record, journal }
    }

    fn bytes(&self) -> usize {
        self.record.body().len()
    }
}

/// The records that wait for the disk, oldest first.
///
/// At the limit the newest is the one to go: those that are held follow each other
/// without a gap, and a receiver of a stream sees where it breaks off.
#[derive(Debug)]
pub(crate) struct HeldRecords {
    records: VecDeque<HeldRecord>,
    bytes: usize,
    limit: usize,
    dropped: u64,
    trouble: Option<String>,
}

impl HeldRecords {
    pub(crate) fn new(limit: usize) -> Self {
        Self { records: VecDeque::new(), bytes: 0, limit, dropped: 0, trouble: None }
    }

    /// Holds a record, or drops it where there is no room.
    pub(crate) fn hold(&mut self, record: HeldRecord) -> Enqueued {
        let bytes = record.bytes();
        if self.bytes.saturating_add(bytes) > self.limit {
            self.dropped += 1;
            tracing::error!(
                bytes,
                held = self.records.len(),
                held_bytes = self.bytes,
                dropped = self.dropped,
                "a run record is lost: neither disk nor memory has room for it"
            );
            return Enqueued::Dropped;
        }
        self.bytes += bytes;
        self.records.push_back(record);
        match self.records.len() {
            1 => tracing::error!("run records are held in memory: the disk does not take them"),
            held => tracing::debug!(held, "one more run record is held in memory"),
        }
        Enqueued::Held
    }

    /// The record that is to be stored next.
    pub(crate) fn first(&self) -> Option<Record> {
        self.records.front().map(|held| held.record.clone())
    }

    pub(crate) fn first_is_stored(&mut self) {
        if let Some(held) = self.pop() {
            if let Some(journal) = held.journal {
                journal.remove();
            }
            if self.records.is_empty() {
                tracing::info!("all run records that were held in memory are stored");
            }
        }
    }

    /// Drops the first record, which can never be stored.
    pub(crate) fn drop_first(&mut self, error: &QueueError) {
        if self.pop().is_some() {
            self.dropped += 1;
            tracing::error!(%error, "a run record that was held in memory is lost");
        }
    }

    fn pop(&mut self) -> Option<HeldRecord> {
        let held = self.records.pop_front()?;
        self.bytes -= held.bytes();
        Some(held)
    }

    /// Notes how storing went last.
    pub(crate) fn note_trouble(&mut self, error: Option<&QueueError>) {
        self.trouble = error.filter(|error| error.is_transient()).map(ToString::to_string);
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }
}
