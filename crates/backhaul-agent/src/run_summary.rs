//! The summary that goes in the place of a run record which no data cap holds.

use backhaul_store::{StoredRecord, Timestamp};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::json;
use crate::run_record::RunRecord;
use crate::shorten::shortened;

/// Says in the metadata of a run record which one it sums up.
const SUMMARY_OF: &str = "summary_of";
/// The most bytes of a summary: far below a megabyte, the smallest data cap, and about what
/// opening a TLS connection costs.
const MOST_BYTES: usize = 4_000;
/// Characters that are kept of a run's id, its DAG's name and its error; fewer where they are
/// so long in JSON that the summary would be too large.
const LONGEST: usize = 500;

/// The summary of a stored run record, as JSON of at most 4,000 bytes; `None`: it is no run
/// record. The same record always has the same summary.
///
/// It is a run record by the id `RUN-summary`, with times, success, error and cost of the
/// run, without contexts and events. `metadata.summary_of` says of which record it is and how
/// much that holds. Other metadata are kept as far as there is room, `critical` and `stream`
/// first; an `idempotency_key` is not, since it is the record's own.
///
/// ```
/// use backhaul_agent::{OfflineQueue, RunRecord, ToolCall, summarize_run};
/// use backhaul_store::Timestamp;
/// use serde_json::json;
///
/// # let dir = std::env::temp_dir().join(format!("backhaul-summary-doc-{}", std::process::id()));
/// let queue = OfflineQueue::new(&dir)?;
/// let mut record = RunRecord::new("run_001", Timestamp::from_micros(0));
/// record.tool_calls.push(ToolCall::new("camera", json!({}), json!("x".repeat(1_000_000))));
/// let id = queue.enqueue(&record)?;
///
/// let (_, stored) = queue.spool().get(id.into())?;
/// let summary = RunRecord::from_json(&summarize_run(&stored).unwrap())?;
/// assert_eq!(summary.run_id, "run_001-summary");
/// assert_eq!(summary.metadata["summary_of"]["tool_calls"], 1);
/// # drop(queue);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn summarize_run(stored: &StoredRecord) -> Option<Vec<u8>> {
    let outline = Outline::of(&stored.body, stored.stamp.wall)?;
    let halves = std::iter::successors(Some(LONGEST), |longest| Some(longest / 2));
    let mut lengths = halves.take_while(|longest| *longest > 0);
    let mut summary = lengths.find_map(|longest| {
        let summary = outline.summary(stored, longest);
        (summary.to_json().len() <= MOST_BYTES).then_some(summary)
    })?;
    add_metadata(&mut summary, outline.head.metadata);
    Some(summary.to_json())
}

/// Adds as much of the record's metadata as there is room for.
fn add_metadata(summary: &mut RunRecord, metadata: Map<String, Value>) {
    let is_of_the_queue = |key: &str| matches!(key, "critical" | "stream");
    let (first, rest): (Vec<_>, Vec<_>) =
        metadata.into_iter().partition(|(key, _)| is_of_the_queue(key));
    let mut room = MOST_BYTES - summary.to_json().len();
    for (key, value) in first.into_iter().chain(rest) {
        if matches!(&*key, "idempotency_key" | SUMMARY_OF) {
            continue;
        }
        let entry = Value::Object(Map::from_iter([(key.clone(), value.clone())]));
        // Its brackets are as long as a comma, and one byte more.
        let bytes = json::to_vec(&entry, json::Style::Compact).len() - 1;
        if let Some(rest) = room.checked_sub(bytes) {
            room = rest;
            summary.metadata.insert(key, value);
        }
    }
}

/// What a summary says of a record.
struct Outline {
    /// The record without contexts and events.
    head: RunRecord,
    tool_calls: usize,
    llm_calls: usize,
    patches: usize,
    total_tokens: u64,
}

