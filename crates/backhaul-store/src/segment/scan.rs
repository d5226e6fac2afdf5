//! Finds the members of a segment that has no index: one still written to, or
//! one that was never sealed. Hops from header to header; what is damaged costs
//! itself and no more, because members of an unsealed segment start on pages.

use std::io;

use super::header::{Header, Kind};
use super::member::{self, HEADER_LEN, PAGE};
use crate::disk::DiskFile;

/// Bytes read at a time: large enough for one system call per 256 pages.
const WINDOW: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) offset: u64,
    pub(crate) header: Header,
}

impl Member {
    pub(crate) fn end(&self) -> u64 {
        self.offset + u64::from(self.header.total_len)
    }

    /// Bytes of the whole member.
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.header.total_len).unwrap_or(usize::MAX)
    }

    /// The first sequence after this member's records.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.header.first_sequence.saturating_add(u64::from(self.header.count))
    }

    /// Reads and checks the records of a member whose commit may have been cut short;
    /// `None`: it is not whole, and does not count.
    pub(crate) fn records(&self, file: &dyn DiskFile) -> io::Result<Option<Vec<u8>>> {
        match file.read_exact_at(self.len(), self.offset) {
            Ok(bytes) => Ok(member::read_records(&bytes, &self.header, false)
                .filter(|_| member::is_padding_whole(&bytes, &self.header))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What stands in the unsealed part of a segment.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Data members with sound headers, in file order.
    pub(crate) members: Vec<Member>,
    /// Pages that are neither members nor free.
    pub(crate) foreign_pages: Vec<u64>,
}

impl Scan {
    /// Where the next commit goes: after the last member.
    pub(crate) fn frontier(&self, start: u64) -> u64 {
        self.members.last().map_or(start, Member::end)
    }
}

/// Walks the pages of `file` from `start` on. A page counts as free only if all of
/// it is what a free page of this segment is; members of other segments (another
/// nonce) count as foreign.
pub(crate) fn scan(file: &dyn DiskFile, nonce: u64, start: u64) -> io::Result<Scan> {
    let len = file.len()?;
    let mut window = Window { file, len, start: 0, bytes: Vec::new() };
    let mut found = Scan::default();
    let mut offset = start;
    let mut filler = None;
    while offset < len {
        match window.header_at(offset)? {
            Some(header)
                if is_filler(&header, nonce)
                    && window.page_is(
                        offset,
                        filler.get_or_insert_with(|| {
                            member::filler_page(header.form, nonce, header.chain)
                        }),
                    )? =>
            {
                offset += PAGE as u64;
            }
            Some(header) if is_plausible(&header, nonce, offset, len) => {
                let member = Member { offset, header };
                offset = member.end();
                found.members.push(member);
            }
            _ => {
                found.foreign_pages.push(offset);
                offset += PAGE as u64;
            }
        }
    }
    Ok(found)
}

fn is_filler(header: &Header, nonce: u64) -> bool {
    header.nonce == nonce && header.kind == Kind::Filler
}

fn is_plausible(header: &Header, nonce: u64, offset: u64, len: u64) -> bool {
    let total = u64::from(header.total_len);
    header.nonce == nonce
        && header.kind == Kind::Data
        && total >= header.form.header_len() as u64
        && total.is_multiple_of(PAGE as u64)
        && offset + total <= len
}

struct Window<'a> {
    file: &'a dyn DiskFile,
    /// The file's length.
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The header at `offset`; `None`: no sound header of a known format stands there.
    fn header_at(&mut self, offset: u64) -> io::Result<Option<Header>> {
        member::known_header(self.up_to(offset, HEADER_LEN)?)
    }

    fn page_is(&mut self, offset: u64, page: &[u8]) -> io::Result<bool> {
        Ok(self.up_to(offset, PAGE)? == page)
    }

    /// `len` bytes from `offset`, or as many as there are before the file ends.
    fn up_to(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        if self.slice(offset, len).is_none() {
            self.start = offset;
            let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
            self.bytes.resize(WINDOW.min(left), 0);
            let read = self.file.read_at(&mut self.bytes, offset)?;
            self.bytes.truncate(read);
        }
        let there = self.slice(offset, len).unwrap_or(&self.bytes);
        Ok(there)
    }

    fn slice(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(len)?)
    }
}
