//! Reading single records in any order: the members that were inflated last stay in
//! memory, and where members stand in their segments.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::catalog::{Segment, State};
use super::reader::split;
use super::scan::Member;
use super::{SegmentReader, SegmentStore, lock};
use crate::error::{IoContext, Result};
use crate::id::Position;
use crate::record::{StoredRecord, parse_line};

/// Segments that are held open.
const MAX_SEGMENTS: usize = 64;

/// What is kept between one record and the next.
#[derive(Debug)]
pub(crate) struct Picks {
    max_bytes: usize,
    segments: Vec<OpenSegment>,
    /// By the nonce of the segment and the member's place in it.
    members: HashMap<(u64, u64), Inflated>,
    bytes: usize,
    /// Counts what was asked for.
    uses: u64,
}

#[derive(Debug)]
struct OpenSegment {
    name: String,
    nonce: u64,
    is_sealed: bool,
    reader: SegmentReader,
    /// First sequence and place of members, ascending; not of all where it is sealed.
    places: Vec<(u64, u64)>,
    has_index: bool,
    /// The end of the last member, and up to where members were looked for.
    walked: u64,
    walked_for: u64,
}

#[derive(Debug)]
struct Inflated {
    records: Arc<Vec<u8>>,
    lines: Vec<(u64, Range<usize>)>,
    last_used: u64,
}

impl Picks {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, segments: Vec::new(), members: HashMap::new(), bytes: 0, uses: 0 }
    }

    /// The line of a record, from memory where its member is there.
    fn line(&mut self, at: usize, sequence: u64, end: u64) -> io::Result<Option<Line>> {
        self.uses += 1;
        let Some(segment) = self.segments.get_mut(at) else { return Ok(None) };
        let Some(offset) = segment.offset_of(sequence, end)? else { return Ok(None) };
        let nonce = segment.nonce;
        let line = self.line_in(&(nonce, offset), sequence);
        if line.is_some() {
            return Ok(line);
        }
        let Some(segment) = self.segments.get_mut(at) else { return Ok(None) };
        let Some(member) = segment.member_from(offset, sequence)? else { return Ok(None) };
        let key = (nonce, member.offset);
        if !self.members.contains_key(&key) {
            let Some(records) = segment.reader.records(&member)? else { return Ok(None) };
            let lines = split(&records, &member.header);
            self.make_room(records.len());
            self.bytes += records.len();
            let records = Arc::new(records);
            self.members.insert(key, Inflated { records, lines, last_used: 0 });
        }
        Ok(self.line_in(&key, sequence))
    }

    /// The line of a record, if it is in this member and that in memory.
    fn line_in(&mut self, key: &(u64, u64), sequence: u64) -> Option<Line> {
        let member = self.members.get_mut(key)?;
        member.last_used = self.uses;
        let found = member.lines.binary_search_by_key(&sequence, |(sequence, _)| *sequence);
        let (_, range) = member.lines.get(found.ok()?)?;
        Some(Line { records: Arc::clone(&member.records), range: range.clone() })
    }

    /// Forgets members, those that were not used for longest first.
    fn make_room(&mut self, len: usize) {
        while self.bytes + len > self.max_bytes {
            let oldest = self.members.iter().min_by_key(|(_, member)| member.last_used);
            let Some(key) = oldest.map(|(key, _)| *key) else { return };
            let member = self.members.remove(&key);
            self.bytes -= member.map_or(0, |member| member.records.len());
        }
    }
}

/// A line of a member that is held.
struct Line {
    records: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl OpenSegment {
    /// Where to look for the member that holds a sequence. `end`: the end of the records.
    fn offset_of(&mut self, sequence: u64, end: u64) -> io::Result<Option<u64>> {
        self.reader.extend_to(end);
        if !self.has_index && self.walked_for < end {
            self.reader.go_to(self.walked);
            while let Some(member) = self.reader.next_member()? {
                self.places.push((member.header.first_sequence, member.offset));
                self.walked = member.end();
            }
            self.walked_for = end;
        }
        let after = self.places.partition_point(|(first, _)| *first <= sequence);
        Ok(after.checked_sub(1).and_then(|at| self.places.get(at)).map(|(_, offset)| *offset))
    }

    /// The member that holds a sequence, at this byte or behind it.
    fn member_from(&mut self, offset: u64, sequence: u64) -> io::Result<Option<Member>> {
        self.reader.go_to(offset);
        while let Some(member) = self.reader.next_member()? {
            if member.next_sequence() > sequence {
                return Ok((member.header.first_sequence <= sequence).then_some(member));
            }
        }
        Ok(None)
    }
}

impl SegmentStore {
    /// The record at a place. `Ok(None)`: it is not there, or damaged, or its file got
    /// another name since the catalog was refreshed.
    pub(crate) fn pick(
        &self,
        position: Position,
        picks: &mut Picks,
    ) -> Result<Option<StoredRecord>> {
        let sequence = position.sequence.0;
        let Some(segment) = self.segment_with(position) else { return Ok(None) };
        let Some(at) = self.open_for_picks(&segment, picks)? else { return Ok(None) };
        let line = picks.line(at, sequence, segment.end);
        let line = line.doing("read a segment", &self.context.path(&segment.name))?;
        let record = line.and_then(|line| parse_line(line.records.get(line.range)?).ok());
        Ok(record.filter(|record| record.id.position == position))
    }

    fn segment_with(&self, position: Position) -> Option<Segment> {
        let (catalog, sequence) = (lock(&self.catalog), position.sequence.0);
        let segments = catalog.get(&position.chain)?;
        let holds = |one: &&Segment| (one.first()..one.next).contains(&sequence);
        segments.iter().find(holds).cloned()
    }

    fn open_for_picks(&self, segment: &Segment, picks: &mut Picks) -> Result<Option<usize>> {
        let is_sealed = segment.state == State::Sealed;
        let is_it = |open: &OpenSegment| {
            open.name == segment.name
                && open.nonce == segment.head.nonce
                && open.is_sealed == is_sealed
        };
        if let Some(at) = picks.segments.iter().position(is_it) {
            return Ok(Some(at));
        }
        let Some(reader) = self.open_reader(segment, segment.first())? else { return Ok(None) };
        let index = reader.index().doing("read a segment", &self.context.path(&segment.name))?;
        if picks.segments.len() == MAX_SEGMENTS {
            picks.segments.remove(0);
        }
        picks.segments.push(OpenSegment {
            name: segment.name.clone(),
            nonce: segment.head.nonce,
            is_sealed,
            reader,
            has_index: index.is_some(),
            places: index.unwrap_or_default(),
            walked: super::PAGE as u64,
            walked_for: 0,
        });
        Ok(Some(picks.segments.len() - 1))
    }
}
