//! Appending: records become pages, and pages become part of a segment.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::catalog::{Segment, State};
use super::header::{Header, Kind};
use super::member::PAGE;
use super::writer::{Active, Start};
use super::{SegmentStore, lock};
use crate::error::{ErrorKind, Result};
use crate::id::{Chain, Position, Sequence};
use crate::record::PreparedLine;

/// Records per member of an unsealed segment: what one damaged byte can cost.
const MEMBER_RECORDS: usize = 64;
/// Bytes of records per member of an unsealed segment.
const MEMBER_BYTES: usize = 1 << 20;

/// The part of a commit that goes to one chain.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) chain: Chain,
    pub(crate) count: u64,
    bytes: Vec<u8>,
}

type Actives = BTreeMap<Chain, Active>;
type Catalog = BTreeMap<Chain, Vec<Segment>>;

impl SegmentStore {
    /// Wraps the records of one chain into whole pages. Touches no file.
    pub(crate) fn build(&self, chain: Chain, first: u64, lines: &[&PreparedLine]) -> Part {
        let mut encoder = lock(&self.encoder);
        let mut part = Part { chain, count: lines.len() as u64, bytes: Vec::new() };
        let id = self.context.identity.record_id(Position { chain, sequence: Sequence(first) });
        let prefix = id.prefix();
        let header_of = |first_sequence, count| Header {
            first_sequence,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            ..Header::new(self.form(), Kind::Data, chain)
        };
        let (mut raw, mut member_first, mut count) = (Vec::new(), first, 0usize);
        for (index, line) in lines.iter().enumerate() {
            let sequence = first + index as u64;
            let full = count >= MEMBER_RECORDS || raw.len() + line.len() > MEMBER_BYTES;
            if count > 0 && full {
                // Each member is padded, so that every member starts on a page.
                encoder.data(&header_of(member_first, count), &raw, true, &mut part.bytes);
                (member_first, count) = (sequence, 0);
                raw.clear();
            }
            line.finish(&prefix, sequence, &mut raw);
            count += 1;
        }
        if count > 0 {
            encoder.data(&header_of(member_first, count), &raw, true, &mut part.bytes);
        }
        part
    }

    /// Writes the parts of one commit, and flushes them where asked. After an
    /// error none of it counts: the segments concerned are closed, and the next
    /// commit goes to new ones.
    pub(crate) fn write(&self, parts: &mut [Part], flush: bool) -> Result<()> {
        // Who delivers may change while this goes on.
        let may_be_seen = self.context.may_be_seen();
        let mut actives = lock(&self.actives);
        let written = self.write_parts(&mut actives, parts, flush);
        let mut catalog = lock(&self.catalog);
        let mut wants_growth = false;
        match written {
            Ok(()) => {
                for part in parts {
                    let active = actives.get(&part.chain);
                    let segment = catalog.get_mut(&part.chain).and_then(|list| list.last_mut());
                    if let (Some(active), Some(segment)) = (active, segment) {
                        segment.end = active.frontier;
                        segment.next = active.next;
                        segment.len = active.prepared;
                        wants_growth |= active.wants_growth(&self.context);
                    }
                }
                if wants_growth && !self.growth_asked.swap(true, Ordering::Relaxed) {
                    crate::maintenance::wake();
                }
                Ok(())
            }
            Err(error) => {
                // A refusal for want of room came before anything was written.
                if error.kind() != ErrorKind::Full || error.path() != Some(&self.context.dir) {
                    let may_be_seen = may_be_seen || self.context.may_be_seen();
                    for part in parts {
                        if may_be_seen {
                            keep_what_can_be_read(&actives, &mut catalog, part.chain);
                        }
                        self.close(&mut actives, &mut catalog, part.chain);
                    }
                }
                Err(error)
            }
        }
    }

    fn write_parts(&self, actives: &mut Actives, parts: &mut [Part], flush: bool) -> Result<()> {
        for part in parts.iter() {
            self.make_active(actives, part.chain, part.bytes.len() as u64)?;
        }
        for part in parts.iter_mut() {
            let Some(active) = actives.get_mut(&part.chain) else { continue };
            active.write(&self.context, &mut part.bytes, part.count)?;
        }
        if flush {
            for part in parts {
                if let Some(active) = actives.get_mut(&part.chain) {
                    active.flush()?;
                }
            }
        }
        Ok(())
    }

    /// Sees to it that the chain has an open segment with room, in pages that are
    /// already there or that the quota allows.
    fn make_active(&self, actives: &mut Actives, chain: Chain, bytes: u64) -> Result<()> {
        let limit = self.context.options.segment_bytes;
        let mut catalog = lock(&self.catalog);
        let mut extent = self.first_extent();
        if let Some(active) = actives.get_mut(&chain) {
            let is_empty = active.next == active.head.first_sequence;
            if is_empty || active.frontier + bytes <= limit {
                return active.ensure_prepared(&self.context, bytes);
            }
            extent = active.extent.max(extent);
            // Nobody flushes it later: what was relaxed in it is made durable now.
            active.flush()?;
            self.close(actives, &mut catalog, chain);
        }
        let first = self.next_in(&catalog, chain);
        self.begin(actives, &mut catalog, chain, first, extent, bytes)
    }

