//! Where everything stands: an index of one project, derived from its spools alone.
//!
//! It is a redb database that any number of processes share: each reads as of the last
//! commit, without waiting for anybody, and one at a time writes, for as long as a batch
//! takes. Whoever reads first brings the index up to what was logged before, from where
//! the last one stopped. It holds what calls, objects, tables and feedback are found by, and
//! where their records are; what they say is read from the spools. A damaged or deleted
//! index is made anew.

mod batch;
mod call_facts;
mod call_row;
mod catch_up;
mod event;
mod forget;
mod schema;
mod write;

use std::path::Path;

use backhaul_store::Disk;
use redb::{
    ConcurrencyMode, Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
    WriteTransaction,
};

pub(super) use self::batch::{added_rows, row_digests};
pub(super) use self::call_row::CallRow;
pub(super) use self::catch_up::Feed;
pub(super) use self::event::{Event, What};
pub(super) use self::schema::{
    CALLS, DELETED, FEEDBACK, FEEDBACK_OF, IDS, KEYS, KeyKind, OBJECTS, OP_NAMES, PURGES, ROWS,
    STARTS, StoredCall, TABLES, hash,
};
use super::failure::{Failure, Result, guarded};

/// Pages of the database that are kept in memory.
const CACHE_BYTES: usize = 16 << 20;
/// Up to this size the checksum of each page is compared when the file is opened: some
/// hundredths of a second.
const MAX_CHECKED_BYTES: u64 = 16 << 20;

/// The index of a project.
#[derive(Debug)]
pub(super) struct Index {
    database: Database,
    /// Held by the thread that brings it up to date: the places that this process has
    /// compared with the spools.
    checked: std::sync::Mutex<bool>,
}

impl Index {
    /// Opens the index at `path`, making it where there is none.
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Self> {
        guarded(|| {
            if let Some(folder) = path.parent() {
                disk.create_dir_all(folder).map_err(redb::Error::Io)?;
            }
            let len = std::fs::metadata(path).map_or(0, |about| about.len());
            let mut builder = Database::builder();
            builder
                .set_cache_size(CACHE_BYTES)
                .set_concurrency_mode(ConcurrencyMode::MultiWriter)
                .set_check_integrity_on_open((1..=MAX_CHECKED_BYTES).contains(&len));
            Self::prepare(builder.create(path)?)
        })
    }

    /// An index for this process alone, while the disk takes none.
    pub(super) fn in_memory() -> Result<Self> {
        let memory = redb::backends::InMemoryBackend::new();
        Self::prepare(Database::builder().create_with_backend(memory)?)
    }

    fn prepare(database: Database) -> Result<Self> {
        let index = Self { database, checked: std::sync::Mutex::new(false) };
        let format = |view: &ReadTransaction| -> Result<Option<String>> {
            let about = match view.open_table(schema::ABOUT) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                about => about?,
            };
            Ok(about.get(schema::FORMAT)?.map(|format| format.value().to_owned()))
        };
        match format(&index.view()?)?.as_deref() {
            Some(schema::CURRENT_FORMAT) => {}
            Some(other) => {
                return Err(Failure::Damaged(format!("it has format {other}")));
            }
            None => {
                let transaction = index.database.begin_write()?;
                make_tables(&transaction)?;
                transaction.commit()?;
            }
        }
        Ok(index)
    }

    /// All that is in the index at this moment.
    pub(super) fn view(&self) -> Result<ReadTransaction> {
        Ok(self.database.begin_read()?)
    }
}

fn make_tables(transaction: &WriteTransaction) -> Result<()> {
    let mut about = transaction.open_table(schema::ABOUT)?;
    about.insert(schema::FORMAT, schema::CURRENT_FORMAT)?;
    transaction.open_table(schema::PLACES)?;
    transaction.open_table(IDS)?;
    transaction.open_table(CALLS)?;
    transaction.open_table(STARTS)?;
    transaction.open_table(KEYS)?;
    transaction.open_table(DELETED)?;
    transaction.open_table(OP_NAMES)?;
    transaction.open_table(OBJECTS)?;
    transaction.open_table(TABLES)?;
    transaction.open_table(ROWS)?;
    transaction.open_table(FEEDBACK)?;
    transaction.open_table(FEEDBACK_OF)?;
    transaction.open_table(PURGES)?;
    Ok(())
}

const NEXT_NUMBER: &str = "next_number";

/// The number that the next call gets.
fn next_number(transaction: &WriteTransaction) -> Result<u32> {
    let about = transaction.open_table(schema::ABOUT)?;
    let next = about.get(NEXT_NUMBER)?;
    match next.map(|next| next.value().parse()) {
        None => Ok(1),
        Some(Ok(next)) => Ok(next),
        Some(Err(_)) => Err(Failure::Damaged("the next number is none".to_owned())),
    }
}

fn set_next_number(transaction: &WriteTransaction, next: u32) -> Result<()> {
    let mut about = transaction.open_table(schema::ABOUT)?;
    about.insert(NEXT_NUMBER, next.to_string().as_str())?;
    Ok(())
}
