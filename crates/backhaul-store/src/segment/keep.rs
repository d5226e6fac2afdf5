//! What is done to segments in the background: free pages, sealing, removal.

use super::catalog::{Segment, State};
use super::writer::Growth;
use super::{SegmentStore, lock, name, seal};
use crate::error::{IoContext, Result};
use crate::id::Chain;
use crate::quota::on_disk;
use std::sync::atomic::Ordering;

impl SegmentStore {
    /// Writes free pages ahead of the writers, so that commits need one flush.
    pub(crate) fn grow(&self) -> Result<()> {
        self.growth_asked.store(false, Ordering::Relaxed);
        let due: Vec<(Chain, Growth)> = {
            let mut actives = lock(&self.actives);
            let mut due = Vec::new();
            for (chain, active) in actives.iter_mut() {
                match active.growth(&self.context) {
                    Ok(growth) => due.extend(growth.map(|growth| (*chain, growth))),
                    // What is there will do: commits extend it by what they need.
                    Err(error) if error.is_full() => {}
                    Err(error) => return Err(error),
                }
            }
            due
        };
        for (chain, growth) in due {
            growth.run(&self.context)?;
            let mut actives = lock(&self.actives);
            if let Some(active) = actives.get_mut(&chain) {
                active.grown(&growth);
                let mut catalog = lock(&self.catalog);
                if let Some(segment) = catalog.get_mut(&chain).and_then(|list| list.last_mut()) {
                    segment.len = active.prepared;
                }
            }
        }
        Ok(())
    }

    /// Seals one closed segment. `Ok(false)`: there is none.
    pub(crate) fn seal_one(&self) -> Result<bool> {
        let _exclusive = lock(&self.sealing);
        // Only what this process wrote or adopted is closed; others seal their own.
        let is_due = |segment: &Segment| segment.state == State::Closed || segment.is_doubtful;
        let due = self.first(is_due);
        if let Some((chain, segment)) = &due {
            self.seal(*chain, segment)?;
        } else {
            self.let_go_of_sealed();
        }
        Ok(due.is_some())
    }

    /// Writes anew, durably, what a flush that failed has left in doubt.
    pub(super) fn seal_doubtful(&self) -> Result<()> {
        let _exclusive = lock(&self.sealing);
        while let Some((chain, segment)) = self.first(|segment| segment.is_doubtful) {
            self.seal(chain, &segment)?;
        }
        Ok(())
    }

    /// Writes a segment anew, without what is damaged in it, whose bytes go into quarantine.
    /// One that is appended to is closed.
    pub(crate) fn seal_anew(&self, name: &str) -> Result<()> {
        let active = self.first(|segment| segment.name == name && segment.state == State::Active);
        if let Some((chain, _)) = active {
            self.rotate(chain);
        }
        let _exclusive = lock(&self.sealing);
        self.with_entry(name, |entry| {
            if entry.state == State::Sealed {
                entry.state = State::Closed;
            }
        });
        match self.first(|segment| segment.name == name && segment.state == State::Closed) {
            Some((chain, segment)) => self.seal(chain, &segment),
            None => Ok(()),
        }
    }

    fn first(&self, is_due: impl Fn(&Segment) -> bool) -> Option<(Chain, Segment)> {
        let catalog = lock(&self.catalog);
        let mut all = catalog.iter().flat_map(|(chain, list)| list.iter().map(|s| (*chain, s)));
        all.find(|(_, segment)| is_due(segment)).map(|(chain, segment)| (chain, segment.clone()))
    }

    fn seal(&self, chain: Chain, segment: &Segment) -> Result<()> {
        if segment.next == segment.first() {
            return self.remove(chain, segment.first(), segment.next);
        }
        if segment.state == State::Closed {
            let (end, next) = (segment.end, segment.next);
            let sealed = seal::seal(&self.context, &segment.name, &segment.head, end, next)?;
            self.context.quota.release(on_disk(segment.len));
            self.context.quota.add(on_disk(sealed.len));
            self.with_entry(&segment.name, |entry| {
                entry.state = State::Sealed;
                entry.len = sealed.len;
                entry.end = sealed.len;
                entry.head = sealed.head;
                entry.lost_head = false;
            });
        }
        let dir = &self.context.dir;
        match self.context.disk.sync_dir(dir).doing("sync the spool folder", dir) {
            Ok(()) => self.with_entry(&segment.name, |entry| entry.is_doubtful = false),
            // The old file may be there after a power cut.
            Err(error) if segment.is_doubtful => return Err(error),
            // Either file may, and both hold the same records.
            Err(error) => {
                tracing::warn!(name = segment.name, %error, "the name of a sealed segment is not durable yet");
            }
        }
        Ok(())
    }

    fn with_entry(&self, name: &str, change: impl FnOnce(&mut Segment)) {
        let mut catalog = lock(&self.catalog);
        let mut all = catalog.values_mut().flatten();
        if let Some(entry) = all.find(|entry| entry.name == name) {
            change(entry);
        }
    }

    /// Removes a segment that nobody appends to. The last one of an own chain leaves an
    /// empty successor, so that its sequences are not given away again; whoever gets
    /// a dead writer's number learns from the ledger where its chains go on.
    pub(crate) fn remove(&self, chain: Chain, first: u64, next: u64) -> Result<()> {
        let found = {
            let catalog = lock(&self.catalog);
            let segments = catalog.get(&chain).map_or(&[][..], Vec::as_slice);
            let same = |segment: &Segment| segment.first() == first && segment.next == next;
            let index = segments.iter().position(same);
            index.and_then(|at| Some((segments.get(at)?.clone(), at + 1 == segments.len())))
        };
        let Some((segment, is_last)) = found else { return Ok(()) };
        if is_last && chain.writer == self.writer {
            self.skip_to(chain, segment.next)?;
        }
        let path = self.context.path(&segment.name);
        let mut catalog = lock(&self.catalog);
        match self.context.disk.remove(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.doing("remove a segment", &path)?,
        }
        self.context.quota.release(on_disk(segment.len));
        if let Some(segments) = catalog.get_mut(&chain) {
            segments.retain(|other| other.name != segment.name);
        }
        let dir = &self.context.dir;
        self.context.disk.sync_dir(dir).doing("sync the spool folder", dir)
    }

    /// Gives a segment the name that says that all of it is delivered.
    pub(crate) fn mark_synced(&self, name: &str) -> Result<()> {
        let new_name = name::synced(name);
        if new_name == name {
            return Ok(());
        }
        let (from, to) = (self.context.path(name), self.context.path(&new_name));
        let _exclusive = lock(&self.sealing);
        let mut catalog = lock(&self.catalog);
        self.context.disk.rename(&from, &to).doing("rename a segment", &from)?;
        for segment in catalog.values_mut().flatten().filter(|segment| segment.name == name) {
            segment.name.clone_from(&new_name);
        }
        Ok(())
    }
}
