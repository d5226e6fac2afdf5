//! okaywal, a write-ahead log: it groups waiting commits itself, hands over all that it holds
//! when it is opened, and forgets it when it is told that all is kept elsewhere.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use okaywal::{
    Configuration, Entry, EntryId, LogManager, ReadChunkResult, SegmentReader, WriteAheadLog,
};

use super::store::{Outcome, Store};

pub struct Okaywal {
    log: WriteAheadLog,
    recovered: Recovered,
}

/// What it held when it was opened.
#[derive(Clone, Debug, Default)]
struct Recovered(Arc<Mutex<VecDeque<Vec<u8>>>>);

/// Of a file, prepared ahead.
const FILE_LEN: u32 = 64 << 20;

pub fn open(dir: &Path) -> Outcome<Okaywal> {
    let recovered = Recovered::default();
    let log = Configuration::default_for(dir)
        .preallocate_bytes(FILE_LEN)
        // Never by itself: what waits is kept nowhere else.
        .checkpoint_after_bytes(u64::MAX)
        .open(recovered.clone())?;
    Ok(Okaywal { log, recovered })
}

impl LogManager for Recovered {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        while let ReadChunkResult::Chunk(mut chunk) = entry.read_chunk()? {
            let body = chunk.read_all()?;
            // One that is damaged or cut short is left out, and what follows it is read.
            if matches!(chunk.check_crc(), Ok(true)) {
                self.0.lock().expect("not poisoned").push_back(body);
            }
        }
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _last: EntryId,
        _entries: &mut SegmentReader,
        _log: &WriteAheadLog,
    ) -> io::Result<()> {
        Ok(())
    }
}

impl Store for Okaywal {
    fn append(&self, body: &[u8]) -> Outcome<()> {
        let mut entry = self.log.begin_entry()?;
        entry.write_chunk(body)?;
        entry.commit()?;
        Ok(())
    }

    fn take(&self, most: usize) -> Outcome<Vec<Vec<u8>>> {
        let mut recovered = self.recovered.0.lock().expect("not poisoned");
        let most = most.min(recovered.len());
        Ok(recovered.drain(..most).collect())
    }

    fn settle(&self) -> Outcome<()> {
        // A file is forgotten as a whole.
        if self.recovered.0.lock().expect("not poisoned").is_empty() {
            self.log.checkpoint_active()?;
        }
        Ok(())
    }
}
