//! What is logged: the records of a project, as they stand in its files.

use backhaul_store::{Record, StoredRecord, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{TraceError, TraceErrorKind};
use crate::json::{plain_json, text_of, value_of};
use crate::kind::Kind;

/// What a record says, after the request that it was made of.
///
/// The first eight are those of the prototype of Weave's offline mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryType {
    /// A call has begun: `data` is the `start` of a request.
    CallStart,
    /// A call has ended: the `end` of a request.
    CallEnd,
    /// A call has another display name: `{"project_id", "call_id", "display_name"}`.
    CallUpdate,
    /// A version of an op: the `obj` of a request.
    OpCreate,
    /// A version of an object: the `obj` of a request.
    ObjCreate,
    /// A table: the `table` of a request.
    TableCreate,
    /// Feedback: the request, with an `id`.
    FeedbackCreate,
    /// A file: `{"project_id", "name", "content_type", "size", "digest"}`.
    FileCreate,
    /// A call from its start to its end: an item of `calls/complete`.
    CallComplete,
    /// Calls were deleted: `{"project_id", "call_ids"}`.
    CallsDelete,
    /// Spans in OpenTelemetry's form: `{"project_id", "path", "content_type",
    /// "content_encoding", "body"}`, the last in base64.
    OtelExport,
    /// Versions of an object were deleted: `{"project_id", "object_id", "digests"}`.
    ObjDelete,
    /// Tags of a version were set: the request, with `object_id` and `digest`.
    ObjTags,
    /// Aliases of an object were set: the request, with `object_id`.
    ObjAliases,
    /// A table of known rows: `{"project_id", "row_digests"}`.
    TableFromDigests,
    /// A table made of another: `{"project_id", "base_digest", "updates"}`.
    TableUpdate,
    /// Feedback was removed: the request.
    FeedbackPurge,
    /// Feedback was replaced: the request, with an `id`.
    FeedbackReplace,
    /// What models cost: the request.
    CostCreate,
    /// That there is such a project: `{"entity", "project", "created_at"}`.
    Project,
}

/// Names, and the kinds that they belong to.
const TYPES: [(EntryType, &str, Kind); 20] = [
    (EntryType::CallStart, "call_start", Kind::Calls),
    (EntryType::CallEnd, "call_end", Kind::Calls),
    (EntryType::CallUpdate, "call_update", Kind::Calls),
    (EntryType::OpCreate, "op_create", Kind::Ops),
    (EntryType::ObjCreate, "obj_create", Kind::Objects),
    (EntryType::TableCreate, "table_create", Kind::Tables),
    (EntryType::FeedbackCreate, "feedback_create", Kind::Feedback),
    (EntryType::FileCreate, "file_create", Kind::Files),
    (EntryType::CallComplete, "call_complete", Kind::Calls),
    (EntryType::CallsDelete, "calls_delete", Kind::Calls),
    (EntryType::OtelExport, "otel_export", Kind::Calls),
    (EntryType::ObjDelete, "obj_delete", Kind::Objects),
    (EntryType::ObjTags, "obj_tags", Kind::Objects),
    (EntryType::ObjAliases, "obj_aliases", Kind::Objects),
    (EntryType::TableFromDigests, "table_create_from_digests", Kind::Tables),
    (EntryType::TableUpdate, "table_update", Kind::Tables),
    (EntryType::FeedbackPurge, "feedback_purge", Kind::Feedback),
    (EntryType::FeedbackReplace, "feedback_replace", Kind::Feedback),
    (EntryType::CostCreate, "cost_create", Kind::Metadata),
    (EntryType::Project, "project", Kind::Metadata),
];

impl EntryType {
    /// All types.
    pub fn all() -> impl Iterator<Item = Self> {
        TYPES.iter().map(|(one, _, _)| *one)
    }

    /// The `type` of its records.
    pub fn name(self) -> &'static str {
        TYPES.iter().find(|(one, _, _)| *one == self).map_or("", |(_, name, _)| name)
    }

    /// The kind whose folder its records go to.
    pub fn kind(self) -> Kind {
        TYPES.iter().find(|(one, _, _)| *one == self).map_or(Kind::Metadata, |(_, _, kind)| *kind)
    }

    /// The type that is called so.
    pub fn of_name(name: &str) -> Option<Self> {
        TYPES.iter().find(|(_, known, _)| *known == name).map(|(one, _, _)| *one)
    }
}

/// The label of records of objects and tables: the digest that was answered for them.
pub const DIGEST_LABEL: &str = "digest";
/// The label of records of objects: the object's name. Those with one name are delivered in
/// order, one at a time.
pub const OBJECT_LABEL: &str = "object_id";

