//! A file of a simulated disk: its content, live and durable, and what lies between.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::content::{Content, PAGE};

#[derive(Debug, Clone, Default)]
pub(crate) struct FileNode {
    pub(crate) live: Arc<Content>,
    pub(crate) durable: Arc<Content>,
    /// What leads from `durable` to `live`, oldest first.
    pub(crate) ops: Arc<Vec<DataOp>>,
    pub(crate) links: u32,
    open_handles: BTreeSet<u64>,
    /// Those of them that have not heard yet that a flush has failed.
    unheard: BTreeSet<u64>,
    locked_by: Option<u64>,
    shared_by: BTreeSet<u64>,
}

/// An unflushed change of a file's content.
#[derive(Debug, Clone)]
pub(crate) struct DataOp {
    pub(crate) change: Change,
    /// A flush has failed on it: the kernel counts it as clean, so that a later
    /// flush that succeeds does not bring it to the disk.
    pub(crate) forsaken: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Change {
    Write { offset: usize, data: Arc<[u8]> },
    SetLen { len: usize },
}

impl FileNode {
    /// A file with one name, all of it durable, as an image holds it.
    pub(crate) fn settled(content: Arc<Content>) -> Self {
        Self { live: Arc::clone(&content), durable: content, links: 1, ..Self::default() }
    }

    pub(crate) fn open(&mut self, handle: u64) {
        self.open_handles.insert(handle);
    }

    pub(crate) fn close(&mut self, handle: u64) {
        self.open_handles.remove(&handle);
        self.unheard.remove(&handle);
        self.shared_by.remove(&handle);
        if self.locked_by == Some(handle) {
            self.locked_by = None;
        }
    }

    /// Forgets all handles, with their locks.
    pub(crate) fn drop_handles(&mut self) {
        self.open_handles.clear();
        self.unheard.clear();
        self.locked_by = None;
        self.shared_by.clear();
    }

    pub(crate) fn try_lock(&mut self, handle: u64) -> bool {
        self.shared_by.iter().all(|other| *other == handle)
            && *self.locked_by.get_or_insert(handle) == handle
    }

    pub(crate) fn try_lock_shared(&mut self, handle: u64) -> bool {
        let is_free = self.locked_by.is_none_or(|owner| owner == handle);
        if is_free {
            self.locked_by = None;
            self.shared_by.insert(handle);
        }
        is_free
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.open_handles.is_empty()
    }

    /// Whether it takes room.
    pub(crate) fn is_held(&self) -> bool {
        self.links > 0 || self.is_open()
    }

    pub(crate) fn write(&mut self, data: &[u8], offset: usize) {
        Arc::make_mut(&mut self.live).write(data, offset);
        self.push(Change::Write { offset, data: data.into() });
    }

    pub(crate) fn set_len(&mut self, len: usize) {
        Arc::make_mut(&mut self.live).set_len(len);
        self.push(Change::SetLen { len });
    }

    /// Replaces all content, durably.
    pub(crate) fn settle(&mut self, content: Arc<Content>) {
        self.live = Arc::clone(&content);
        self.durable = content;
        self.ops = Arc::default();
    }

    fn push(&mut self, change: Change) {
        Arc::make_mut(&mut self.ops).push(DataOp { change, forsaken: false });
    }

    /// A flush has failed: what it should have saved counts as clean. Every handle
    /// hears of it at its next flush, but for the one that knows.
    pub(crate) fn forsake(&mut self, knows: Option<u64>) {
        if self.ops.iter().all(|op| op.forsaken) {
            return;
        }
        Arc::make_mut(&mut self.ops).iter_mut().for_each(|op| op.forsaken = true);
        self.unheard.clone_from(&self.open_handles);
        if let Some(handle) = knows {
            self.unheard.remove(&handle);
        }
    }

    /// Whether a handle has not heard yet that a flush has failed. From now on it has.
    pub(crate) fn hears_of_failure(&mut self, handle: u64) -> bool {
        self.unheard.remove(&handle)
    }

    pub(crate) fn flush(&mut self) {
        if self.ops.iter().any(|op| op.forsaken) {
            self.flush_around_forsaken();
        } else {
            self.durable = Arc::clone(&self.live);
            self.ops = Arc::default();
        }
    }

    /// After a failed flush, a good one brings only the pages to the disk that
    /// were written since: the others count as clean. A page goes whole, so a
    /// forsaken write is saved where it shares a page with a newer one.
    fn flush_around_forsaken(&mut self) {
        let dirty: Vec<Change> =
            self.ops.iter().filter(|op| !op.forsaken).map(|op| op.change.clone()).collect();
        if dirty.is_empty() {
            return;
        }
        let page_count = self.live.page_count();
        let mut saved = vec![false; page_count];
        for change in &dirty {
            let (first, last) = match change {
                Change::Write { offset, data } => {
                    (offset / PAGE, (offset + data.len()).div_ceil(PAGE))
                }
                Change::SetLen { len } => (len / PAGE, page_count),
            };
            let last = last.min(page_count);
            saved[first.min(last)..last].fill(true);
        }
        let durable = Arc::make_mut(&mut self.durable);
        durable.set_len(self.live.len());
        for page in (0..page_count).filter(|&page| saved[page]) {
            durable.take_page(page, &self.live);
        }
        let mut remaining = Vec::new();
        for op in self.ops.iter().filter(|op| op.forsaken) {
            if let Change::Write { offset, data } = &op.change {
                remaining.extend(outside(&saved, *offset, data, self.live.len()));
            }
        }
        self.ops = Arc::new(remaining);
    }
}

/// The parts of a forsaken write in pages that were not saved, short of the end of the file.
fn outside(saved: &[bool], offset: usize, data: &[u8], len: usize) -> Vec<DataOp> {
    let mut parts: Vec<DataOp> = Vec::new();
    let end = (offset + data.len()).min(len);
    let mut at = offset;
    while at < end {
        let next = ((at / PAGE + 1) * PAGE).min(end);
        if !saved[at / PAGE] {
            let data = data[at - offset..next - offset].into();
            parts.push(DataOp { change: Change::Write { offset: at, data }, forsaken: true });
        }
        at = next;
    }
    parts
}
