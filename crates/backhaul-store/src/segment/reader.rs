//! Reads the records of one segment in order, from any sequence on.
//!
//! What is damaged is stepped over: the reader goes on at the next sound member,
//! and the gap in the sequences tells exactly what was lost.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::head::Head;
use super::header::{Header, Kind};
use super::index;
use super::member::{self, HEADER_LEN, PAGE};
use super::scan::Member;
use crate::disk::DiskFile;

/// Bytes read ahead of the member at hand.
const READ_AHEAD: usize = 128 << 10;

/// A member as it stands in the file, and the records in it.
#[derive(Debug)]
pub(crate) struct WholeMember {
    pub(crate) member: Member,
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct SegmentReader {
    pub(crate) name: String,
    file: Arc<dyn DiskFile>,
    nonce: u64,
    sealed: bool,
    /// Where the next member is looked for.
    offset: u64,
    /// First sequences and places of members that were stepped over, [`READ_AHEAD`] apart.
    places: Vec<(u64, u64)>,
    /// Nothing is read from here on: the writer may be at work there.
    end: u64,
    window_start: u64,
    window: Vec<u8>,
    /// The member at hand: its records, and where each line stands.
    records: Vec<u8>,
    lines: std::iter::Peekable<std::vec::IntoIter<(u64, Range<usize>)>>,
    /// The sequence after the last one stepped over.
    position: u64,
    /// A test-only seam.
    pub(crate) skip_checksums: bool,
}

impl SegmentReader {
    /// Starts at the first member of the segment.
    pub(crate) fn new(name: &str, file: Arc<dyn DiskFile>, head: &Head, end: u64) -> Self {
        Self {
            name: name.to_owned(),
            file,
            nonce: head.nonce,
            sealed: head.note.sealed.is_some(),
            offset: PAGE as u64,
            places: Vec::new(),
            end,
            window_start: 0,
            window: Vec::new(),
            records: Vec::new(),
            lines: Vec::new().into_iter().peekable(),
            position: 0,
            skip_checksums: false,
        }
    }

    /// How far the reader reads.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Lets the reader go on to where the writer has got since.
    pub(crate) fn extend_to(&mut self, end: u64) {
        if end > self.end {
            self.end = end;
            // The window may hold free pages that are records by now.
            self.window.clear();
        }
    }

    /// Goes to the member that holds `sequence`, or else to the first after it.
    pub(crate) fn seek(&mut self, sequence: u64) -> io::Result<()> {
        self.lines = Vec::new().into_iter().peekable();
        self.position = 0;
        let known = last_before(&self.places, sequence);
        self.offset = known.unwrap_or(PAGE as u64);
        if known.is_none()
            && let Some(entries) = self.index()?
            && let Some((_, first)) = entries.first()
        {
            self.offset = last_before(&entries, sequence).unwrap_or(*first);
        }
        while let Some(member) = self.next_member()? {
            if member.next_sequence() > sequence {
                self.offset = member.offset;
                break;
            }
        }
        Ok(())
    }

    /// Whether both read one segment.
    pub(crate) fn is_the_segment_of(&self, other: &SegmentReader) -> bool {
        self.is_of(&other.name, other.nonce)
    }

    /// Whether this reads the segment of that name and nonce.
    pub(crate) fn is_of(&self, name: &str, nonce: u64) -> bool {
        self.name == name && self.nonce == nonce
    }

    /// Looks for the next member at this byte.
    pub(super) fn go_to(&mut self, offset: u64) {
        self.lines = Vec::new().into_iter().peekable();
        self.offset = offset;
    }

    /// The places of members by first sequence, where the segment is sealed and its index
    /// is whole.
    pub(super) fn index(&self) -> io::Result<Option<Vec<(u64, u64)>>> {
        if self.sealed { index::read(&*self.file, self.nonce) } else { Ok(None) }
    }

    /// The records of a member; `None`: damaged.
    pub(super) fn records(&self, member: &Member) -> io::Result<Option<Vec<u8>>> {
        let bytes = self.file.read_exact_at(member.len(), member.offset)?;
        Ok(member::read_records(&bytes, &member.header, self.skip_checksums))
    }

    /// The sequence after the last record stepped over; 0 after a seek.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next record's sequence and line, without stepping over it.
    pub(crate) fn peek(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        while self.lines.peek().is_none() {
            let Some(found) = self.next_member()? else { return Ok(None) };
            let skip = self.skip_checksums;
            let bytes = self.bytes(found.offset, found.len())?;
            if let Some(records) =
                bytes.and_then(|bytes| member::read_records(bytes, &found.header, skip))
            {
                self.lines = split(&records, &found.header).into_iter().peekable();
                self.records = records;
            }
        }
        let found = self.lines.peek().cloned();
        Ok(found.map(|(sequence, range)| (sequence, self.records.get(range).unwrap_or_default())))
    }

