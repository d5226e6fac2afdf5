//! The two layouts behind one face. Everything that a spool knows beyond bytes
//! and places is elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::context::Context;
use crate::error::Result;
use crate::folder::{FolderStore, Place};
use crate::id::{Chain, Position, Sequence};
use crate::ledger::State;
use crate::options::Layout;
use crate::record::{PreparedLine, Record, Stamp};
use crate::segment::{self, Part, Read, SegmentReader, SegmentStore};

#[derive(Debug)]
pub(crate) enum Store {
    Folder(FolderStore),
    Segments(Box<SegmentStore>),
}

/// A record that is ready to be committed.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) record: Record,
    pub(crate) stamp: Stamp,
    line: Option<PreparedLine>,
}

impl Prepared {
    /// Bytes of the line, where there is one.
    pub(crate) fn line_len(&self) -> usize {
        self.line.as_ref().map_or(0, PreparedLine::len)
    }
}

/// What one commit writes: the positions of its records, and their bytes where
/// they were made beforehand.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) positions: Vec<Position>,
    parts: Vec<Part>,
}

impl Store {
    pub(crate) fn open(layout: Layout, context: Arc<Context>, writer: u16) -> Result<Self> {
        Ok(match layout {
            Layout::Folder => Store::Folder(FolderStore::open(context, writer)?),
            Layout::Segments => Store::Segments(Box::new(SegmentStore::open(context, writer)?)),
        })
    }

    pub(crate) fn chains(&self) -> BTreeMap<Chain, (u64, u64)> {
        match self {
            Store::Folder(store) => store.chains(),
            Store::Segments(store) => store.chains(),
        }
    }

    pub(crate) fn next(&self, chain: Chain) -> u64 {
        match self {
            Store::Folder(store) => store.next(chain),
            Store::Segments(store) => store.next(chain),
        }
    }

    pub(crate) fn refresh(&self) -> Result<()> {
        match self {
            Store::Folder(store) => store.refresh(),
            Store::Segments(store) => store.refresh(),
        }
    }

    /// Whether this process holds the number of a writer that is dead.
    pub(crate) fn has_adopted(&self, writer: u16) -> bool {
        match self {
            Store::Folder(_) => false,
            Store::Segments(store) => store.has_adopted(writer),
        }
    }

    /// Looks once more for files of other processes before one counts as missing.
    pub(crate) fn look_again(&self) -> Result<()> {
        match self {
            Store::Folder(store) => store.look_again(),
            Store::Segments(store) => store.look_again(),
        }
    }

    pub(crate) fn skip_to(&self, chain: Chain, next: u64) -> Result<()> {
        match self {
            Store::Folder(store) => {
                store.skip_to(chain, next);
                Ok(())
            }
            Store::Segments(store) => store.skip_to(chain, next),
        }
    }

    /// Everything about a record that does not depend on its place.
    pub(crate) fn prepare(&self, mut record: Record, stamp: Stamp) -> Result<Prepared> {
        let line = match self {
            Store::Folder(_) => {
                FolderStore::check(&record)?;
                None
            }
            Store::Segments(_) => {
                let line = PreparedLine::new(&record, &stamp)?;
                record.body = Vec::new();
                Some(line)
            }
        };
        Ok(Prepared { record, stamp, line })
    }

    /// Gives the records their places, and makes bytes of them where that can be
    /// done before the commit. `next`: the next sequence of each chain.
    pub(crate) fn build(
        &self,
        writer: u16,
        items: &[Prepared],
        next: &mut BTreeMap<Chain, u64>,
    ) -> Built {
        let mut positions = Vec::with_capacity(items.len());
        let mut lines: BTreeMap<Chain, (u64, Vec<&PreparedLine>)> = BTreeMap::new();
        for item in items {
            let chain = Chain { lane: item.record.lane, writer };
            let sequence = next.entry(chain).or_insert_with(|| self.next(chain));
            positions.push(Position { chain, sequence: Sequence(*sequence) });
            if let Some(line) = &item.line {
                lines.entry(chain).or_insert_with(|| (*sequence, Vec::new())).1.push(line);
            }
            *sequence += 1;
        }
        let parts = match self {
            Store::Folder(_) => Vec::new(),
            Store::Segments(store) => lines
                .into_iter()
                .map(|(chain, (first, lines))| store.build(chain, first, &lines))
                .collect(),
        };
        Built { positions, parts }
    }

