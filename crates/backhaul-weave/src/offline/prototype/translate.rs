//! From what the prototype wrote to what it would be today: times in UTC, real digests, and
//! references that lead to them.

use std::path::{Path, PathBuf};

use backhaul_store::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use uuid::Uuid;

use super::FILE_ID_LABEL;
use super::stored::Stored;
use super::versions::{Versions, drawn_at};
use crate::entry::{DIGEST_LABEL, Entry, EntryType};
use crate::error::TraceError;
use crate::json::text_of;
use crate::offline::project_store::ProjectStore;
use crate::offline::{CreatedTable, objects, whole_file};
use crate::{digest, refs};

/// Makes entries of lines. Lines that others refer to come first.
#[derive(Debug)]
pub(super) struct Translator<'a> {
    store: &'a ProjectStore,
    roots: &'a [PathBuf],
    versions: Versions,
    unresolved: u64,
}

impl<'a> Translator<'a> {
    pub(super) fn new(store: &'a ProjectStore, roots: &'a [PathBuf], stored: &Stored) -> Self {
        Self { store, roots, versions: stored.versions.clone(), unresolved: 0 }
    }

    /// References so far that lead nowhere.
    pub(super) fn unresolved(&self) -> u64 {
        self.unresolved
    }

    /// The prototype's own copies of files that stand under their digests now.
    pub(super) fn raw_files(&self) -> impl Iterator<Item = PathBuf> {
        let ids = self.versions.file_ids();
        ids.flat_map(|id| self.roots.iter().map(move |root| raw_path(root, id)))
    }

    /// The entry that a line stands for. `Ok(None)`: none, or it names a file that is not
    /// there whole.
    pub(super) fn entry(&mut self, line: &[u8]) -> Result<Option<Entry>, TraceError> {
        let Ok(mut line) = backhaul_json::from_slice(line) else { return Ok(None) };
        let Some(entry_type) = line["type"].as_str().and_then(EntryType::of_name) else {
            return Ok(of_project(&line));
        };
        let at = line["timestamp"].as_str().and_then(local_time);
        let mut data = line["data"].take();
        if !data.is_object() {
            return Ok(None);
        }
        self.translate(&mut data);
        let entry = match entry_type {
            EntryType::FileCreate => self.file(&data)?,
            EntryType::ObjCreate | EntryType::OpCreate => self.object(&data, at),
            EntryType::TableCreate => self.table(&data, at),
            _ => Some(Entry::of_value(entry_type, &data)),
        };
        Ok(entry.map(|entry| at.into_iter().fold(entry, Entry::at)))
    }

    /// Counts what leads nowhere in a line that is stored already.
    pub(super) fn look_at(&mut self, line: &[u8]) {
        if let Ok(mut line) = backhaul_json::from_slice(line) {
            self.translate(&mut line["data"]);
        }
    }

    /// Puts digests in the place of what the prototype drew.
    fn translate(&mut self, data: &mut Value) {
        let Self { store, versions, unresolved, .. } = self;
        refs::rewrite(data, &mut |project, rest| {
            let reference = Drawn::parse(rest)?;
            let digest = versions.of(reference.name, reference.digest);
            match digest.filter(|_| *project == store.id) {
                Some(digest) => Some(format!("{}{project}/{}", refs::SCHEME, reference.to(digest))),
                None => {
                    *unresolved += 1;
                    None
                }
            }
        });
        let mut left = vec![data];
        while let Some(value) = left.pop() {
            match value {
                Value::String(text) => {
                    if let Some(digest) = versions.file(text) {
                        digest.clone_into(text);
                    }
                }
                Value::Array(items) => left.extend(items),
                Value::Object(map) => left.extend(map.values_mut()),
                _ => {}
            }
        }
    }

    fn file(&mut self, data: &Value) -> Result<Option<Entry>, TraceError> {
        // Anything else might lead out of the folder.
        let Some(id) = data["file_id"].as_str().filter(|id| Uuid::try_parse(id).is_ok()) else {
            return Ok(None);
        };
        let Some(content) = self.raw_file(id)? else { return Ok(None) };
        if data["size"] != json!(content.len()) {
            return Ok(None);
        }
        let digest = digest::of_file(&content);
        self.store.write_file(&digest, &content)?;
        self.versions.add_file(id, &digest);
        let data = json!({
            "project_id": data["project_id"],
            "name": data["name"],
            "content_type": null,
            "size": content.len(),
            "digest": digest,
        });
        let entry = Entry::of_value(EntryType::FileCreate, &data);
        Ok(Some(entry.label(DIGEST_LABEL, digest).label(FILE_ID_LABEL, id)))
    }

    fn raw_file(&self, id: &str) -> Result<Option<Vec<u8>>, TraceError> {
        for root in self.roots {
            if let Some(content) = whole_file::read(&*self.store.disk, &raw_path(root, id))? {
                return Ok(Some(content));
            }
        }
        Ok(None)
    }

    fn object(&mut self, data: &Value, at: Option<Timestamp>) -> Option<Entry> {
        let object = objects::Version::of(data, &self.store.internal_ids)?;
        self.add_version(object.name, at, &object.digest);
        object.entry(&text_of(data)).ok()
    }

    fn table(&mut self, data: &Value, at: Option<Timestamp>) -> Option<Entry> {
        let table = CreatedTable::of(data, &self.store.internal_ids).ok()?;
        self.add_version(Versions::TABLES, at, &table.digest);
        Some(Entry::of_value(EntryType::TableCreate, data).label(DIGEST_LABEL, table.digest))
    }

    fn add_version(&mut self, name: &str, at: Option<Timestamp>, digest: &str) {
        if let Some(at) = at {
            self.versions.add(name, at, digest);
        }
    }
}

fn raw_path(root: &Path, id: &str) -> PathBuf {
    root.join("files").join(id)
}

/// What the prototype wrote when a project was opened: no type, and a time of day.
fn of_project(line: &Value) -> Option<Entry> {
    let at = line["created_at"].as_str().and_then(local_time)?;
    let (entity, project) = (line["entity"].as_str()?, line["project"].as_str()?);
    let data = json!({"entity": entity, "project": project, "created_at": at.to_string()});
    Some(Entry::of_value(EntryType::Project, &data).at(at))
}

/// A time of day in the device's own time zone, as Python's `datetime.now().isoformat()` has it.
fn local_time(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).or_else(|| {
        let local: DateTime = text.parse().ok()?;
        let time = local.to_zoned(TimeZone::system()).ok()?.timestamp();
        Some(Timestamp::from_micros(time.as_microsecond()))
    })
}

/// A reference with a digest that the prototype drew: `op/NAME:DIGEST`, `object/NAME:DIGEST` or
/// `table/DIGEST`, and more behind it.
struct Drawn<'a> {
    before: &'a str,
    name: &'a str,
    digest: &'a str,
    behind: &'a str,
}

impl<'a> Drawn<'a> {
    fn parse(rest: &'a str) -> Option<Self> {
        let (kind, path) = rest.split_once('/')?;
        let named = path.split('/').next().unwrap_or_default();
        let (name, digest) = match kind {
            "table" => (Versions::TABLES, named),
            "op" | "object" => named.split_once(':')?,
            _ => return None,
        };
        drawn_at(digest)?;
        let at = kind.len() + 1 + named.len() - digest.len();
        let (before, behind) = (rest.get(..at)?, rest.get(at + digest.len()..)?);
        Some(Self { before, name, digest, behind })
    }

    fn to(&self, digest: &str) -> String {
        format!("{}{digest}{}", self.before, self.behind)
    }
}
