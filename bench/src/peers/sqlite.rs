//! SQLite in WAL mode, with one connection: a table, a row for each record.

use std::path::Path;
use std::sync::Mutex;

use rusqlite::Connection;

use super::Mode;
use super::store::{Outcome, Store};

pub struct Sqlite(Mutex<Queue>);

struct Queue {
    connection: Connection,
    /// The last row that was taken.
    taken: i64,
}

const INSERT: &str = "INSERT INTO queue (body) VALUES (?1)";
const TAKE: &str = "SELECT id, body FROM queue WHERE id > ?1 ORDER BY id LIMIT ?2";
const SETTLE: &str = "DELETE FROM queue WHERE id <= ?1";

pub fn open(dir: &Path, mode: Mode) -> Outcome<Sqlite> {
    let connection = Connection::open(dir.join("queue.db"))?;
    let synchronous = if mode == Mode::Relaxed { "NORMAL" } else { "FULL" };
    connection.execute_batch(&format!(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous};
         CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY, body BLOB NOT NULL);"
    ))?;
    Ok(Sqlite(Mutex::new(Queue { connection, taken: 0 })))
}

impl Store for Sqlite {
    fn append(&self, body: &[u8]) -> Outcome<()> {
        let queue = self.0.lock().expect("not poisoned");
        queue.connection.prepare_cached(INSERT)?.execute([body])?;
        Ok(())
    }

    fn append_all(&self, bodies: &[Vec<u8>]) -> Outcome<()> {
        let mut queue = self.0.lock().expect("not poisoned");
        let transaction = queue.connection.transaction()?;
        for body in bodies {
            transaction.prepare_cached(INSERT)?.execute([body])?;
        }
        Ok(transaction.commit()?)
    }

    fn take(&self, most: usize) -> Outcome<Vec<Vec<u8>>> {
        let mut queue = self.0.lock().expect("not poisoned");
        let mut bodies = Vec::with_capacity(most);
        let mut last = queue.taken;
        let mut select = queue.connection.prepare_cached(TAKE)?;
        let mut rows = select.query([last, most as i64])?;
        // What comes before a row that cannot be read is handed over.
        let failed = loop {
            match rows.next() {
                Ok(Some(row)) => {
                    last = row.get(0)?;
                    bodies.push(row.get(1)?);
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        drop(rows);
        drop(select);
        queue.taken = last;
        match failed {
            Some(error) if bodies.is_empty() => Err(error.into()),
            _ => Ok(bodies),
        }
    }

    fn settle(&self) -> Outcome<()> {
        let queue = self.0.lock().expect("not poisoned");
        queue.connection.prepare_cached(SETTLE)?.execute([queue.taken])?;
        Ok(())
    }
}
