//! Reading single records, wherever they stand: for what keeps the places of records and
//! wants them back in an order of its own.

use crate::error::Result;
use crate::id::Position;
use crate::layout::Store;
use crate::record::StoredRecord;
use crate::segment::{Picks, Read};
use crate::spool::Spool;

/// Reads records of a [`Spool`] in any order, and keeps what it inflated for the next one.
///
/// ```
/// # use backhaul_store::{Options, Record, Spool};
/// # let dir = std::env::temp_dir().join(format!("backhaul-picker-{}", std::process::id()));
/// # let spool = Spool::open(&dir, Options::default())?;
/// let ids = ["one", "two"].map(|name| spool.append(Record::new(name, b"{}".to_vec())));
/// let mut picker = spool.picker(1 << 20);
/// for (id, name) in ids.into_iter().zip(["one", "two"]).rev() {
///     let record = picker.get(id?.position)?;
///     assert_eq!(record.map(|record| record.facts.kind).as_deref(), Some(name));
/// }
/// # drop((picker, spool)); std::fs::remove_dir_all(&dir).unwrap();
/// # Ok::<(), backhaul_store::Error>(())
/// ```
#[derive(Debug)]
pub struct Picker {
    spool: Spool,
    picks: Picks,
}

impl Spool {
    /// A reader of single records that keeps at most `cache_bytes` of inflated records.
    pub fn picker(&self, cache_bytes: usize) -> Picker {
        Picker { spool: self.clone(), picks: Picks::new(cache_bytes) }
    }
}

impl Picker {
    /// The record at a place, whatever became of it. `Ok(None)`: it is not there (any
    /// more), or damaged.
    ///
    /// What other processes wrote is seen where [`Spool::ends`] has seen it.
    pub fn get(&mut self, position: Position) -> Result<Option<StoredRecord>> {
        self.spool.inner.check_process()?;
        if let Some(record) = self.read(position)? {
            return Ok(Some(record));
        }
        // Its file may just have got the name that says that it is delivered.
        self.spool.inner.catch_up()?;
        self.read(position)
    }

    fn read(&mut self, position: Position) -> Result<Option<StoredRecord>> {
        match &self.spool.inner.store {
            Store::Segments(store) => store.pick(position, &mut self.picks),
            Store::Folder(store) => Ok(match store.read(position.chain, position.sequence.0)? {
                Read::Record(record) => Some(*record),
                Read::LostUpTo(_) | Read::End => None,
            }),
        }
    }
}
