//! What was taken over before.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::versions::Versions;
use super::{FILE_ID_LABEL, LABEL};
use crate::entry::{DIGEST_LABEL, Entry, OBJECT_LABEL};
use crate::error::TraceError;
use crate::kind::Kind;
use crate::offline::project_store::ProjectStore;

/// The records of the prototype that the spools hold.
#[derive(Debug, Default)]
pub(super) struct Stored {
    labels: BTreeSet<String>,
    pub(super) versions: Versions,
}

impl Stored {
    pub(super) fn read(store: &ProjectStore) -> Result<Self, TraceError> {
        let mut stored = Self::default();
        for kind in Kind::ALL {
            let Some(spool) = store.spool_if_there(kind)? else { continue };
            spool.each_from(&BTreeMap::new(), &mut |record| {
                if let Some(label) = record.facts.labels.get(LABEL) {
                    stored.labels.insert(label.clone());
                    stored.note_version(&record);
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(stored)
    }

    fn note_version(&mut self, record: &backhaul_store::StoredRecord) {
        let labels = &record.facts.labels;
        let Some(digest) = labels.get(DIGEST_LABEL) else { return };
        if let Some(file) = labels.get(FILE_ID_LABEL) {
            self.versions.add_file(file, digest);
        } else if let Some(at) = Entry::of_record(record).ok().and_then(|entry| entry.timestamp()) {
            let name = labels.get(OBJECT_LABEL).map_or(Versions::TABLES, String::as_str);
            self.versions.add(name, at, digest);
        }
    }

    pub(super) fn has(&self, label: &str) -> bool {
        self.labels.contains(label)
    }
}
