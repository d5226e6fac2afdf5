//! fjall: a keyspace from a number to a record.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::Mode;
use super::store::{Outcome, Store};

pub struct Fjall {
    database: Database,
    records: Keyspace,
    persist: Option<PersistMode>,
    next: AtomicU64,
    /// The numbers that were taken and not removed, and the last one taken.
    taken: Mutex<(Vec<u64>, u64)>,
}

pub fn open(dir: &Path, mode: Mode) -> Outcome<Fjall> {
    let database = Database::builder(dir).open()?;
    let records = database.keyspace("records", KeyspaceCreateOptions::default)?;
    let last = records.last_key_value().map(|last| last.key()).transpose()?;
    let next = AtomicU64::new(last.map_or(1, |key| number(&key) + 1));
    let persist = (mode != Mode::Relaxed).then_some(PersistMode::SyncData);
    Ok(Fjall { database, records, persist, next, taken: Mutex::default() })
}

fn number(key: &[u8]) -> u64 {
    key.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

impl Fjall {
    fn next(&self) -> [u8; 8] {
        self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes()
    }
}

impl Store for Fjall {
    fn append(&self, body: &[u8]) -> Outcome<()> {
        self.records.insert(self.next(), body)?;
        if let Some(mode) = self.persist {
            self.database.persist(mode)?;
        }
        Ok(())
    }

    fn append_all(&self, bodies: &[Vec<u8>]) -> Outcome<()> {
        let mut batch = self.database.batch().durability(self.persist);
        for body in bodies {
            batch.insert(&self.records, self.next(), body.as_slice());
        }
        Ok(batch.commit()?)
    }

    fn take(&self, most: usize) -> Outcome<Vec<Vec<u8>>> {
        let mut taken = self.taken.lock().expect("not poisoned");
        let mut bodies = Vec::with_capacity(most);
        for record in self.records.range((taken.1 + 1).to_be_bytes()..).take(most) {
            match record.into_inner() {
                Ok((key, body)) => {
                    taken.1 = number(&key);
                    let last = taken.1;
                    taken.0.push(last);
                    bodies.push(body.to_vec());
                }
                Err(error) if bodies.is_empty() => return Err(error.into()),
                Err(_) => break,
            }
        }
        Ok(bodies)
    }

    fn settle(&self) -> Outcome<()> {
        let mut batch = self.database.batch().durability(self.persist);
        for number in self.taken.lock().expect("not poisoned").0.drain(..) {
            batch.remove(&self.records, number.to_be_bytes());
        }
        Ok(batch.commit()?)
    }
}
