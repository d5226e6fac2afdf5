//! The segment layout: rotating `.jsonl.gz` or `.jsonl` files, one chain of them per
//! lane and writer. Formats and crash cases: `docs/format.md`.

mod adopt;
mod append;
mod catalog;
mod form;
mod gzip;
mod head;
mod header;
mod incoming;
mod index;
mod keep;
mod member;
pub(crate) mod name;
mod pick;
mod plain;
mod read;
mod reader;
mod scan;
mod seal;
mod verify;
mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use self::append::Part;
use self::catalog::Segment;
pub(crate) use self::catalog::State;
pub use self::catalog::is_segment;
use self::form::Form;
use self::head::Head;
pub(crate) use self::incoming::Incoming;
use self::member::{Encoder, Level, PAGE};
pub(crate) use self::pick::Picks;
pub(crate) use self::read::Read;
pub(crate) use self::reader::SegmentReader;
pub(crate) use self::verify::{SegmentFault, Wrong};
use self::writer::Active;
use crate::context::Context;
use crate::disk::{DiskFile, Open};
use crate::error::Result;
use crate::id::{Chain, DeviceId};

/// All segments of a spool. Locks are taken in the order of the fields.
#[derive(Debug)]
pub(crate) struct SegmentStore {
    context: Arc<Context>,
    writer: u16,
    encoder: Mutex<Encoder>,
    /// Held while a segment is being sealed.
    sealing: Mutex<()>,
    actives: Mutex<BTreeMap<Chain, Active>>,
    catalog: Mutex<BTreeMap<Chain, Vec<Segment>>>,
    /// For each chain, the place that its next segment gets at least.
    ordinals: Mutex<BTreeMap<Chain, u64>>,
    /// For each chain, a sequence that it has reached, whatever happened to its files.
    reached: Mutex<BTreeMap<Chain, u64>>,
    /// Locks of dead writers whose segments are being sealed here: nobody else may go
    /// on in them meanwhile.
    adopted: Mutex<BTreeMap<u16, Box<dyn DiskFile>>>,
    /// Where the own chains ended when the store was opened: from there on this process
    /// wrote and flushed them itself.
    found: BTreeMap<Chain, u64>,
    /// The maintenance thread was told that free pages run short.
    growth_asked: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SegmentStore {
    /// Reads the heads of all segments and takes over the open ones of `writer`.
    pub(crate) fn open(context: Arc<Context>, writer: u16) -> Result<Self> {
        let mut store = Self {
            context,
            writer,
            encoder: Mutex::new(Encoder::new(Level::Commit)),
            sealing: Mutex::default(),
            actives: Mutex::default(),
            catalog: Mutex::default(),
            ordinals: Mutex::default(),
            reached: Mutex::default(),
            adopted: Mutex::default(),
            found: BTreeMap::new(),
            growth_asked: AtomicBool::new(false),
        };
        store.refresh()?;
        store.adopt(writer)?;
        store.found = store.chains().into_iter().map(|(chain, (_, next))| (chain, next)).collect();
        Ok(store)
    }

    /// The form that new segments get.
    fn form(&self) -> Form {
        if self.context.options.compress { Form::Gzip } else { Form::Plain }
    }

    /// The device that the segments in a folder were written by, if there is any.
    pub(crate) fn device_of(
        disk: &dyn crate::disk::Disk,
        dir: &std::path::Path,
    ) -> Option<DeviceId> {
        let names = disk.list(dir).ok()?;
        names.iter().filter(|entry| name::parse(&entry.name).is_some()).find_map(|entry| {
            let file = disk.open(&dir.join(&entry.name), Open::Read).ok()?;
            let head = Head::parse(&file.read_exact_at(PAGE, 0).ok()?).ok()??;
            Some(DeviceId(uuid::Uuid::try_parse(&head.note.device).ok()?))
        })
    }
}
