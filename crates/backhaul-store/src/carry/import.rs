//! Carried records are taken into a spool, under the names that they have.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Carried, Naming};
use crate::attachments::is_alone;
use crate::clock::{Clock, SystemClock};
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Chain, Position, RecordId, Sequence};
use crate::layout::Store;
use crate::ledger::Settled;
use crate::options::{Layout, Options};
use crate::os_disk::OsDisk;
use crate::segment::{Incoming, Read, SegmentReader, SegmentStore};
use crate::spool::{Inner, Spool};

/// What became of carried records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Imported {
    /// Stored now.
    pub stored: u64,
    /// Stored here before, and still waiting or failed.
    pub known: u64,
    /// Known here, and delivered or given up since.
    pub settled: u64,
}

impl Spool {
    /// Opens the spool in `dir` to import records into it. Where there is none, one is made
    /// whose records are named so; records that are appended to it later get an epoch of
    /// their own.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where a spool of another device is there, or one in which
    /// records were stored since that are named otherwise; and as of [`Spool::open`].
    pub fn open_to_import(
        dir: impl AsRef<Path>,
        options: Options,
        naming: &Naming,
    ) -> Result<Self> {
        let clock = Arc::new(SystemClock::new());
        Self::open_to_import_on(dir, options, naming, Arc::new(OsDisk), clock)
    }

    /// [`open_to_import`](Spool::open_to_import) on a given disk and clock: the seam for tests.
    ///
    /// # Errors
    /// As of [`open_to_import`](Spool::open_to_import).
    pub fn open_to_import_on(
        dir: impl AsRef<Path>,
        options: Options,
        naming: &Naming,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let options = Options { layout: Layout::Segments, ..options };
        Self::open_as(dir.as_ref(), options, disk, clock, Some(naming))
    }

    /// Stores carried records that are not here yet, under their names. They are to come
    /// chain by chain, in order, as [`each_carried`](Spool::each_carried) gives them.
    ///
    /// What is stored is durable, and what comes twice is stored once: an import that broke
    /// off is begun again.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while another process delivers from this spool,
    /// [`ErrorKind::InvalidInput`] for records whose names are not of this spool or do not
    /// come in order, and the first error of `carried`. What came before may be stored.
    pub fn import(
        &self,
        naming: &Naming,
        carried: impl IntoIterator<Item = Result<Carried>>,
    ) -> Result<Imported> {
        let inner = &*self.inner;
        inner.check_process()?;
        inner.check_writable()?;
        let Store::Segments(store) = &inner.store else {
            return Err(Error::at(
                ErrorKind::InvalidInput,
                &inner.context.dir,
                "the spool keeps each record in a file of its own, and takes no carried records: \
                 import them into another folder",
            ));
        };
        inner.catch_up()?;
        inner.courier().require(inner)?;
        if !is_alone(inner)? {
            return Err(Error::at(
                ErrorKind::Busy,
                &inner.context.dir,
                "another process has the spool open: stop it, or import into another folder",
            ));
        }
        inner.adopt_naming(naming)?;
        let mut import = Import::new(inner, store);
        for carried in carried {
            import.take(naming, carried?)?;
        }
        import.finish()
    }
}

/// Takes records, chain by chain.
struct Import<'a> {
    inner: &'a Inner,
    store: &'a SegmentStore,
    /// The place before which all of its chain was taken.
    at: Option<Position>,
    /// The segment that is being written.
    incoming: Option<Incoming>,
    reader: Option<SegmentReader>,
    /// Where records up to there do not simply wait.
    settled: Vec<(Position, Settled)>,
    /// Places up to there that hold no record.
    void: Vec<(Chain, u64, u64)>,
    imported: Imported,
}

impl<'a> Import<'a> {
    fn new(inner: &'a Inner, store: &'a SegmentStore) -> Self {
        Self {
            inner,
            store,
            at: None,
            incoming: None,
            reader: None,
            settled: Vec::new(),
            void: Vec::new(),
            imported: Imported::default(),
        }
    }

