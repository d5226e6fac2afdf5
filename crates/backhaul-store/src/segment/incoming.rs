//! Sealed segments of records that were named elsewhere.

use std::path::PathBuf;

use super::head::{Head, Note};
use super::seal::{SealedFile, Writer};
use super::writer::{draw_nonce, next_name};
use super::{SegmentStore, lock};
use crate::context::{Context, create_anew};
use crate::error::{IoContext, Result};
use crate::id::{Chain, RecordId};

/// Room is reserved in pieces of this many bytes, so that the disk is not asked for each
/// record.
const RESERVED_AT_ONCE: u64 = 1 << 20;

/// A sealed segment that is being written and has no name yet.
#[derive(Debug)]
pub(crate) struct Incoming {
    chain: Chain,
    temporary: PathBuf,
    writer: Writer,
    next: u64,
    /// Bytes of its lines, how many there may be, and for how many room is reserved.
    bytes: u64,
    most: u64,
    reserved: u64,
}

impl Incoming {
    /// Whether more records of this chain go into the segment.
    pub(crate) fn has_room_for(&self, chain: Chain) -> bool {
        self.chain == chain && self.bytes < self.most
    }

    /// Adds a record's line.
    pub(crate) fn push(&mut self, context: &Context, sequence: u64, line: &[u8]) -> Result<()> {
        self.bytes += line.len() as u64;
        if self.bytes > self.reserved {
            let more = (self.bytes - self.reserved).max(RESERVED_AT_ONCE);
            context.quota.reserve(&*context.disk, &context.dir, more)?;
            self.reserved += more;
        }
        self.next = sequence + 1;
        let path = &self.temporary;
        self.writer.push(sequence, line).doing("write a sealed segment", path)
    }
}

impl SegmentStore {
    /// The sequence after the last record of a chain that is on disk.
    pub(crate) fn end(&self, chain: Chain) -> u64 {
        let catalog = lock(&self.catalog);
        catalog.get(&chain).and_then(|list| list.last()).map_or(1, |last| last.next)
    }

    /// Begins a segment with the record of this name.
    pub(crate) fn incoming(&self, first: RecordId) -> Result<Incoming> {
        let context = &self.context;
        let chain = first.position.chain;
        // What is appended later comes behind it, in another segment.
        self.rotate(chain);
        let ordinal = {
            let catalog = lock(&self.catalog);
            self.draw_ordinal(chain, catalog.get(&chain).map_or(&[], Vec::as_slice))
        };
        let head = Head {
            form: self.form(),
            nonce: draw_nonce(),
            chain,
            first_sequence: first.position.sequence.0,
            note: Note {
                device: first.device.to_string(),
                epoch: first.epoch.to_string(),
                created: context.clock.now().wall.to_string(),
                ordinal,
                sealed: None,
            },
        };
        let temporary = context.state(&format!("incoming-{}-carried.tmp", self.writer));
        let file = create_anew(&*context.disk, &temporary)?;
        let writer = Writer::new(&head, file);
        let next = head.first_sequence;
        let most = context.options.segment_bytes;
        Ok(Incoming { chain, temporary, writer, next, bytes: 0, most, reserved: 0 })
    }

    /// Gives a segment its name, durably: its records are part of the spool from then on.
    pub(crate) fn take_in(&self, incoming: Incoming) -> Result<()> {
        let context = &self.context;
        let Incoming { temporary, writer, next, reserved, .. } = incoming;
        let sealed = writer.finish(next).doing("write a sealed segment", &temporary);
        let SealedFile { head, len } = sealed.inspect_err(|_| context.quota.release(reserved))?;
        match len.checked_sub(reserved) {
            Some(more) => context.quota.add(more),
            None => context.quota.release(reserved - len),
        }
        {
            let _names = context.lock_names()?;
            let day = context.clock.now().wall.day();
            let path = context.path(&next_name(context, &day, head.form)?);
            context.disk.rename(&temporary, &path).doing("name a segment", &path)?;
        }
        context.disk.sync_dir(&context.dir).doing("sync the spool folder", &context.dir)?;
        self.look_again()
    }
}