    pub(crate) fn write(&self, items: &[Prepared], built: &mut Built, flush: bool) -> Result<()> {
        match self {
            Store::Segments(store) => store.write(&mut built.parts, flush),
            Store::Folder(store) => {
                let items: Vec<(Position, &Record, &Stamp)> = items
                    .iter()
                    .zip(&built.positions)
                    .map(|(item, position)| (*position, &item.record, &item.stamp))
                    .collect();
                store.write(&items, flush)
            }
        }
    }

    pub(crate) fn flush(&self, unflushed: &[Position]) -> Result<()> {
        match self {
            Store::Folder(store) => store.flush(unflushed),
            Store::Segments(store) => store.flush(),
        }
    }

    pub(crate) fn read(
        &self,
        chain: Chain,
        from: u64,
        reader: &mut Option<SegmentReader>,
    ) -> Result<Read> {
        match self {
            Store::Folder(store) => store.read(chain, from),
            Store::Segments(store) => store.read(chain, from, reader),
        }
    }

    /// Makes the files show what became of a record.
    pub(crate) fn project(
        &self,
        position: Position,
        state: State,
        note: Option<&str>,
    ) -> Result<()> {
        let Store::Folder(store) = self else { return Ok(()) };
        match state {
            State::Delivered | State::Duplicate => store.place(position, Place::Synced, None),
            State::Rejected => store.place(position, Place::Failed, note),
            State::Requeued => store.place(position, Place::Pending, None),
            State::Damaged => store.quarantine(position),
            state if state.is_final() => store.remove(position).map(drop),
            _ => Ok(()),
        }
    }

    /// All segments, or all records' files.
    pub(crate) fn units(&self) -> Vec<Unit> {
        match self {
            Store::Segments(store) => store
                .segments()
                .into_iter()
                .map(|(chain, segment)| Unit {
                    chain,
                    first: segment.first(),
                    next: segment.next,
                    bytes: segment.len,
                    created: segment.created(),
                    open: segment.state == segment::State::Active,
                    foreign: segment.state == segment::State::Foreign,
                    name: segment.name,
                })
                .collect(),
            Store::Folder(store) => store
                .files()
                .into_iter()
                .map(|(position, entry)| Unit {
                    chain: position.chain,
                    first: position.sequence.0,
                    next: position.sequence.0 + 1,
                    bytes: entry.len,
                    created: crate::folder::name::parse(&entry.name).and_then(|parsed| parsed.wall),
                    open: false,
                    foreign: false,
                    name: entry.name.into(),
                })
                .collect(),
        }
    }

    /// Removes a unit's file. Its records are settled, and that is durable.
    pub(crate) fn remove(&self, unit: &Unit) -> Result<()> {
        match self {
            Store::Segments(store) => store.remove(unit.chain, unit.first, unit.next),
            Store::Folder(store) => {
                let sequence = Sequence(unit.first);
                store.remove(Position { chain: unit.chain, sequence }).map(drop)
            }
        }
    }
}

/// What can be removed at once: a segment, or a record's file.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) chain: Chain,
    pub(crate) first: u64,
    /// The sequence after its last record.
    pub(crate) next: u64,
    pub(crate) bytes: u64,
    pub(crate) created: Option<Timestamp>,
    /// Being appended to by this process.
    pub(crate) open: bool,
    /// Perhaps being appended to by another process.
    pub(crate) foreign: bool,
    pub(crate) name: String,
}