    fn take(&mut self, naming: &Naming, carried: Carried) -> Result<()> {
        let id = carried.record.id;
        let Position { chain, sequence } = id.position;
        self.check(naming, id)?;
        if self.at.is_none_or(|at| at.chain != chain) {
            self.reader = None;
        }
        let before = self.at.filter(|at| at.chain == chain).map_or(1, |at| at.sequence.0);
        self.skip(chain, before, sequence.0)?;
        self.at = Some(Position { chain, sequence: Sequence(sequence.0 + 1) });
        if sequence.0 >= self.store.end(chain) {
            return self.store(carried);
        }
        *self.count_of_known(id)? += 1;
        // An import that broke off, or news of what is known.
        if !self.inner.account(chain, 1).is_touched(sequence.0) {
            self.settled.extend(carried.settled.map(|settled| (id.position, settled)));
        }
        Ok(())
    }

    /// What a record counts as that has a place here.
    fn count_of_known(&mut self, id: RecordId) -> Result<&mut u64> {
        if self.inner.courier().is_settled_for_good(id.position) {
            return Ok(&mut self.imported.settled);
        }
        let Position { chain, sequence } = id.position;
        match self.store.read(chain, sequence.0, &mut self.reader)? {
            Read::Record(record) if record.id == id => Ok(&mut self.imported.known),
            _ => Err(Error::at(
                ErrorKind::Damaged,
                &self.inner.context.dir,
                format!(
                    "the record {id} is damaged here, and other records stand behind it: import \
                     the carried ones into another folder"
                ),
            )),
        }
    }

    /// Names a record that is out of place.
    fn check(&self, naming: &Naming, id: RecordId) -> Result<()> {
        let Position { chain, sequence } = id.position;
        let is_named = naming.is_of(id) && self.inner.context.identity.record_id(id.position) == id;
        let is_next = self.at.is_none_or(|at| (at.chain, at.sequence) <= (chain, sequence));
        if is_named && is_next {
            return Ok(());
        }
        let reason = if is_named { "comes out of order" } else { "has a name of another spool" };
        Err(Error::at(
            ErrorKind::InvalidInput,
            &self.inner.context.dir,
            format!("the carried record {id} {reason}: it was not exported so"),
        ))
    }

    /// Notes the places from here to there that hold no record.
    fn skip(&mut self, chain: Chain, from: u64, to: u64) -> Result<()> {
        let account = self.inner.account(chain, 1);
        for (first, end) in account.unsettled_between(from, to) {
            let mut at = first;
            while at < end {
                let next = match self.store.read(chain, at, &mut self.reader)? {
                    Read::Record(_) => at + 1,
                    Read::LostUpTo(next) => self.note_void(chain, at, next.clamp(at + 1, end)),
                    Read::End => self.note_void(chain, at, end),
                };
                at = next;
            }
        }
        Ok(())
    }

    fn note_void(&mut self, chain: Chain, first: u64, end: u64) -> u64 {
        self.void.push((chain, first, end));
        end
    }

    fn store(&mut self, carried: Carried) -> Result<()> {
        let Position { chain, sequence } = carried.record.id.position;
        if self.incoming.as_ref().is_some_and(|incoming| !incoming.has_room_for(chain)) {
            self.close()?;
        }
        let incoming = match &mut self.incoming {
            Some(incoming) => incoming,
            none => none.insert(self.store.incoming(carried.record.id)?),
        };
        incoming.push(&self.inner.context, sequence.0, &carried.record.to_line()?)?;
        self.settled.extend(carried.settled.map(|settled| (carried.record.id.position, settled)));
        self.imported.stored += 1;
        Ok(())
    }

    /// Gives the segment its name, and writes down at once what is not simply to be sent. A
    /// crash in between is mended by the next import.
    fn close(&mut self) -> Result<()> {
        let mut courier = self.inner.courier();
        courier.require(self.inner)?;
        if let Some(incoming) = self.incoming.take() {
            self.store.take_in(incoming)?;
        }
        let settled = std::mem::take(&mut self.settled);
        courier.note_carried(self.inner, &settled, &std::mem::take(&mut self.void))
    }

    fn finish(mut self) -> Result<Imported> {
        self.close()?;
        Ok(self.imported)
    }
}
