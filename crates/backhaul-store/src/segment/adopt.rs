//! Recovery: taking over segments that nobody writes to any more.

use super::catalog::{Segment, State, close_the_gaps};
use super::member::PAGE;
use super::writer::Active;
use super::{SegmentStore, lock, scan};
use crate::context::try_lock;
use crate::disk::{DiskFile, Open};
use crate::error::{IoContext, Result};
use crate::spool::writer_lock_path;

impl SegmentStore {
    /// Whether a writer has segments to be taken over, should it be dead.
    pub(crate) fn wants_adoption(&self, writer: u16) -> bool {
        let catalog = lock(&self.catalog);
        let mut chains = catalog.iter().filter(|(chain, _)| chain.writer == writer);
        chains.any(|(_, segments)| segments.iter().any(Segment::wants_adoption))
    }

    /// Takes over the segments of a writer if it no longer lives. Its lock is kept until
    /// they are sealed: a process that got its number would go on in them. After an
    /// error some may be taken over, and the others are another time.
    pub(crate) fn adopt_from_the_dead(&self, writer: u16) -> Result<bool> {
        if !self.has_adopted(writer) {
            let path = writer_lock_path(&self.context.dir, writer);
            let Some(writer_lock) = try_lock(&*self.context.disk, &path)? else { return Ok(false) };
            lock(&self.adopted).insert(writer, writer_lock);
        }
        // It may have written more after the last look.
        let taken_over = self.refresh().and_then(|()| self.adopt(writer));
        self.let_go_of_sealed();
        taken_over.map(|()| true)
    }

    /// Whether this process holds the number of a writer that is dead.
    pub(crate) fn has_adopted(&self, writer: u16) -> bool {
        lock(&self.adopted).contains_key(&writer)
    }

    /// Gives back all numbers.
    pub(crate) fn let_go_of_all(&self) {
        lock(&self.adopted).clear();
    }

    /// Gives back the numbers of dead writers whose segments are all sealed.
    pub(super) fn let_go_of_sealed(&self) {
        let catalog = lock(&self.catalog);
        let is_done = |writer: u16| {
            let mut chains = catalog.iter().filter(|(chain, _)| chain.writer == writer);
            chains.all(|(_, list)| list.iter().all(|segment| segment.state != State::Closed))
        };
        lock(&self.adopted).retain(|writer, _| !is_done(*writer));
    }

    /// Takes over the unsealed segments of a writer that is this process, or that
    /// no longer lives: finds where each ends, and frees torn pages.
    pub(super) fn adopt(&self, writer: u16) -> Result<()> {
        let mut actives = lock(&self.actives);
        let mut catalog = lock(&self.catalog);
        for (chain, segments) in catalog.iter_mut().filter(|(chain, _)| chain.writer == writer) {
            let last = segments.len().saturating_sub(1);
            for (index, segment) in segments.iter_mut().enumerate() {
                if !segment.wants_adoption() {
                    continue;
                }
                let active = self.take_over(segment, index == last)?;
                if let Some(active) = active.filter(|_| writer == self.writer) {
                    segment.state = State::Active;
                    actives.insert(*chain, active);
                }
            }
            close_the_gaps(segments);
        }
        Ok(())
    }

    /// After an error the segment is as it was, and is taken over another time.
    fn take_over(&self, segment: &mut Segment, is_last: bool) -> Result<Option<Active>> {
        let path = self.context.path(&segment.name);
        let file = self.context.disk.open(&path, Open::Read).doing("open a segment", &path)?;
        let len = file.len().doing("measure a segment", &path)?;
        let found = self.read_segment(&*file, &segment.name, len)?;
        if let Some(found) = found.filter(|found| found.head.nonce != segment.head.nonce) {
            // Sealed since, to the very same length.
            *segment = found;
        }
        if segment.state == State::Sealed {
            // One without a head is sealed anew.
            if segment.lost_head {
                segment.state = State::Closed;
            }
            return Ok(None);
        }
        if !is_last {
            segment.end = segment.len;
            segment.state = State::Closed;
            return Ok(None);
        }
        let mut found =
            scan::scan(&*file, segment.head.nonce, PAGE as u64).doing("scan a segment", &path)?;
        drop_torn_commit(&mut found, &*file).doing("scan a segment", &path)?;
        let active = Active::adopt(&self.context, &segment.name, segment.head.clone(), &found)?;
        segment.end = found.frontier(PAGE as u64);
        segment.next = found.members.last().map_or(segment.first(), scan::Member::next_sequence);
        if segment.next == segment.first() && segment.head.chain.writer != self.writer {
            // Whoever gets the writer's number next begins there.
            segment.is_left = true;
        } else {
            segment.state = State::Closed;
        }
        // Sealing gives it a head again; and new records get the form that is asked for.
        let goes_on = !segment.lost_head && segment.head.form == self.form();
        let active = active.filter(|_| goes_on);
        if let Some(active) = &active {
            segment.len = active.prepared;
        }
        Ok(active)
    }
}

/// Of the last commit only what is whole from its start counts: the rest was never
/// acknowledged, or is damaged past telling. Its pages become foreign ones, which are
/// put in quarantine.
fn drop_torn_commit(found: &mut scan::Scan, file: &dyn DiskFile) -> std::io::Result<()> {
    let Some(last) = found.members.last().map(|member| member.header.commit) else { return Ok(()) };
    let start = found.members.partition_point(|member| member.header.commit != last);
    let mut of_commit = found.members.split_off(start).into_iter();
    let mut expected_offset = 0;
    for member in of_commit.by_ref() {
        if member.header.commit_offset != expected_offset || member.records(file)?.is_none() {
            found.foreign_pages.extend((member.offset..member.end()).step_by(PAGE));
            break;
        }
        expected_offset += member.header.total_len;
        found.members.push(member);
    }
    for member in of_commit {
        found.foreign_pages.extend((member.offset..member.end()).step_by(PAGE));
    }
    found.foreign_pages.sort_unstable();
    Ok(())
}
