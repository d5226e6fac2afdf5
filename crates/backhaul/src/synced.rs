//! What the sync of a spool came to, in text and in JSON.

use crate::config::ByteSize;
use backhaul_store::{Books, Spool};
use backhaul_sync::SyncReport;
use serde::{Deserialize, Serialize};

/// What the sync of a spool came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Synced {
    pub(crate) synced: u64,
    pub(crate) duplicates: u64,
    pub(crate) failed: u64,
    pub(crate) remaining: u64,
    /// Records that were found damaged, ran out of time or made room meanwhile.
    pub(crate) damaged: u64,
    pub(crate) expired: u64,
    pub(crate) evicted: u64,
    /// Why what became of the records could not be written down.
    pub(crate) trouble: Option<String>,
    pub(crate) bytes: u64,
    /// The name of what is in the way.
    pub(crate) blocked_by: Option<String>,
    /// The same in words.
    pub(crate) reason: Option<String>,
}

impl Synced {
    pub(crate) fn new(report: &SyncReport, before: &Books, spool: &Spool) -> Self {
        let (after, trouble) = match spool.status() {
            Ok(status) => (status.books, status.trouble),
            Err(error) => (*before, Some(error.to_string())),
        };
        let blocked = report.blocked_by.as_ref();
        Self {
            synced: report.synced,
            duplicates: report.duplicates,
            failed: report.failed,
            remaining: report.remaining,
            damaged: after.damaged.saturating_sub(before.damaged),
            expired: after.expired.saturating_sub(before.expired),
            evicted: after.evicted.saturating_sub(before.evicted),
            trouble,
            bytes: report.bytes,
            blocked_by: blocked.map(|blocked| blocked.kind.name().to_owned()),
            reason: blocked.map(|blocked| blocked.reason.clone()),
        }
    }

    /// This sync and the one before it as one.
    pub(crate) fn after(self, earlier: &Self) -> Self {
        Self {
            synced: earlier.synced + self.synced,
            duplicates: earlier.duplicates + self.duplicates,
            failed: earlier.failed + self.failed,
            damaged: earlier.damaged + self.damaged,
            expired: earlier.expired + self.expired,
            evicted: earlier.evicted + self.evicted,
            bytes: earlier.bytes + self.bytes,
            ..self
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        let left = self.remaining + self.failed;
        let lost = self.damaged + self.expired + self.evicted;
        left + lost == 0 && self.blocked_by.is_none() && self.trouble.is_none()
    }

    pub(crate) fn sentence(&self) -> String {
        let mut text = format!("{} delivered ({})", self.synced, ByteSize(self.bytes));
        if self.duplicates > 0 {
            text.push_str(&format!(", {} of them were there already", self.duplicates));
        }
        if self.failed > 0 {
            text.push_str(&format!(", {} refused (see `backhaul queue list`)", self.failed));
        }
        let lost = [
            (self.damaged, "found damaged"),
            (self.expired, "expired"),
            (self.evicted, "evicted to make room"),
        ];
        for (count, what) in lost.into_iter().filter(|(count, _)| *count > 0) {
            text.push_str(&format!(", {count} {what}"));
        }
        text.push_str(&format!(", {} remaining", self.remaining));
        if let Some(reason) = &self.reason {
            text.push_str(&format!(": {reason}"));
        }
        if let Some(trouble) = &self.trouble {
            text.push_str(&format!("; TROUBLE: {trouble}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settlement_that_was_not_written_down_is_no_success() {
        let mut synced = Synced::default();
        assert!(synced.is_complete());
        synced.trouble = Some("the disk is full".to_owned());
        assert!(!synced.is_complete());
        assert!(synced.sentence().ends_with("TROUBLE: the disk is full"));
    }
}