    /// The next sound member whole, with its records; steps behind it. Not to be
    /// mixed with reading record by record.
    pub(crate) fn next_whole(&mut self) -> io::Result<Option<WholeMember>> {
        while let Some(found) = self.next_member()? {
            let Some(bytes) = self.bytes(found.offset, found.len())? else { continue };
            if let Some(records) = member::read_records(bytes, &found.header, false) {
                return Ok(Some(WholeMember { member: found, bytes: bytes.to_vec(), records }));
            }
        }
        Ok(None)
    }

    /// Steps over the record at hand.
    pub(crate) fn step(&mut self) {
        if let Some((sequence, _)) = self.lines.next() {
            self.position = sequence + 1;
        }
    }

    /// The next sound data member at or after the offset; steps behind it.
    pub(crate) fn next_member(&mut self) -> io::Result<Option<Member>> {
        while self.offset < self.end {
            let offset = self.offset;
            let header = member::known_header(self.up_to(offset, HEADER_LEN)?)?;
            match header.filter(|header| header.nonce == self.nonce) {
                Some(header) => {
                    self.offset += u64::from(header.total_len).max(1);
                    if header.kind == Kind::Data && self.offset <= self.end {
                        self.note_place(header.first_sequence, offset);
                        return Ok(Some(Member { offset, header }));
                    }
                }
                None => self.offset = self.resynchronise(offset)?,
            }
        }
        Ok(None)
    }

    /// What was committed stays where it is: so far a seek need not look again.
    fn note_place(&mut self, first_sequence: u64, offset: u64) {
        let last = self.places.last().map_or(0, |(_, offset)| *offset);
        if offset >= last + READ_AHEAD as u64 {
            self.places.push((first_sequence, offset));
        }
    }

    /// Where to look on after damage: unsealed members start on pages, sealed
    /// ones wherever a sound header of this segment stands, at the latest where
    /// the index says.
    fn resynchronise(&mut self, offset: u64) -> io::Result<u64> {
        if !self.sealed {
            return Ok(offset + PAGE as u64 - offset % PAGE as u64);
        }
        let entries = index::read(&*self.file, self.nonce)?.unwrap_or_default();
        let limit = entries.iter().map(|(_, at)| *at).find(|at| *at > offset).unwrap_or(self.end);
        for candidate in offset + 1..limit {
            let bytes = self.up_to(candidate, HEADER_LEN)?;
            if member::may_start(bytes)
                && member::read_header(bytes).is_ok_and(|header| header.nonce == self.nonce)
            {
                return Ok(candidate);
            }
        }
        Ok(limit)
    }

    /// `len` bytes from `offset`; `None`: the file ends before.
    fn bytes(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        let bytes = self.up_to(offset, len)?;
        Ok((bytes.len() == len).then_some(bytes))
    }

    /// `len` bytes from `offset`, or as many as there are before the end.
    fn up_to(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = len.min(left);
        if self.in_window(offset, len).is_none() {
            self.window.resize(len.max(READ_AHEAD).min(left), 0);
            self.window_start = offset;
            let read = self.file.read_at(&mut self.window, offset)?;
            self.window.truncate(read);
        }
        let there = self.in_window(offset, len).unwrap_or(0..self.window.len());
        Ok(self.window.get(there).unwrap_or_default())
    }

    fn in_window(&self, offset: u64, len: usize) -> Option<Range<usize>> {
        let from = usize::try_from(offset.checked_sub(self.window_start)?).ok()?;
        let to = from.checked_add(len)?;
        (to <= self.window.len()).then_some(from..to)
    }
}

/// The place of the last member that begins with a sequence or before it.
fn last_before(places: &[(u64, u64)], sequence: u64) -> Option<u64> {
    let after = places.partition_point(|(first, _)| *first <= sequence);
    places.get(after.checked_sub(1)?).map(|(_, offset)| *offset)
}

/// Lines of a member with their sequences. A sound member has as many as it says.
pub(super) fn split(records: &[u8], header: &Header) -> Vec<(u64, Range<usize>)> {
    let mut lines = Vec::with_capacity(usize::try_from(header.count).unwrap_or(0).min(1024));
    let mut start = 0;
    for (sequence, line) in
        (header.first_sequence..).zip(records.split_inclusive(|&byte| byte == b'\n'))
    {
        lines.push((sequence, start..start + line.len()));
        start += line.len();
    }
    lines
}