impl Outline {
    /// What only Python writes, `NaN` say, needs our own reader, which builds all of it.
    fn of(body: &[u8], now: Timestamp) -> Option<Self> {
        let skimmed = serde_json::from_slice(body).ok();
        if let Some(outline) = skimmed.and_then(|skimmed: Skimmed<'_>| skimmed.outline(now)) {
            return Some(outline);
        }
        let head = RunRecord::from_json_at(body, now).ok()?;
        Some(Self {
            tool_calls: head.total_tool_calls(),
            llm_calls: head.total_llm_calls(),
            patches: head.total_patches(),
            total_tokens: head.total_tokens(),
            head,
        })
    }

    fn summary(&self, stored: &StoredRecord, longest: usize) -> RunRecord {
        let run_id = shortened(&self.head.run_id, longest);
        let mut summary = RunRecord::new(format!("{run_id}-summary"), self.head.started_at);
        summary.dag_name = shortened(&self.head.dag_name, longest);
        summary.completed_at = self.head.completed_at;
        summary.success = self.head.success;
        summary.error = self.head.error.as_deref().map(|error| shortened(error, longest));
        summary.total_cost_usd = self.head.total_cost_usd;
        let of = json!({
            "run_id": run_id,
            "record": stored.id.to_string(),
            "bytes": stored.body.len(),
            "tool_calls": self.tool_calls,
            "llm_calls": self.llm_calls,
            "patches": self.patches,
            "total_tokens": self.total_tokens,
        });
        summary.metadata.insert(SUMMARY_OF.to_owned(), of);
        summary
    }
}

/// A record whose contexts and events are stepped over unread, so that one of 100 MB costs
/// no more memory than its metadata.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Skimmed<'a> {
    #[serde(borrow)]
    run_id: Option<&'a RawValue>,
    dag_name: Option<&'a RawValue>,
    started_at: Option<&'a RawValue>,
    completed_at: Option<&'a RawValue>,
    success: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
    total_cost_usd: Option<&'a RawValue>,
    tool_calls: Vec<IgnoredAny>,
    llm_calls: Vec<Tokens>,
    patches: Vec<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tokens {
    input_tokens: u64,
    output_tokens: u64,
}

impl Skimmed<'_> {
    fn outline(self, now: Timestamp) -> Option<Outline> {
        let fields = [
            ("run_id", self.run_id),
            ("dag_name", self.dag_name),
            ("started_at", self.started_at),
            ("completed_at", self.completed_at),
            ("success", self.success),
            ("error", self.error),
            ("metadata", self.metadata),
            ("total_cost_usd", self.total_cost_usd),
        ];
        let mut head = Map::new();
        for (key, raw) in fields {
            if let Some(raw) = raw {
                head.insert(key.to_owned(), json::from_slice(raw.get().as_bytes()).ok()?);
            }
        }
        let tokens = self.llm_calls.iter();
        let tokens = tokens.map(|call| call.input_tokens.saturating_add(call.output_tokens));
        Some(Outline {
            head: RunRecord::from_value_at(Value::Object(head), now).ok()?,
            tool_calls: self.tool_calls.len(),
            llm_calls: self.llm_calls.len(),
            patches: self.patches.len(),
            total_tokens: tokens.fold(0, u64::saturating_add),
        })
    }
}

#[cfg(test)]
mod tests {
    use backhaul_store::{Options, Record, Spool};
    use serde_json::json;

    use super::*;
    use crate::llm_call::LlmCall;
    use crate::patch::ContextPatch;
    use crate::tool_call::ToolCall;

