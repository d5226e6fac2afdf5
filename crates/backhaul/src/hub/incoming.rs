//! A run record as it arrives: what the hub has to know of it, and its bytes.

use std::ops::Range;

use axum::http::StatusCode;
use backhaul_agent::{is_critical, json};
use backhaul_store::{Lane, Record};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::elements::elements;
use super::limits::MAX_RECORDS;
use super::origin::Place;
use super::seen::Key;
use crate::intake::Refusal;

/// The kind of all records that the hub stores.
pub(crate) const KIND: &str = "run";
/// The label with the run's id.
pub(crate) const RUN_ID: &str = "run_id";
/// The label with the name that the record had at the backhaul that sent it.
pub(crate) const FROM: &str = "from";
/// The label with the floor of its source when it was stored.
pub(crate) const FLOOR: &str = "floor";
/// The label with the idempotency key that another client gave a record.
pub(crate) const KEY: &str = "key";
/// The label with the idempotency key that another client gave a request, and the
/// record's place in it. Of a kind of its own, so that `k#0` of a record is another.
pub(crate) const REQUEST_KEY: &str = "request_key";

/// The longest value of a label: all labels of a record are meant to stay below
/// 1 KB, so that they never outweigh a small record.
const MAX_LABEL_BYTES: usize = 256;

/// An idempotency key of a client that is no backhaul.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClientKey {
    OfRecord(String),
    OfRequest(String),
}

impl ClientKey {
    /// The key's label: name and value.
    fn label(&self) -> (&'static str, String) {
        match self {
            Self::OfRecord(key) => (KEY, label(key)),
            Self::OfRequest(key) => (REQUEST_KEY, label(key)),
        }
    }

    /// The key as it is remembered.
    pub(crate) fn to_seen(&self) -> Key {
        let (name, value) = self.label();
        seen_key(name, &value)
    }
}

/// The key that a label of a stored record holds.
pub(crate) fn seen_key(name: &str, value: &str) -> Key {
    match name {
        REQUEST_KEY => Key::of_request_label(value),
        _ => Key::of_label(value),
    }
}

/// A record of a request, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incoming {
    range: Range<usize>,
    run_id: String,
    stream: Option<String>,
    critical: bool,
    /// Names the record to the hub, where its sender is no backhaul and gave a key.
    pub(crate) key: Option<ClientKey>,
    /// What is wrong with the key that it has.
    bad_key: Option<String>,
}

/// Reads all records of a body, or says what is wrong with the first bad one.
///
/// # Errors
/// 400 for what is no JSON, 422 for what is no run record, 413 for too many.
pub(crate) fn read(body: &[u8], request_key: Option<&str>) -> Result<Vec<Incoming>, Refusal> {
    let ranges = elements(body).map_err(|error| {
        let reason = format!("the body breaks off at byte {}", error.offset);
        Refusal::bad_json(error.index, format!("{reason}: expected {}", error.expected))
    })?;
    if ranges.len() > MAX_RECORDS {
        return Err(Refusal::too_large(format!(
            "the body holds {} records, {MAX_RECORDS} are taken at a time",
            ranges.len()
        )));
    }
    ranges
        .into_iter()
        .enumerate()
        .map(|(index, range)| Incoming::read(body, range, index, request_key))
        .collect()
}

impl Incoming {
    fn read(
        body: &[u8],
        range: Range<usize>,
        index: usize,
        request_key: Option<&str>,
    ) -> Result<Self, Refusal> {
        let bytes = body.get(range.clone()).unwrap_or_default();
        let value = json::from_slice(bytes)
            .map_err(|error| Refusal::bad_json(index, format!("no JSON: {error}")))?;
        let Value::Object(fields) = &value else {
            let found = type_name(&value);
            return Err(Refusal::bad_record(index, format!("expected an object, found {found}")));
        };
        let Some(run_id) = fields.get("run_id") else {
            return Err(Refusal::bad_record(index, "run_id is missing"));
        };
        let Some(run_id) = text_of(run_id).map(str::to_owned) else {
            let found = type_name(run_id);
            let reason = format!("run_id: expected a string, found {found}");
            return Err(Refusal::bad_record(index, reason));
        };
        let metadata = fields.get("metadata").and_then(Value::as_object);
        let text = |key: &str| text_of(metadata?.get(key)?).filter(|text| !text.is_empty());
        let own_key = metadata.and_then(|metadata| metadata.get("idempotency_key"));
        let own_key = own_key.filter(|key| !key.is_null());
        let own_text = own_key.and_then(text_of).filter(|text| !text.is_empty());
        let bad_key = own_key.filter(|_| own_text.is_none()).map(|key| match text_of(key) {
            Some(_) => "an empty string",
            None => type_name(key),
        });
        let of_request = || request_key.map(|key| ClientKey::OfRequest(format!("{key}#{index}")));
        Ok(Self {
            range,
            run_id,
            stream: text("stream").map(label),
            critical: metadata.is_some_and(is_critical),
            key: own_text.map(|key| ClientKey::OfRecord(key.to_owned())).or_else(of_request),
            bad_key: bad_key.map(|found| {
                format!(
                    "metadata.idempotency_key: expected a string that is not empty, found {found}"
                )
            }),
        })
    }

