//! A record: bytes that must leave the device, and what the store has to know
//! about them. And the one JSON line that holds both on disk.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use serde::{Deserialize, Serialize};

use crate::clock::{Moment, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Lane, RecordId};
use crate::json_text;

/// The top-level key of a stored line that belongs to the store.
pub const RESERVED_KEY: &str = "_backhaul";

const LINE_START: &[u8] = b"{\"_backhaul\":";
const JSON: &str = "application/json";

/// What survives of a record once it was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flush {
    /// Acknowledged once it is on stable storage: survives `kill -9` and a power cut.
    #[default]
    Always,
    /// Acknowledged once the kernel has it: survives `kill -9`; a power cut loses
    /// at most what was appended in the last period of this length.
    Every(Duration),
    /// Acknowledged once the kernel has it: survives `kill -9`; a power cut loses
    /// what the kernel had not written back yet, typically the last 30 seconds.
    Never,
}

impl Flush {
    /// The level's name, as it is stamped on each record.
    pub fn name(self) -> &'static str {
        match self {
            Flush::Always => "always",
            Flush::Every(_) => "every",
            Flush::Never => "never",
        }
    }
}

/// A record on its way into a spool.
///
/// ```
/// use backhaul_store::{Lane, Record};
/// let record = Record::new("run", br#"{"run_id": "run_001"}"#.to_vec())
///     .lane(Lane::Critical)
///     .stream("sensor-7")
///     .label("run_id", "run_001");
/// assert_eq!(record.body(), br#"{"run_id": "run_001"}"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub(crate) body: Vec<u8>,
    pub(crate) facts: Facts,
    pub(crate) lane: Lane,
}

impl Record {
    /// A record of a kind (a short word such as `run`), holding `body`. Bodies
    /// are any bytes and come back byte for byte; JSON objects on one line are stored
    /// as part of the line, where other programs read them.
    pub fn new(kind: impl Into<String>, body: Vec<u8>) -> Self {
        let facts = Facts { kind: kind.into(), ..Facts::default() };
        Self { body, facts, lane: Lane::default() }
    }

    /// The lane; [`Lane::Normal`] by default.
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self
    }

    /// Records of one stream are delivered in the order they were appended, one
    /// at a time. Without a stream a record waits for no other.
    pub fn stream(mut self, stream: impl Into<String>) -> Self {
        self.facts.stream = Some(stream.into());
        self
    }

    /// The body's media type; `application/json` by default.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        let content_type = content_type.into();
        self.facts.content_type = (content_type != JSON).then_some(content_type);
        self
    }

    /// Past this age, counted in power-on time, the record is no longer worth
    /// sending: it is settled as expired and counted. Off by default.
    pub fn expires_after(mut self, age: Duration) -> Self {
        self.facts.expires_after_ms = Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Says that of the records with one key the newest tells all. It is kept with the record,
    /// for those who read the spool; the store itself offers every record.
    pub fn collapse_key(mut self, key: impl Into<String>) -> Self {
        self.facts.collapse_key = Some(key.into());
        self
    }

    /// A small note kept with the record, such as its run id. All labels of a
    /// record together are meant to stay below 1 KB.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.facts.labels.insert(key.into(), value.into());
        self
    }

    /// Names an attachment, put before with [`Spool::attach`](crate::Spool::attach).
    pub fn attachment(mut self, digest: impl Into<String>) -> Self {
        self.facts.attachments.push(digest.into());
        self
    }

    /// The bytes.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// What is known of a record beside its bytes and its place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// A short word for what the record is, such as `run`.
    pub kind: String,
    /// The stream it is ordered in; none: it waits for no other record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The media type; none: `application/json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Milliseconds of power-on time after which it is no longer worth sending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_after_ms: Option<u64>,
    /// Of the records with one key the newest tells all. The store offers every record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collapse_key: Option<String>,
    /// Small notes, such as the run id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// SHA-256 digests of the attachments that belong to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<String>,
}

/// When, and how safely, a record was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// What the wall clock said. It may have been wrong.
    pub wall: Timestamp,
    /// The boot in which it was appended; empty where that is not known.
    pub boot_id: String,
    /// Time since that boot.
    pub since_boot: Duration,
    /// The durability level: `always`, `every` or `never`.
    pub flush: String,
}

impl Stamp {
    pub(crate) fn new(moment: &Moment, boot_id: &str, flush: Flush) -> Self {
        Self {
            wall: moment.wall,
            boot_id: boot_id.to_owned(),
            since_boot: moment.since_boot,
            flush: flush.name().to_owned(),
        }
    }

    /// How old the record is: by the monotonic clock within its own boot, by the
    /// wall clock otherwise, and never negative. Where one of the wall clocks was not
    /// set, it is as old as this boot at least.
    pub fn age(&self, now: &Moment, boot_id: &str) -> Duration {
        if self.boot_id == boot_id {
            now.since_boot.saturating_sub(self.since_boot)
        } else if !self.wall.min(now.wall).is_set() {
            now.since_boot
        } else {
            now.wall.since(self.wall)
        }
    }
}