    /// The first stretch of free pages; a small cap makes it smaller.
    fn first_extent(&self) -> u64 {
        let options = &self.context.options;
        options.first_extent_bytes.min(options.largest_extent()).max(PAGE as u64)
    }

    fn close(&self, actives: &mut Actives, catalog: &mut Catalog, chain: Chain) {
        let Some(active) = actives.remove(&chain) else { return };
        let segments = catalog.entry(chain).or_default();
        let Some(segment) = segments.iter_mut().find(|segment| segment.name == active.name) else {
            return;
        };
        let closed = active.close(&self.context, segment.end, segment.next);
        segment.state = State::Closed;
        segment.len = closed.len;
        segment.is_doubtful = !closed.is_durable;
        if segment.is_doubtful {
            tracing::error!(name = segment.name, "a flush failed: the segment is written anew");
        }
    }

    /// Jumps over sequences that were given away before a loss of data, so that
    /// they are never given to other records.
    pub(crate) fn skip_to(&self, chain: Chain, next: u64) -> Result<()> {
        let mut actives = lock(&self.actives);
        let mut catalog = lock(&self.catalog);
        self.close(&mut actives, &mut catalog, chain);
        let extent = self.first_extent();
        self.begin(&mut actives, &mut catalog, chain, next, extent, 0)
    }

    /// Goes on at `next` after the last file of a chain was removed by somebody else.
    pub(super) fn replace_removed(
        &self,
        actives: &mut Actives,
        catalog: &mut Catalog,
        chain: Chain,
        next: u64,
    ) -> Result<()> {
        actives.remove(&chain);
        tracing::error!(%chain, "the newest segment of a chain was removed: its records are lost");
        self.begin(actives, catalog, chain, next, self.first_extent(), 0)
    }

    /// Begins a new segment of the chain, with room for `bytes`.
    fn begin(
        &self,
        actives: &mut Actives,
        catalog: &mut Catalog,
        chain: Chain,
        first: u64,
        extent: u64,
        bytes: u64,
    ) -> Result<()> {
        let segments = catalog.entry(chain).or_default();
        let ordinal = self.draw_ordinal(chain, segments);
        let start = Start { first, ordinal, prepared: self.first_extent(), extent };
        let active = Active::create(&self.context, self.form(), chain, start, bytes)?;
        segments.push(Segment {
            name: active.name.clone(),
            head: active.head.clone(),
            state: State::Active,
            end: active.frontier,
            next: active.next,
            len: active.prepared,
            lost_head: false,
            is_left: false,
            is_doubtful: false,
        });
        actives.insert(chain, active);
        Ok(())
    }

    /// The place of a chain's next segment among these.
    pub(super) fn draw_ordinal(&self, chain: Chain, segments: &[Segment]) -> u64 {
        let after_last = segments.last().map_or(0, |segment| segment.head.note.ordinal + 1);
        // A segment whose making failed half way may still be found in the folder.
        let mut ordinals = lock(&self.ordinals);
        let ordinal = ordinals.get(&chain).map_or(after_last, |&next| next.max(after_last));
        ordinals.insert(chain, ordinal + 1);
        ordinal
    }

    /// Makes everything durable that was appended. What a flush that failed has left in
    /// doubt is written anew.
    pub(crate) fn flush(&self) -> Result<()> {
        {
            let mut actives = lock(&self.actives);
            let mut catalog = lock(&self.catalog);
            let has_failed =
                |(chain, active): (&Chain, &mut Active)| active.flush().is_err().then_some(*chain);
            let failed: Vec<Chain> = actives.iter_mut().filter_map(has_failed).collect();
            failed.into_iter().for_each(|chain| self.close(&mut actives, &mut catalog, chain));
        }
        self.seal_doubtful()
    }

    /// Closes an open segment, so that it can be removed or sealed.
    pub(crate) fn rotate(&self, chain: Chain) {
        let mut actives = lock(&self.actives);
        let mut catalog = lock(&self.catalog);
        self.close(&mut actives, &mut catalog, chain);
    }
}

/// After a commit that failed: another process may have delivered what of it can be
/// read, so that those records count, and their sequences are used up.
fn keep_what_can_be_read(actives: &Actives, catalog: &mut Catalog, chain: Chain) {
    let (Some(active), Some(segments)) = (actives.get(&chain), catalog.get_mut(&chain)) else {
        return;
    };
    let Some(segment) = segments.iter_mut().find(|segment| segment.name == active.name) else {
        return;
    };
    for member in active.readable_from(segment.end, segment.next) {
        segment.end = member.end();
        segment.next = member.next_sequence();
    }
}
