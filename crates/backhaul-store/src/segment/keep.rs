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
        let due = {
            let catalog = lock(&self.catalog);
            // Only what this process wrote or adopted is closed; others seal their own.
            let mut all = catalog.iter().flat_map(|(chain, list)| list.iter().map(|s| (*chain, s)));
            all.find(|(_, segment)| segment.state == State::Closed)
                .map(|(chain, segment)| (chain, segment.clone()))
        };
        let Some((chain, segment)) = due else {
            self.let_go_of_sealed();
            return Ok(false);
        };
        if segment.next == segment.first() {
            self.remove(chain, segment.first(), segment.next)?;
            return Ok(true);
        }
        let sealed =
            seal::seal(&self.context, &segment.name, &segment.head, segment.end, segment.next)?;
        self.context.quota.release(on_disk(segment.len));
        self.context.quota.add(on_disk(sealed.len));
        let mut catalog = lock(&self.catalog);
        let entry = catalog.values_mut().flatten().find(|entry| entry.name == segment.name);
        if let Some(entry) = entry {
            entry.state = State::Sealed;
            entry.len = sealed.len;
            entry.end = sealed.len;
            entry.head = sealed.head;
            entry.lost_head = false;
        }
        Ok(true)
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
        let mut catalog = lock(&self.catalog);
        self.context.disk.rename(&from, &to).doing("rename a segment", &from)?;
        for segment in catalog.values_mut().flatten().filter(|segment| segment.name == name) {
            segment.name.clone_from(&new_name);
        }
        Ok(())
    }
}