/// A record as it stands in a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its name, for ever.
    pub id: RecordId,
    /// What is known beside the bytes.
    pub facts: Facts,
    /// When it was appended.
    pub stamp: Stamp,
    /// The bytes, as they were given.
    pub body: Vec<u8>,
}

impl StoredRecord {
    /// The line that holds the record on disk, with its newline; [`parse_line`] reads it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for facts that cannot be written as JSON.
    pub fn to_line(&self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        let prepared = PreparedLine::of(&self.body, &self.facts, &self.stamp)?;
        prepared.finish(&self.id.prefix(), self.id.position.sequence.0, &mut line);
        Ok(line)
    }
}

/// How the body stands in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum BodyForm {
    /// UTF-8 that is not a plain JSON object: a string under `body`.
    Text,
    /// Other bytes: a base64 string under `body`.
    Base64,
}

#[derive(Serialize, Deserialize)]
struct LineFacts {
    at: String,
    #[serde(default)]
    boot: String,
    #[serde(default)]
    mono_us: u64,
    #[serde(default)]
    flush: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<BodyForm>,
    facts: Facts,
}

#[derive(Deserialize)]
struct IdentifiedFacts {
    id: String,
    at: String,
    #[serde(default)]
    boot: String,
    #[serde(default)]
    mono_us: u64,
    #[serde(default)]
    flush: String,
    #[serde(default)]
    body: Option<BodyForm>,
    facts: Facts,
}

#[derive(Serialize, Deserialize)]
struct BodyField<'a> {
    #[serde(borrow)]
    body: std::borrow::Cow<'a, str>,
}

/// A line that lacks nothing but the record's id, which is known at commit.
#[derive(Debug, Clone)]
pub(crate) struct PreparedLine {
    /// What follows the id: `,"at":…}` and the body, without the newline.
    tail: Vec<u8>,
}

impl PreparedLine {
    pub(crate) fn new(record: &Record, stamp: &Stamp) -> Result<Self> {
        Self::of(&record.body, &record.facts, stamp)
    }

    fn of(body: &[u8], facts: &Facts, stamp: &Stamp) -> Result<Self> {
        let form = body_form(body);
        let facts = LineFacts {
            at: stamp.wall.to_string(),
            boot: stamp.boot_id.clone(),
            mono_us: u64::try_from(stamp.since_boot.as_micros()).unwrap_or(u64::MAX),
            flush: stamp.flush.clone(),
            body: form,
            facts: facts.clone(),
        };
        let mut tail = serde_json::to_vec(&facts).map_err(not_json)?;
        if let Some(first) = tail.first_mut() {
            *first = b',';
        }
        append_body(&mut tail, body, form)?;
        Ok(Self { tail })
    }

    /// Bytes that the finished line takes, at most.
    pub(crate) fn len(&self) -> usize {
        self.tail.len() + LINE_START.len() + 128
    }

    /// Appends the finished line. The id is `id_prefix` (up to the last `/`) and `sequence`.
    pub(crate) fn finish(&self, id_prefix: &str, sequence: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(LINE_START);
        out.extend_from_slice(b"{\"id\":\"");
        out.extend_from_slice(id_prefix.as_bytes());
        out.extend_from_slice(sequence.to_string().as_bytes());
        out.push(b'"');
        out.extend_from_slice(&self.tail);
        out.push(b'\n');
    }
}

/// `None`: a JSON object that can stand in the line as it is.
fn body_form(body: &[u8]) -> Option<BodyForm> {
    let Ok(text) = std::str::from_utf8(body) else { return Some(BodyForm::Base64) };
    let plain = text.starts_with('{')
        && text.ends_with('}')
        && !text.contains(['\n', '\r'])
        && !text.contains(RESERVED_KEY)
        && !has_lone_surrogate_risk(text)
        && json_text::suits_all_readers(text)
        && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
    (!plain).then_some(BodyForm::Text)
}

/// Readers differ on escaped surrogates that stand alone; such text is kept as a
/// string, where every reader takes it.
fn has_lone_surrogate_risk(text: &str) -> bool {
    (text.contains("\\ud") || text.contains("\\uD"))
        && serde_json::from_str::<serde_json::Value>(text).is_err()
}

fn append_body(line: &mut Vec<u8>, body: &[u8], form: Option<BodyForm>) -> Result<()> {
    let text = match form {
        None => {
            let inner = body.get(1..).unwrap_or_default();
            let is_empty = inner.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
            if !is_empty {
                line.push(b',');
            }
            line.extend_from_slice(inner);
            return Ok(());
        }
        Some(BodyForm::Text) => String::from_utf8_lossy(body),
        Some(BodyForm::Base64) => base64::engine::general_purpose::STANDARD.encode(body).into(),
    };
    let field = serde_json::to_vec(&BodyField { body: text }).map_err(not_json)?;
    line.push(b',');
    line.extend_from_slice(field.get(1..).unwrap_or_default());
    Ok(())
}