/// One thing that is logged: its type, its data, and when it came.
///
/// In a file it is `{"type": …, "timestamp": …, "data": …}` on a line.
///
/// ```
/// use backhaul_weave::{Entry, EntryType};
/// let entry = Entry::new(EntryType::CallEnd, br#"{"id": "0192"}"#)?;
/// assert_eq!(entry.value()["id"], "0192");
/// # Ok::<(), backhaul_weave::TraceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    entry_type: EntryType,
    data: String,
    timestamp: Option<Timestamp>,
    labels: Vec<(&'static str, String)>,
}

/// How an entry stands in a line.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(borrow, rename = "type")]
    entry_type: std::borrow::Cow<'a, str>,
    #[serde(default, borrow)]
    timestamp: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Entry {
    /// An entry with the data of a request, which is kept to the character, but for line
    /// ends; and for what is no JSON and Python writes (`NaN`), which becomes `null`.
    ///
    /// # Errors
    /// [`TraceErrorKind::InvalidInput`] where `data` is no JSON.
    pub fn new(entry_type: EntryType, data: &[u8]) -> Result<Self, TraceError> {
        // Line ends stand between tokens alone: in strings they are escaped.
        let data = plain_json(data)?.trim().replace(['\n', '\r'], " ");
        Ok(Self { entry_type, data, timestamp: None, labels: Vec::new() })
    }

    /// An entry with data that this program has written itself: JSON on one line.
    pub(crate) fn of_json(entry_type: EntryType, data: String) -> Self {
        Self { entry_type, data, timestamp: None, labels: Vec::new() }
    }

    /// An entry with a value as data.
    pub fn of_value(entry_type: EntryType, data: &Value) -> Self {
        Self::of_json(entry_type, text_of(data))
    }

    /// When it came, where that is not now.
    #[must_use]
    pub fn at(self, timestamp: Timestamp) -> Self {
        Self { timestamp: Some(timestamp), ..self }
    }

    /// Notes something for those who look for the record.
    #[must_use]
    pub fn label(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((key, value.into()));
        self
    }

    /// What it says.
    pub fn entry_type(&self) -> EntryType {
        self.entry_type
    }

    /// The data, JSON on one line.
    pub fn data(&self) -> &str {
        &self.data
    }

    /// When it came; `None`: it was not stored yet.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.timestamp
    }

    /// The data, read.
    pub fn value(&self) -> Value {
        value_of(&self.data)
    }

    /// The record that is stored of it.
    pub fn to_record(&self, now: Timestamp) -> Record {
        let timestamp = self.timestamp.unwrap_or(now);
        let body = format!(
            r#"{{"type": "{}", "timestamp": "{timestamp}", "data": {}}}"#,
            self.entry_type.name(),
            self.data
        );
        let mut record = Record::new(self.entry_type.name(), body.into_bytes());
        // What becomes of an object is delivered in order: its last version is the latest, and
        // there has to be one that is named or deleted.
        if let Some(object) = self.object() {
            record = record.stream(object);
        }
        self.labels.iter().fold(record, |record, (key, value)| record.label(*key, value))
    }

    /// The object that it is about, where it is about one.
    fn object(&self) -> Option<String> {
        let label = self.labels.iter().find(|(key, _)| *key == OBJECT_LABEL);
        match self.entry_type {
            EntryType::ObjDelete | EntryType::ObjTags | EntryType::ObjAliases => {
                self.value()["object_id"].as_str().map(ToOwned::to_owned)
            }
            _ => label.map(|(_, object)| object.clone()),
        }
    }

    /// The entry that a record holds.
    ///
    /// # Errors
    /// [`TraceErrorKind::Damaged`] where it holds none.
    pub fn of_record(record: &StoredRecord) -> Result<Self, TraceError> {
        Self::of_line(&record.body)
    }

    /// The entry that a line holds, of this program or of the prototype.
    ///
    /// # Errors
    /// [`TraceErrorKind::Damaged`] where it holds none.
    pub fn of_line(line: &[u8]) -> Result<Self, TraceError> {
        let damaged = |what: String| {
            TraceError::new(TraceErrorKind::Damaged, format!("not a logged record: {what}"))
        };
        let line: Line<'_> =
            serde_json::from_slice(line).map_err(|error| damaged(error.to_string()))?;
        let entry_type = EntryType::of_name(&line.entry_type)
            .ok_or_else(|| damaged(format!("the type {:?} is not known", line.entry_type)))?;
        let timestamp = Timestamp::parse(&line.timestamp);
        Ok(Self { entry_type, data: line.data.get().to_owned(), timestamp, labels: Vec::new() })
    }
}
