//! Versions of objects, and tables: what they are called.

use serde_json::Value;

use super::internal_ids::InternalIds;
use crate::digest;
use crate::entry::{DIGEST_LABEL, Entry, EntryType, OBJECT_LABEL};

/// A version of an object or an op.
#[derive(Debug)]
pub(super) struct Version<'a> {
    pub(super) name: &'a str,
    pub(super) digest: String,
    entry_type: EntryType,
}

impl<'a> Version<'a> {
    /// That of the `obj` of a request. `None`: it has no `object_id` or no `val`.
    pub(super) fn of(object: &'a Value, internal_ids: &InternalIds) -> Option<Self> {
        let (name, value) = (object["object_id"].as_str()?, object.get("val")?);
        let entry_type = match value["weave_type"]["type"].as_str() {
            Some("Op") => EntryType::OpCreate,
            _ => EntryType::ObjCreate,
        };
        Some(Self { name, digest: internal_ids.digest_of(value), entry_type })
    }

    pub(super) fn entry(&self, object: &Value) -> Entry {
        Entry::of_value(self.entry_type, object)
            .label(OBJECT_LABEL, self.name)
            .label(DIGEST_LABEL, self.digest.clone())
    }
}

/// A table that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTable {
    /// The table's name.
    pub digest: String,
    /// Those of its rows, in order.
    pub row_digests: Vec<String>,
}

/// The names of the `table` of a request. `None`: it has no `rows`.
pub(super) fn table_of(table: &Value, internal_ids: &InternalIds) -> Option<CreatedTable> {
    let rows = table["rows"].as_array()?.iter();
    let row_digests: Vec<String> = rows.map(|row| internal_ids.digest_of(row)).collect();
    Some(CreatedTable { digest: digest::of_table(&row_digests), row_digests })
}
