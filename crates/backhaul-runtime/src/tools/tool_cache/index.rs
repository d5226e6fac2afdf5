//! What a cache holds, in the order in which it was stored.

use std::collections::{BTreeMap, HashMap};

use super::file_name::FileName;

/// The files of a cache, and what they come to.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_sequence: BTreeMap<u64, (String, u64)>,
    by_key: HashMap<String, u64>,
    bytes: u64,
    next: u64,
}

impl Index {
    pub(super) fn entries(&self) -> usize {
        self.by_sequence.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A name for what is stored next under a key.
    pub(super) fn next_name(&mut self, key: String) -> FileName {
        let sequence = self.next;
        self.next = sequence.saturating_add(1);
        FileName { sequence, key }
    }

    /// The file of a key.
    pub(super) fn find(&self, key: &str) -> Option<FileName> {
        let sequence = *self.by_key.get(key)?;
        Some(FileName { sequence, key: key.to_owned() })
    }

    /// Takes in a file. Returns the one that is not needed any more: the earlier of the same
    /// key.
    pub(super) fn insert(&mut self, name: FileName, bytes: u64) -> Option<FileName> {
        self.next = self.next.max(name.sequence.saturating_add(1));
        let other = self.find(&name.key);
        if other.as_ref().is_some_and(|other| other.sequence > name.sequence) {
            return Some(name);
        }
        if let Some(other) = &other {
            self.remove(other);
        }
        let FileName { sequence, key } = name;
        self.by_key.insert(key.clone(), sequence);
        self.by_sequence.insert(sequence, (key, bytes));
        self.bytes += bytes;
        other
    }

    pub(super) fn remove(&mut self, name: &FileName) {
        if let Some((key, bytes)) = self.by_sequence.remove(&name.sequence) {
            self.bytes -= bytes;
            self.by_key.remove(&key);
        }
    }

    /// Takes out the file that was stored first.
    pub(super) fn remove_oldest(&mut self) -> Option<FileName> {
        let (sequence, (key, bytes)) = self.by_sequence.pop_first()?;
        self.bytes -= bytes;
        self.by_key.remove(&key);
        Some(FileName { sequence, key })
    }
}