    /// Bytes of the record.
    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }

    /// The record as it is stored, with what the hub needs to know it again.
    pub(crate) fn to_record(&self, body: &[u8], place: Option<Place>) -> Record {
        let bytes = body.get(self.range.clone()).unwrap_or_default().to_vec();
        let record = Record::new(KIND, bytes).label(RUN_ID, label(&self.run_id));
        match place {
            Some(place) => self.with_origin(record, place),
            None => self.with_key(record),
        }
    }

    fn with_origin(&self, record: Record, place: Place) -> Record {
        let record = record
            .lane(place.source.chain.lane)
            .label(FROM, place.source.record_id(place.sequence).to_string())
            .label(FLOOR, place.floor.to_string());
        match &self.stream {
            // Streams of two devices with one name are two streams.
            Some(stream) => record.stream(format!("{}/{stream}", place.source.device)),
            None => record,
        }
    }

    fn with_key(&self, record: Record) -> Record {
        let record = record.lane(if self.critical { Lane::Critical } else { Lane::Normal });
        let record = match &self.key {
            Some(key) => {
                let (name, value) = key.label();
                record.label(name, value)
            }
            None => record,
        };
        match &self.stream {
            Some(stream) => record.stream(stream),
            None => record,
        }
    }
}

/// A text as a label: itself, or its digest where it is too long for one.
pub(crate) fn label(text: &str) -> String {
    if text.len() <= MAX_LABEL_BYTES {
        return text.to_owned();
    }
    let digest = Sha256::digest(text);
    digest.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// The text in a value. A bare `NaN` is held as a string too, but is a number.
fn text_of(value: &Value) -> Option<&str> {
    value.as_str().filter(|_| json::as_f64(value).is_none())
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) if text_of(value).is_none() => "a number",
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// 422 for the first record whose key means nothing. Not for records of a backhaul,
/// which are known by their sequences.
pub(crate) fn check_keys(records: &[Incoming]) -> Result<(), Refusal> {
    let bad = |(index, record): (usize, &Incoming)| Some((index, record.bad_key.clone()?));
    match records.iter().enumerate().find_map(bad) {
        Some((index, reason)) => Err(Refusal::bad_record(index, reason)),
        None => Ok(()),
    }
}

/// 413 for the first record that the spool can never take.
pub(crate) fn check_sizes(records: &[Incoming], max_record_bytes: usize) -> Result<(), Refusal> {
    let too_large = records.iter().enumerate().find(|(_, record)| record.len() > max_record_bytes);
    match too_large {
        None => Ok(()),
        Some((index, record)) => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("it has {} bytes, this hub takes {max_record_bytes}", record.len()),
        )
        .at(index)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> (u16, Option<usize>, String) {
        let refusal = read(body.as_bytes(), None).unwrap_err();
        (refusal.status.as_u16(), refusal.index, refusal.reason)
    }

    #[test]
    fn only_a_run_id_is_asked_for() {
        let body = br#"[{"run_id": "a", "x": NaN}, {"run_id": "\ud800", "metadata": null}]"#;
        let records = read(body, None).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].to_record(body, None).body(), br#"{"run_id": "a", "x": NaN}"#);
    }

    #[test]
    fn the_first_bad_record_is_named() {
        let (status, index, reason) = refusal(r#"[{"run_id": "a"}, {"run_id": 7}]"#);
        assert_eq!((status, index), (422, Some(1)));
        assert_eq!(reason, "run_id: expected a string, found a number");
        assert_eq!(refusal("[1]").0, 422);
        assert_eq!(refusal(r#"{"run_id": NaN}"#).0, 422);
        assert_eq!(refusal("{}"), (422, Some(0), "run_id is missing".to_owned()));
        assert_eq!(refusal(r#"[{"run_id": "a"}, {"run_id": nope}]"#).0, 400);
        assert_eq!(refusal("").0, 400);
    }

    #[test]
    fn a_records_own_key_wins_over_the_requests() {
        let body = br#"[{"run_id":"a"},{"run_id":"b","metadata":{"idempotency_key":"mine"}}]"#;
        let keys: Vec<_> = read(body, Some("K")).unwrap().into_iter().map(|r| r.key).collect();
        assert_eq!(
            keys,
            [
                Some(ClientKey::OfRequest("K#0".to_owned())),
                Some(ClientKey::OfRecord("mine".to_owned())),
            ]
        );
    }

    #[test]
    fn long_texts_become_digests() {
        assert_eq!(label("short"), "short");
        assert_eq!(label(&"x".repeat(1000)).len(), "sha256:".len() + 64);
    }
}
