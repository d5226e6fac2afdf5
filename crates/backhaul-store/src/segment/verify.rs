//! Reads a segment byte by byte, and tells what of it is not as it was written.

use std::sync::Arc;

use super::catalog::{Segment, State};
use super::head::Head;
use super::member::PAGE;
use super::reader::SegmentReader;
use super::{SegmentStore, index, lock, member, scan};
use crate::context::is_locked;
use crate::disk::{DiskFile, Open};
use crate::error::{IoContext, Result};
use crate::spool::writer_lock_path;

/// What a segment was found to hold.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) faults: Vec<SegmentFault>,
}

/// What is wrong at a place of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentFault {
    pub(crate) offset: u64,
    pub(crate) what: Wrong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The first page does not say what the segment is.
    Head,
    /// The index is not whole; members are found without it.
    Index,
    /// Blanks around sound records are none: other programs cannot read the file.
    Padding,
    /// Bytes between sound members: the records from this sequence to that are not there.
    Lost { first: u64, next: u64 },
    /// Bytes after the last whole commit: one that was never acknowledged, or was cut.
    Torn,
}

/// What the end of an open segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Where the next segment of the chain begins.
    Closed,
    /// Somebody may write there at this moment.
    Written,
    /// Nobody writes there any more: the last commit counts as far as it is whole.
    Left,
}

impl SegmentStore {
    /// Reads all of a segment. `each` gets the lines of each sound member.
    pub(crate) fn verify(
        &self,
        segment: &Segment,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<Verified> {
        let path = self.context.path(&segment.name);
        let opened = self.context.disk.open(&path, Open::Read).doing("open a segment", &path)?;
        let file: Arc<dyn DiskFile> = Arc::from(opened);
        let page = file.read_exact_at(PAGE, 0).unwrap_or_default();
        let head = Head::parse(&page).ok().flatten();
        let bytes = file.len().doing("measure a segment", &path)?;
        let mut verified = Verified { bytes, ..Verified::default() };
        if head.is_none() {
            verified.fault(0, Wrong::Head);
        }
        let head = head.as_ref().unwrap_or(&segment.head);
        let read = match head.note.sealed {
            Some(_) => verified.read_sealed(&segment.name, head, file, each),
            None => verified.read_open(segment, head, &*file, self.end_of(segment), each),
        };
        read.doing("read a segment", &path)?;
        Ok(verified)
    }

    /// What the end of an open segment is.
    fn end_of(&self, segment: &Segment) -> End {
        let catalog = lock(&self.catalog);
        let last = catalog.get(&segment.head.chain).and_then(|segments| segments.last());
        if last.is_none_or(|last| last.name != segment.name) {
            End::Closed
        } else if segment.state == State::Active || self.is_alive(segment) {
            End::Written
        } else {
            End::Left
        }
    }

    /// Whether a process lives that may append to the segment at this moment.
    fn is_alive(&self, segment: &Segment) -> bool {
        let writer = segment.head.chain.writer;
        let is_other = writer != self.writer || self.context.read_only;
        is_other && is_locked(&*self.context.disk, &writer_lock_path(&self.context.dir, writer))
    }
}

impl Verified {
    fn fault(&mut self, offset: u64, what: Wrong) {
        self.faults.push(SegmentFault { offset, what });
    }

    fn read_sealed(
        &mut self,
        name: &str,
        head: &Head,
        file: Arc<dyn DiskFile>,
        each: &mut dyn FnMut(&[u8]),
    ) -> std::io::Result<()> {
        let index_at = index::offset(&*file, head.nonce)?;
        let end = index_at.unwrap_or(self.bytes);
        let mut reader = SegmentReader::new(name, file, head, end);
        let (mut offset, mut sequence) = (PAGE as u64, head.first_sequence);
        while let Some(whole) = reader.next_whole()? {
            let first = whole.member.header.first_sequence;
            if whole.member.offset != offset {
                self.fault(offset, Wrong::Lost { first: sequence, next: first });
            }
            each(&whole.records);
            self.records += u64::from(whole.member.header.count);
            (offset, sequence) = (whole.member.end(), whole.member.next_sequence());
        }
        let sealed = head.note.sealed.as_ref();
        let next = sealed.map_or(sequence, |sealed| sealed.next_sequence);
        let is_short = sealed.is_some_and(|sealed| sealed.records > self.records);
        match index_at {
            Some(at) if at != offset => self.fault(offset, Wrong::Lost { first: sequence, next }),
            None if is_short && sequence < next => {
                self.fault(offset, Wrong::Lost { first: sequence, next });
            }
            None => self.fault(offset, Wrong::Index),
            Some(_) => {}
        }
        Ok(())
    }

    fn read_open(
        &mut self,
        segment: &Segment,
        head: &Head,
        file: &dyn DiskFile,
        end: End,
        each: &mut dyn FnMut(&[u8]),
    ) -> std::io::Result<()> {
        let found = scan::scan(file, head.nonce, PAGE as u64)?;
        let last = found.members.last().filter(|_| end != End::Closed);
        let last_commit = last.map(|member| member.header.commit);
        let (mut offset, mut sequence) = (PAGE as u64, head.first_sequence);
        for member in &found.members {
            let bytes = file.read_exact_at(member.len(), member.offset)?;
            let is_whole = member::is_padding_whole(&bytes, &member.header);
            let records = member::read_records(&bytes, &member.header, false);
            if Some(member.header.commit) == last_commit && !(is_whole && records.is_some()) {
                break;
            }
            let Some(records) = records else { continue };
            if !is_whole {
                self.fault(member.offset, Wrong::Padding);
            }
            let first = member.header.first_sequence;
            if member.offset != offset {
                self.fault(offset, Wrong::Lost { first: sequence, next: first });
            }
            each(&records);
            self.records += u64::from(member.header.count);
            (offset, sequence) = (member.end(), member.next_sequence());
        }
        let torn = found.members.iter().map(|member| member.offset);
        let torn = torn.chain(found.foreign_pages.iter().copied()).find(|at| *at >= offset);
        match torn {
            // What stands behind what is being written is nobody's loss.
            Some(_) if end == End::Written => {}
            // A later segment says that these records were there.
            Some(at) if segment.next > sequence => {
                self.fault(at, Wrong::Lost { first: sequence, next: segment.next });
            }
            Some(at) => self.fault(at, Wrong::Torn),
            None => {}
        }
        Ok(())
    }
}
