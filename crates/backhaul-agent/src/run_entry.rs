//! A run record as the rules of a prioritizer see it, when it is stored and while it waits.

use backhaul_store::{StoredRecord, Timestamp};
use backhaul_sync::Entry;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::json;
use crate::run_record::{RunRecord, is_critical};

/// A record of `bytes` that is to be stored at `now`.
pub(crate) fn entry(record: &RunRecord, bytes: usize, now: Timestamp) -> Entry {
    Entry {
        run_id: record.run_id.clone(),
        metadata: Entry::small_metadata(&record.metadata),
        size_kb: Entry::kilobytes(bytes),
        success: record.success,
        enqueued_at: now,
        critical: record.is_critical(),
        ..Entry::default()
    }
}

/// Completes the entry of a waiting record with what its JSON says, whoever wrote that:
/// records of other programs, and those that were stored without a prioritizer, are scored
/// like all others, and nothing stands twice on disk. For couriers of spools of run records:
/// [`SyncManager::describe_entries`](backhaul_sync::SyncManager::describe_entries).
pub fn describe_run(record: &StoredRecord, entry: &mut Entry) {
    let Some(outline) = Outline::of(&record.body) else { return };
    if let Some(run_id) = outline.run_id {
        entry.run_id = run_id;
    }
    entry.success = outline.success.unwrap_or(true);
    entry.critical = is_critical(&outline.metadata);
    entry.metadata = Entry::small_metadata(&outline.metadata);
}

/// What rules need of a run record.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Outline {
    run_id: Option<String>,
    success: Option<bool>,
    metadata: Map<String, Value>,
}

impl Outline {
    /// Contexts and events are stepped over unread, so that a record of 32 MB costs no memory.
    /// What only Python writes, `NaN` say, needs our own reader, which builds all of it.
    fn of(body: &[u8]) -> Option<Self> {
        if let Ok(outline) = serde_json::from_slice(body) {
            return Some(outline);
        }
        let Ok(Value::Object(mut fields)) = json::from_slice(body) else { return None };
        let metadata = match fields.remove("metadata") {
            Some(Value::Object(metadata)) => metadata,
            _ => Map::new(),
        };
        let run_id = fields.get("run_id").and_then(Value::as_str).map(str::to_owned);
        Some(Self { run_id, success: fields.get("success").and_then(Value::as_bool), metadata })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(body: &str) -> (Option<String>, Option<bool>, Value) {
        let Outline { run_id, success, metadata } = Outline::of(body.as_bytes()).unwrap();
        (run_id, success, Value::Object(metadata))
    }

    #[test]
    fn an_outline_is_read_from_whatever_python_writes() {
        let metadata = serde_json::json!({"site": "north", "n": 2});
        let expected = (Some("r".to_owned()), Some(false), metadata);
        let plain = r#"{"run_id": "r", "success": false, "final_context": {"x": [1, {}]},
            "metadata": {"site": "north", "n": 2}}"#;
        assert_eq!(outline(plain), expected);
        assert_eq!(outline(&plain.replace("[1, {}]", "NaN")), expected);
        assert_eq!(outline(&plain.replace("[1, {}]", r#""\ud800""#)), expected);
    }

    #[test]
    fn what_is_missing_or_something_else_is_not_known() {
        let nothing = (None, None, serde_json::json!({}));
        assert_eq!(outline("{}"), nothing);
        assert_eq!(outline(r#"{"metadata": null, "success": "yes", "run_id": 7}"#), nothing);
        assert!(Outline::of(b"no JSON").is_none());
    }
}
