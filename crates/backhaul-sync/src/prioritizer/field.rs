//! What a rule of a configuration speaks of.

use std::borrow::Cow;
use std::cmp::Ordering;

use backhaul_store::Timestamp;
use serde_json::Value;

use super::entry::Entry;

/// The fields of an entry, as an error lists them.
pub(super) const FIELDS: &str = "run_id, metadata.KEY, age_hours, size_kb, success, attempts, \
                                 enqueued_at or critical";

/// A field of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    RunId,
    Metadata(String),
    AgeHours,
    SizeKb,
    Success,
    Attempts,
    EnqueuedAt,
    Critical,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Flag,
    Number,
    Text,
    Time,
}

/// A value of a field, or one to compare it with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar<'a> {
    Flag(bool),
    Number(f64),
    Text(Cow<'a, str>),
    Time(Timestamp),
}

impl Field {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "run_id" => Self::RunId,
            "age_hours" => Self::AgeHours,
            "size_kb" => Self::SizeKb,
            "success" => Self::Success,
            "attempts" => Self::Attempts,
            "enqueued_at" => Self::EnqueuedAt,
            "critical" => Self::Critical,
            _ => {
                let key = text.strip_prefix("metadata.").filter(|key| !key.is_empty())?;
                Self::Metadata(key.to_owned())
            }
        })
    }

    /// `None`: it depends on the record.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self {
            Self::RunId => Some(Kind::Text),
            Self::Metadata(_) => None,
            Self::AgeHours | Self::SizeKb | Self::Attempts => Some(Kind::Number),
            Self::Success | Self::Critical => Some(Kind::Flag),
            Self::EnqueuedAt => Some(Kind::Time),
        }
    }

    /// `None`: the entry has nothing there.
    pub(super) fn read<'a>(&self, entry: &'a Entry) -> Option<Scalar<'a>> {
        Some(match self {
            Self::RunId => Scalar::Text(Cow::Borrowed(&entry.run_id)),
            Self::Metadata(key) => return Scalar::of(entry.metadata.get(key)?),
            Self::AgeHours => Scalar::Number(entry.age_hours),
            Self::SizeKb => Scalar::Number(entry.size_kb),
            Self::Success => Scalar::Flag(entry.success),
            Self::Attempts => Scalar::Number(f64::from(entry.attempts)),
            Self::EnqueuedAt => Scalar::Time(entry.enqueued_at),
            Self::Critical => Scalar::Flag(entry.critical),
        })
    }
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Flag => "true or false",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Time => "a time such as \"2026-01-01T00:00:00Z\"",
        }
    }
}

impl<'a> Scalar<'a> {
    /// `None`: the value is none of them.
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(Self::Flag(*flag)),
            Value::Number(number) => number.as_f64().map(Self::Number),
            Value::String(text) => Some(Self::Text(Cow::Borrowed(text))),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Flag(_) => Kind::Flag,
            Self::Number(_) => Kind::Number,
            Self::Text(_) => Kind::Text,
            Self::Time(_) => Kind::Time,
        }
    }

    /// How two of one kind stand to each other.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Flag(left), Self::Flag(right)) => Some(left.cmp(right)),
            (Self::Number(left), Self::Number(right)) => left.partial_cmp(right),
            (Self::Text(left), Self::Text(right)) => Some(left.cmp(right)),
            (Self::Time(left), Self::Time(right)) => Some(left.cmp(right)),
            _ => None,
        }
    }
}
