//! Records as people name them.

use std::fmt;
use std::str::FromStr;

use anyhow::bail;
use backhaul_store::{Position, QueueEntry, RecordId};

/// A record's name as it was asked for: `normal/42`, or the whole id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordName {
    /// The whole name, where that was given.
    id: Option<RecordId>,
    pub(crate) position: Position,
}

impl RecordName {
    /// Whether the record that was found in the place is the one that was named.
    pub(crate) fn is(&self, found: &QueueEntry) -> bool {
        self.id.is_none_or(|id| id == found.id)
    }
}

impl FromStr for RecordName {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text.rsplit('/').next().is_some_and(|number| number.starts_with(['+', '0'])) {
            bail!("bad record id {text:?}: expected LANE/NUMBER such as normal/42");
        }
        if text.matches('/').count() > 1 {
            let id: RecordId = text.parse()?;
            return Ok(Self { id: Some(id), position: id.position });
        }
        Ok(Self { id: None, position: text.parse()? })
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => id.fmt(f),
            None => self.position.fmt(f),
        }
    }
}