    /// A record as it is once it was stored.
    fn stored(body: Vec<u8>) -> StoredRecord {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), Options::default()).unwrap();
        let id = spool.append(Record::new("run", body)).unwrap();
        spool.get(id.into()).unwrap().1
    }

    fn summary_of(body: Vec<u8>) -> RunRecord {
        let bytes = summarize_run(&stored(body)).unwrap();
        assert!(bytes.len() <= MOST_BYTES, "{} bytes", bytes.len());
        let summary = RunRecord::from_json(&bytes).unwrap();
        assert_eq!(summary.to_json(), bytes);
        summary
    }

    fn large() -> RunRecord {
        let mut record = RunRecord::new("run_001", Timestamp::from_micros(1_000_000));
        record.dag_name = "dag".into();
        record.completed_at = Some(Timestamp::from_micros(2_500_000));
        record.success = false;
        record.error = Some("the valve is stuck".into());
        record.total_cost_usd = 0.25;
        let picture = json!({"picture": "x".repeat(50_000)});
        record.tool_calls = vec![ToolCall::new("camera", json!({}), picture); 3];
        record.llm_calls = vec![LlmCall::new("m", vec![], "out").tokens(10, 7); 2];
        record.patches = vec![ContextPatch::set("a.b", json!(1))];
        record.metadata.insert("idempotency_key".into(), "k".into());
        record.metadata.insert("site".into(), "north".into());
        record.metadata.insert("noise".into(), "x".repeat(MOST_BYTES).into());
        record.metadata.insert("stream".into(), "sensor-7".into());
        record
    }

    #[test]
    fn a_summary_says_how_a_run_went_and_how_much_is_left_out() {
        let record = large();
        let body = record.to_json();
        let summary = summary_of(body.clone());
        assert_eq!(summary.run_id, "run_001-summary");
        assert_eq!((&*summary.dag_name, summary.success), ("dag", false));
        assert_eq!(summary.error.as_deref(), Some("the valve is stuck"));
        assert_eq!(summary.started_at, record.started_at);
        assert_eq!(summary.completed_at, record.completed_at);
        assert_eq!(summary.total_cost_usd, 0.25);
        let of = &summary.metadata[SUMMARY_OF];
        assert_eq!(of["run_id"], "run_001");
        assert_eq!(of["bytes"], body.len());
        assert!(of["record"].as_str().unwrap().ends_with("/normal/1"));
        let counts = ["tool_calls", "llm_calls", "patches", "total_tokens"];
        assert_eq!(counts.map(|key| of[key].as_u64().unwrap()), [3, 2, 1, 34]);
        // The key is the record's own; what is large has no room.
        let keys: Vec<&str> = summary.metadata.keys().map(String::as_str).collect();
        assert_eq!(keys, [SUMMARY_OF, "stream", "site"]);
    }

    #[test]
    fn what_only_python_writes_is_summed_up_the_same_way() {
        let mut record = large();
        let plain = summary_of(record.to_json());
        record.extra.insert("later".into(), json::float(f64::NAN));
        let mut python = summary_of(record.to_json());
        let bytes = record.to_json().len();
        for (key, value) in plain.metadata[SUMMARY_OF].as_object().unwrap() {
            let found = &python.metadata[SUMMARY_OF][key];
            match &**key {
                "bytes" => assert_eq!(*found, bytes),
                "record" => {}
                _ => assert_eq!(found, value, "{key}"),
            }
        }
        python.metadata.insert(SUMMARY_OF.into(), plain.metadata[SUMMARY_OF].clone());
        assert_eq!(python.to_json(), plain.to_json());
    }

    #[test]
    fn a_summary_has_room_for_whatever_a_run_is_called() {
        for letter in ["x", "\u{1}", "\u{10ffff}", "\\", "\""] {
            let mut record = RunRecord::new(letter.repeat(9_000), Timestamp::from_micros(0));
            record.dag_name = letter.repeat(9_000);
            record.error = Some(letter.repeat(9_000));
            record.metadata.insert("critical".into(), true.into());
            record.metadata.insert(letter.repeat(9_000), letter.repeat(9_000).into());
            let summary = summary_of(record.to_json());
            assert!(summary.run_id.ends_with("…-summary") && summary.run_id.starts_with(letter));
            assert!(summary.is_critical());
        }
    }

    #[test]
    fn what_is_no_run_record_has_no_summary() {
        for body in ["{}", "[1]", r#"{"run_id": 7}"#, r#"{"run_id": "a", "tool_calls": 3}"#] {
            assert_eq!(summarize_run(&stored(body.into())), None, "{body}");
        }
    }

    #[test]
    fn a_record_has_one_summary() {
        let stored = stored(br#"{"run_id": "no time in it"}"#.to_vec());
        assert_eq!(summarize_run(&stored), summarize_run(&stored));
    }
}
