//! redb: a table from a number to a record.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redb::{Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::Mode;
use super::store::{Outcome, Store};

const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");
/// How often a relaxed one is flushed: redb itself does that only when it is asked to.
const FLUSHED_EACH: Duration = Duration::from_secs(1);

pub struct Redb {
    database: Database,
    mode: Mode,
    next: Mutex<u64>,
    flushed: Mutex<Instant>,
    /// The last number that was taken.
    taken: AtomicU64,
}

pub fn open(dir: &Path, mode: Mode) -> Outcome<Redb> {
    let database = Database::create(dir.join("queue.redb"))?;
    let making = database.begin_write()?;
    let next = making.open_table(RECORDS)?.last()?.map_or(1, |(number, _)| number.value() + 1);
    making.commit()?;
    let (next, flushed) = (Mutex::new(next), Mutex::new(Instant::now()));
    Ok(Redb { database, mode, next, flushed, taken: AtomicU64::new(0) })
}

impl Redb {
    fn durability(&self) -> Durability {
        let mut flushed = self.flushed.lock().expect("not poisoned");
        if self.mode == Mode::Relaxed && flushed.elapsed() < FLUSHED_EACH {
            return Durability::None;
        }
        *flushed = Instant::now();
        Durability::Immediate
    }

    fn store<'a>(&self, bodies: impl IntoIterator<Item = &'a [u8]>) -> Outcome<()> {
        let mut writing = self.database.begin_write()?;
        writing.set_durability(self.durability())?;
        {
            let mut next = self.next.lock().expect("not poisoned");
            let mut records = writing.open_table(RECORDS)?;
            for body in bodies {
                records.insert(*next, body)?;
                *next += 1;
            }
        }
        Ok(writing.commit()?)
    }
}

impl Store for Redb {
    fn append(&self, body: &[u8]) -> Outcome<()> {
        self.store([body])
    }

    fn append_all(&self, bodies: &[Vec<u8>]) -> Outcome<()> {
        self.store(bodies.iter().map(Vec::as_slice))
    }

    fn take(&self, most: usize) -> Outcome<Vec<Vec<u8>>> {
        let records = self.database.begin_read()?.open_table(RECORDS)?;
        let mut bodies = Vec::with_capacity(most);
        for record in records.range(self.taken.load(Ordering::Relaxed) + 1..)?.take(most) {
            match record {
                Ok((number, body)) => {
                    self.taken.store(number.value(), Ordering::Relaxed);
                    bodies.push(body.value().to_vec());
                }
                Err(error) if bodies.is_empty() => return Err(error.into()),
                Err(_) => break,
            }
        }
        Ok(bodies)
    }

    fn settle(&self) -> Outcome<()> {
        let mut writing = self.database.begin_write()?;
        writing.set_durability(self.durability())?;
        let taken = self.taken.load(Ordering::Relaxed);
        writing.open_table(RECORDS)?.retain_in(..=taken, |_, _| false)?;
        Ok(writing.commit()?)
    }
}
