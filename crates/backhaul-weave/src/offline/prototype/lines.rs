//! One file of the prototype, record by record.

use std::io;

use backhaul_store::{Error, Ticket};

use super::report::Imported;
use super::stored::Stored;
use super::translate::Translator;
use super::{LABEL, Source};
use crate::error::TraceError;
use crate::offline::disk_reader::DiskReader;
use crate::offline::project_store::ProjectStore;
use crate::salvage::{self, Salvaged};

/// Records that share a flush.
const AT_ONCE: usize = 256;
/// How the prototype's records begin.
const STARTS: [&[u8]; 2] = [b"{\"type\": \"", b"{\"entity\": \""];
/// Places in one line at which a record is looked for.
const TRIES: usize = 16;

/// Appends to the spools what a file holds and they do not.
pub(super) fn import(
    store: &ProjectStore,
    source: &Source,
    stored: &Stored,
    translator: &mut Translator<'_>,
) -> Result<Imported, TraceError> {
    let dangling = translator.unresolved();
    let mut import =
        Import { store, source, stored, translator, line: 0, tickets: Vec::new(), failed: None };
    let salvaged = import.read_all()?;
    import.wait_for_all()?;
    Ok(Imported {
        files: 1,
        records: salvaged.lines,
        damaged: salvaged.refused + salvaged.breaks,
        unresolved: translator.unresolved() - dangling,
    })
}

struct Import<'a, 't> {
    store: &'a ProjectStore,
    source: &'a Source,
    stored: &'a Stored,
    translator: &'a mut Translator<'t>,
    line: u64,
    tickets: Vec<Ticket>,
    /// Why a record could not be stored. Nothing behind it is tried.
    failed: Option<TraceError>,
}

impl Import<'_, '_> {
    fn read_all(&mut self) -> Result<Salvaged, TraceError> {
        let path = self.source.path();
        let is_gzip = self.source.name.contains(".jsonl.gz");
        let read = DiskReader::open(&*self.store.disk, &path).and_then(|file| {
            let take = |line: &[u8]| self.take(line);
            if is_gzip { salvage::lines(file, take) } else { salvage::plain_lines(file, take) }
        });
        match (self.failed.take(), read) {
            (Some(error), _) => Err(error),
            (None, Ok(salvaged)) => Ok(salvaged),
            (None, Err(error)) => self.unreadable(error),
        }
    }

    /// What the medium does not give is damage; other trouble may pass.
    fn unreadable(&self, error: io::Error) -> Result<Salvaged, TraceError> {
        let error = Error::io("read a file of the prototype", &self.source.path(), error);
        if !error.is_of_the_medium() {
            return Err(error.into());
        }
        tracing::error!(%error, "a file of the prototype was read up to here");
        Ok(Salvaged { lines: self.line, refused: 0, breaks: 1 })
    }

    /// Whether a line is a record. What stands behind a tear in it is looked for too.
    fn take(&mut self, line: &[u8]) -> bool {
        self.line += 1;
        if self.failed.is_some() {
            return true;
        }
        let label = format!("{}:{}", self.source.name, self.line);
        if self.stored.has(&label) {
            self.translator.look_at(line);
            return true;
        }
        let later = (1..line.len()).filter(|at| {
            let rest = line.get(*at..).unwrap_or_default();
            STARTS.iter().any(|start| rest.starts_with(start))
        });
        std::iter::once(0).chain(later.take(TRIES)).any(|at| {
            let taken = self.take_record(line.get(at..).unwrap_or_default(), &label);
            taken.unwrap_or_else(|error| {
                self.failed = Some(error);
                true
            })
        })
    }

    fn take_record(&mut self, line: &[u8], label: &str) -> Result<bool, TraceError> {
        let Some(entry) = self.translator.entry(line)? else { return Ok(false) };
        let entry = entry.label(LABEL, label);
        let spool = self.store.spool(entry.entry_type().kind())?;
        let now = self.store.clock.now().wall;
        self.tickets.push(spool.submit(entry.to_record(now))?);
        if self.tickets.len() >= AT_ONCE {
            self.wait_for_all()?;
        }
        Ok(true)
    }

    fn wait_for_all(&mut self) -> Result<(), TraceError> {
        for ticket in std::mem::take(&mut self.tickets) {
            ticket.wait()?;
        }
        Ok(())
    }
}
