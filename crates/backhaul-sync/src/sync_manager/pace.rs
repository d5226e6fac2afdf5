//! How much to offer at once.

/// How much to offer at once, as experience has it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// Most records at once; doubles with each batch that gets through.
    pub(crate) records: usize,
    /// A limit on the doubling: half of what timed out, and one more with each batch
    /// that gets through.
    pub(crate) ceiling: usize,
    /// Most bytes at once: half of what was too large.
    pub(crate) bytes: usize,
}

impl Pace {
    /// The pace of a link of which nothing bad is known.
    pub fn new(records: usize, bytes: usize) -> Self {
        Self { records, ceiling: records, bytes }
    }

    /// Most records at once.
    pub fn records(&self) -> usize {
        self.records
    }

    /// A batch got through; no batch is larger than `most`.
    pub fn grow(&mut self, most: usize) {
        self.ceiling = (self.ceiling + 1).min(most);
        self.records = (self.records * 2).clamp(1, self.ceiling);
    }

    /// Most records at once after one more batch got through.
    pub fn next(mut self, most: usize) -> usize {
        self.grow(most);
        self.records
    }

    /// Begins with one record, as after an outage: should the destination be overrun, little
    /// was sent in vain.
    pub fn begin_small(&mut self) {
        self.records = 1;
    }

    pub(crate) fn shrink(&mut self, failed: usize, timed_out: bool) {
        self.records = (failed / 2).max(1);
        if timed_out {
            self.ceiling = self.records;
        }
    }

    /// A batch of several was too large. The limit stays: a server's does.
    pub(crate) fn shrink_bytes(&mut self, records: usize, bytes: usize) {
        self.bytes = (bytes / 2).max(1);
        self.records = (records / 2).max(1);
    }
}
