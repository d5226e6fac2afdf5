//! What records say, read from the spools of a project.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backhaul_store::{Picker, Spool};
use serde_json::Value;

use super::failure::{Failure, Result};
use super::place::Place;
use super::source::Source;
use crate::entry::Entry;
use crate::kind::Kind;
use crate::project::ProjectId;

/// Inflated records of each kind that are kept for the next ones.
const CACHE_BYTES: usize = 8 << 20;

/// The spools of a project, each opened when it is needed.
#[derive(Debug)]
pub(super) struct Bodies {
    source: Arc<Source>,
    project: ProjectId,
    open: [Mutex<Option<Open>>; Kind::ALL.len()],
}

#[derive(Debug)]
struct Open {
    spool: Spool,
    picker: Picker,
}

impl Bodies {
    pub(super) fn new(source: Arc<Source>, project: ProjectId) -> Self {
        Self { source, project, open: Default::default() }
    }

    /// The spool of a kind. `Ok(None)`: nothing of it was ever logged.
    pub(super) fn spool(&self, kind: Kind) -> Result<Option<Spool>> {
        Ok(self.open(kind)?.as_ref().map(|open| open.spool.clone()))
    }

    /// The record of a kind that stands at a place.
    ///
    /// # Errors
    /// Where it is not there (any more): it was cleaned, or is damaged.
    pub(super) fn entry(&self, kind: Kind, place: Place) -> Result<Entry> {
        let position = place.position();
        let record = match self.open(kind)?.as_mut() {
            Some(open) => open.picker.get(position)?,
            None => None,
        };
        match record {
            Some(record) => Ok(Entry::of_record(&record)?),
            None => Err(Failure::not_found(format!(
                "the record {position} of the {kind} of {} is not there any more, or damaged",
                self.project
            ))),
        }
    }

    /// What that record says.
    pub(super) fn value(&self, kind: Kind, place: Place) -> Result<Value> {
        Ok(self.entry(kind, place)?.value())
    }

    fn open(&self, kind: Kind) -> Result<MutexGuard<'_, Option<Open>>> {
        // As many as there are kinds.
        let Some(place) = self.open.get(kind as usize) else { unreachable!() };
        let mut open = place.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() {
            let spool = self.source.spool(&self.project, kind)?;
            *open = spool.map(|spool| Open { picker: spool.picker(CACHE_BYTES), spool });
        }
        Ok(open)
    }
}
