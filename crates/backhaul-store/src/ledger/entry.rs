//! One line of the ledger.

use serde::{Deserialize, Serialize};

use super::account::{Accounts, MAX_NUMBER, is_plausible_time};
use super::boots::Boot;
use crate::checked_line::{open_line, seal_line};

/// What can become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was acknowledged. Noted from time to time, up to which sequence, so that
    /// what vanishes from the files is noticed. Nothing is settled.
    Accepted,
    /// An attempt began. Nothing is settled.
    Started,
    /// The destination has it.
    Delivered,
    /// The destination had it already: delivered, by an earlier attempt.
    Duplicate,
    /// The destination asked for it later. Nothing is settled.
    Later,
    /// The destination will never take it. It is kept, with the reason.
    Rejected,
    /// An effect may or may not have happened; a person has to decide. Nothing is settled.
    Unknown,
    /// Kept back by an operator. Nothing is settled.
    Held,
    /// Too old to be worth sending.
    Expired,
    /// A newer record with the same collapse key took its place.
    Superseded,
    /// Removed to make room.
    Evicted,
    /// Removed by an operator.
    Dropped,
    /// Damaged on disk.
    Damaged,
    /// There is no such record: its commit never ended, so it was not acknowledged.
    Void,
    /// Waiting again, after it was rejected, dropped or held.
    Requeued,
}

impl State {
    /// Whether the record waits no more.
    pub fn is_final(self) -> bool {
        !matches!(
            self,
            State::Accepted
                | State::Started
                | State::Later
                | State::Unknown
                | State::Held
                | State::Requeued
        )
    }

    /// The state's name, lower case.
    pub fn name(self) -> &'static str {
        match self {
            State::Accepted => "accepted",
            State::Started => "started",
            State::Delivered => "delivered",
            State::Duplicate => "duplicate",
            State::Later => "later",
            State::Rejected => "rejected",
            State::Unknown => "unknown",
            State::Held => "held",
            State::Expired => "expired",
            State::Superseded => "superseded",
            State::Evicted => "evicted",
            State::Dropped => "dropped",
            State::Damaged => "damaged",
            State::Void => "void",
            State::Requeued => "requeued",
        }
    }
}

/// What is to be written down of a record's fate.
///
/// ```
/// use backhaul_store::{Settled, State};
/// let settled = Settled::new(State::Rejected).reason("the server answered 422: no run_id").status(422);
/// assert!(settled.state.is_final());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// What became of it.
    pub state: State,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The HTTP status that told so, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// With [`State::Later`]: not before this wall-clock time, in microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before_us: Option<i64>,
    /// With [`State::Later`]: whether the attempt counts against the record's retries.
    #[serde(default, skip_serializing_if = "is_false")]
    pub spends_retry: bool,
    /// With [`State::Later`]: whether what the attempt was to do may have happened.
    #[serde(default, skip_serializing_if = "is_false", rename = "unclear")]
    pub is_unclear: bool,
    /// With [`State::Later`]: whether no data cap ever holds the record.
    #[serde(default, skip_serializing_if = "is_false", rename = "oversized")]
    pub is_oversized: bool,
    /// With [`State::Later`]: whether the destination has a summary of it.
    #[serde(default, skip_serializing_if = "is_false", rename = "summarized")]
    pub is_summarized: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(super) fn is_false(value: &bool) -> bool {
    !value
}

impl Settled {
    /// A state without detail.
    pub fn new(state: State) -> Self {
        Self {
            state,
            reason: None,
            status: None,
            not_before_us: None,
            spends_retry: false,
            is_unclear: false,
            is_oversized: false,
            is_summarized: false,
        }
    }

    /// Adds the reason.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Adds the HTTP status.
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Adds the earliest next attempt.
    pub fn not_before(mut self, time: crate::clock::Timestamp) -> Self {
        self.not_before_us = Some(time.as_micros());
        self
    }

    /// Says that no data cap ever holds the record, and whether the destination has a
    /// summary of it.
    pub fn oversized(mut self, is_summarized: bool) -> Self {
        self.is_oversized = true;
        self.is_summarized = is_summarized;
        self
    }

    /// Says that what the attempt was to do may have happened.
    pub fn unclear(mut self) -> Self {
        self.is_unclear = true;
        self
    }

    /// Says that the attempt counts against the record's retries.
    pub fn spends_retry(mut self) -> Self {
        self.spends_retry = true;
        self
    }
}

/// A line: what became of a range of a chain, at a destination, when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) at: String,
    pub(crate) destination: String,
    pub(crate) chain: String,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) settled: Settled,
}

/// What a line holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Line {
    Entry(Entry),
    Snapshot(Accounts),
    Boot(Boot),
}

impl Line {
    /// The line with its checksum and newline.
    pub(crate) fn encode(&self) -> Vec<u8> {
        seal_line(serde_json::to_vec(self).unwrap_or_default())
    }

    fn is_plausible(&self) -> bool {
        match self {
            Line::Entry(entry) => {
                entry.first <= entry.last
                    && entry.last <= MAX_NUMBER
                    && entry.settled.not_before_us.is_none_or(is_plausible_time)
            }
            Line::Snapshot(accounts) => accounts.is_plausible(),
            Line::Boot(boot) => boot.is_plausible(),
        }
    }

    /// Reads a line.
    pub(crate) fn parse(line: &[u8]) -> Parsed {
        let Some(content) = open_line(line) else { return Parsed::Damaged };
        match serde_json::from_str::<Line>(&content) {
            Ok(line) if line.is_plausible() => Parsed::Line(line),
            Ok(_) => Parsed::Damaged,
            Err(_) => Parsed::Unknown,
        }
    }
}

/// What stands in a line.
#[derive(Debug)]
pub(crate) enum Parsed {
    Line(Line),
    /// Torn or damaged.
    Damaged,
    /// Whole, and not of this format.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_and_any_flipped_bit_is_noticed() {
        let line = Line::Entry(Entry {
            at: "1970-01-01T00:00:00Z".into(),
            destination: "hub".into(),
            chain: "normal".into(),
            first: 1,
            last: 9,
            settled: Settled::new(State::Rejected).reason("why \u{e9}").status(422),
        });
        let bytes = line.encode();
        serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
        let encoded = |line: &[u8]| match Line::parse(line) {
            Parsed::Line(line) => Some(line.encode()),
            Parsed::Damaged | Parsed::Unknown => None,
        };
        assert_eq!(encoded(&bytes), Some(bytes.clone()));
        for offset in 0..bytes.len() - 1 {
            let mut bent = bytes.clone();
            bent[offset] ^= 0x04;
            assert!(encoded(&bent).is_none_or(|same| same == bytes), "offset {offset}");
        }
    }
}