fn not_json(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("cannot write the record's facts as JSON: {error}"))
}

/// Reads one stored line, with or without its newline.
///
/// # Errors
/// [`ErrorKind::Damaged`] when the line is not what the store writes.
pub fn parse_line(line: &[u8]) -> Result<StoredRecord> {
    let damaged =
        |what: String| Error::new(ErrorKind::Damaged, format!("not a stored record: {what}"));
    let rest = line
        .strip_prefix(LINE_START)
        .ok_or_else(|| damaged(format!("expected the line to start with {{\"{RESERVED_KEY}\":")))?;
    let mut stream = serde_json::Deserializer::from_slice(rest).into_iter::<IdentifiedFacts>();
    let facts = stream
        .next()
        .ok_or_else(|| damaged("the line ends before its facts".to_owned()))?
        .map_err(|error| damaged(error.to_string()))?;
    let body = rest.get(stream.byte_offset()..).unwrap_or_default();
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    Ok(StoredRecord {
        id: facts.id.parse()?,
        stamp: Stamp {
            wall: Timestamp::parse(&facts.at)
                .ok_or_else(|| damaged(format!("bad time {:?}", facts.at)))?,
            boot_id: facts.boot,
            since_boot: Duration::from_micros(facts.mono_us),
            flush: facts.flush,
        },
        body: restore_body(body, facts.body).map_err(damaged)?,
        facts: facts.facts,
    })
}

fn restore_body(rest: &[u8], form: Option<BodyForm>) -> Result<Vec<u8>, String> {
    let Some(form) = form else {
        return Ok(match rest.strip_prefix(b",") {
            Some(inner) => [b"{", inner].concat(),
            None => [b"{", rest].concat(),
        });
    };
    let inner = rest.strip_prefix(b",").ok_or("the body is missing")?;
    let object = [b"{", inner].concat();
    let field: BodyField<'_> =
        serde_json::from_slice(&object).map_err(|error| error.to_string())?;
    match form {
        BodyForm::Text => Ok(field.body.into_owned().into_bytes()),
        BodyForm::Base64 => base64::engine::general_purpose::STANDARD
            .decode(field.body.as_bytes())
            .map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> RecordId {
        "6ba7b8109dad11d180b400c04fd430c8/0000beef/normal/42".parse().unwrap()
    }

    fn round_trip(body: &[u8]) -> (String, StoredRecord) {
        let record = Record::new("run", body.to_vec()).stream("s").label("run_id", "r \"1\"");
        let moment =
            Moment { wall: Timestamp::from_micros(1), since_boot: Duration::from_micros(7) };
        let stamp = Stamp::new(&moment, "boot", Flush::Always);
        let mut line = Vec::new();
        PreparedLine::new(&record, &stamp).unwrap().finish(&id().prefix(), 42, &mut line);
        let stored = parse_line(&line).unwrap();
        assert_eq!((&stored.facts, &stored.stamp, stored.id), (&record.facts, &stamp, id()));
        (String::from_utf8(line).unwrap(), stored)
    }

    #[test]
    fn json_objects_stand_in_the_line_as_they_are() {
        let (line, stored) = round_trip(br#"{"a": 1.50, "b":[null]}"#);
        assert_eq!(stored.body, br#"{"a": 1.50, "b":[null]}"#);
        assert!(line.ends_with(",\"a\": 1.50, \"b\":[null]}\n"), "{line}");
    }

    #[test]
    fn an_empty_object_and_inner_newlines_keep_one_line() {
        assert_eq!(round_trip(b"{}").1.body, b"{}");
        assert_eq!(round_trip(b"{ }").1.body, b"{ }");
        let (line, stored) = round_trip(b"{\n \"a\": 1\r\n}");
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(stored.body, b"{\n \"a\": 1\r\n}");
    }

    #[test]
    fn what_is_not_a_plain_object_comes_back_byte_for_byte() {
        let bodies: [&[u8]; 9] = [
            b"{\"x\": NaN}",
            b"{\"x\": \"\\ud800\"}",
            b"{\"_backhaul\": 1}",
            b"[1,2]",
            b"",
            b"{\"cut\": ",
            b" {\"a\":1}",
            &[0xff, 0x00, 0x80],
            b"two\nlines",
        ];
        for body in bodies {
            let (line, stored) = round_trip(body);
            assert_eq!(stored.body, body);
            serde_json::from_str::<serde_json::Value>(&line).unwrap();
        }
    }

    #[test]
    fn a_foreign_line_is_an_error_that_says_what_was_expected() {
        let error = parse_line(b"{\"run_id\":\"x\"}").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert!(error.to_string().contains("_backhaul"), "{error}");
    }
}
