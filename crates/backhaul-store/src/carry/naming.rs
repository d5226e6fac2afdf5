//! How the records of a spool are named.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{Position, RecordId};
use crate::identity::EpochEntry;

/// What the names of carried records begin with: the device, its epochs, and up to where the
/// chains are used. It is JSON where it is kept.
///
/// ```
/// # use std::ops::ControlFlow;
/// # use backhaul_store::{Naming, Options, Record, Spool};
/// # let dir = tempfile::tempdir()?;
/// # let spool = Spool::open(dir.path(), Options::default())?;
/// let id = spool.append(Record::new("text", b"{}".to_vec()))?;
/// let naming = spool.each_carried(&mut |_| ControlFlow::Continue(()))?;
/// assert_eq!(naming.device(), id.device.to_string());
/// let text = serde_json::to_string(&naming)?;
/// assert_eq!(serde_json::from_str::<Naming>(&text)?, naming);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Naming {
    pub(crate) device: String,
    pub(crate) epochs: Vec<EpochEntry>,
    /// The sequence after the last record of each chain.
    pub(crate) ends: BTreeMap<String, u64>,
}

impl Naming {
    /// The device in the names: 32 hex digits.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Whether the record in this place has this name.
    pub(crate) fn is_of(&self, id: RecordId) -> bool {
        let epoch = EpochEntry::at(&self.epochs, id.position);
        self.device == id.device.to_string() && epoch.is_some_and(|entry| entry.epoch() == id.epoch)
    }
}

/// Gathers the naming of records as they come, chain by chain, in order.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    epochs: BTreeSet<String>,
    ends: BTreeMap<String, u64>,
}

impl Gathered {
    pub(super) fn note(&mut self, id: RecordId) {
        let Position { chain, sequence } = id.position;
        self.epochs.insert(id.epoch.to_string());
        self.ends.insert(chain.to_string(), sequence.0 + 1);
    }

    /// The naming, of a spool whose epochs these are. Those that named none of the records
    /// are left out.
    pub(super) fn naming(self, device: String, epochs: Vec<EpochEntry>) -> Naming {
        let is_used = |entry: &EpochEntry| self.epochs.contains(&entry.epoch);
        Naming { device, epochs: epochs.into_iter().filter(is_used).collect(), ends: self.ends }
    }
}
