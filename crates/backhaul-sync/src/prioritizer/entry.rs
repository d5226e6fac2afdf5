//! A record as rules see it.

use backhaul_store::{Lane, StoredRecord, Timestamp};
use serde_json::{Map, Value};

/// Bytes of metadata that are kept of a waiting record: with 256 of them in each of five
/// windows it is about a megabyte.
const MOST_METADATA_BYTES: usize = 1000;

/// A waiting record, or one that is to be stored, as rules see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The run's id; empty where there is none.
    pub run_id: String,
    /// The record's metadata, as far as it is small: texts, numbers, true and false, the
    /// first 1 KB of them.
    pub metadata: Map<String, Value>,
    /// Hours since it was stored: power-on time where the boots tell it, never negative; 0
    /// for one that is to be stored.
    pub age_hours: f64,
    /// Its size as it is stored, not compressed, in units of 1,000 bytes.
    pub size_kb: f64,
    /// Whether the run succeeded.
    pub success: bool,
    /// Attempts made to deliver it.
    pub attempts: u32,
    /// When it was stored, by the wall clock of then.
    pub enqueued_at: Timestamp,
    /// Whether it says of itself that it is critical.
    pub critical: bool,
}

impl Default for Entry {
    /// A run that succeeded, stored at the beginning of 1970, of which nothing else is known.
    fn default() -> Self {
        Self {
            run_id: String::new(),
            metadata: Map::new(),
            age_hours: 0.0,
            size_kb: 0.0,
            success: true,
            attempts: 0,
            enqueued_at: Timestamp::from_micros(0),
            critical: false,
        }
    }
}

impl Entry {
    /// What can be said of a record without knowing what it means.
    pub(super) fn of(record: &StoredRecord) -> Self {
        let labels = &record.facts.labels;
        let metadata: Map<String, Value> = labels
            .iter()
            .map(|(label, value)| (label.clone(), Value::String(value.clone())))
            .collect();
        Self {
            run_id: labels.get("run_id").cloned().unwrap_or_default(),
            metadata: Self::small_metadata(&metadata),
            size_kb: Self::kilobytes(record.body.len()),
            enqueued_at: record.stamp.wall,
            critical: record.id.position.chain.lane == Lane::Critical,
            ..Self::default()
        }
    }

    /// Of `metadata`, what rules see: texts, numbers, true and false, as far as 1,000 bytes
    /// of keys and values reach; what does not fit is left out.
    pub fn small_metadata(metadata: &Map<String, Value>) -> Map<String, Value> {
        let mut left = MOST_METADATA_BYTES;
        let fits = |(key, value): &(&String, &Value)| {
            let bytes = match value {
                Value::Bool(_) => 1,
                Value::Number(number) => number.as_str().len(),
                Value::String(text) => text.len(),
                Value::Null | Value::Array(_) | Value::Object(_) => return false,
            };
            let rest = left.checked_sub(key.len() + bytes);
            left = rest.unwrap_or(left);
            rest.is_some()
        };
        let small = metadata.iter().filter(fits);
        small.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// A number of bytes as [`size_kb`](Entry::size_kb) has it.
    pub fn kilobytes(bytes: usize) -> f64 {
        bytes as f64 / 1000.0
    }
}
