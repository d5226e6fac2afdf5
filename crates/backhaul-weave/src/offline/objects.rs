//! Objects and ops, and the digests that they are answered with.

use serde_json::Value;

use super::OfflineTraceServer;
use super::internal_ids::InternalIds;
use crate::digest;
use crate::entry::{DIGEST_LABEL, Entry, EntryType, OBJECT_LABEL};
use crate::error::{TraceError, TraceErrorKind};
use crate::json::{text_of, value_of};
use crate::project::ProjectId;

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
        let computed = internal_ids.digest_of(value);
        let expected = object["expected_digest"].as_str().filter(|expected| *expected != computed);
        let digest = expected
            .filter(|expected| *expected == digest::of_value(value))
            .map_or(computed, ToOwned::to_owned);
        let entry_type = match value["weave_type"]["type"].as_str() {
            Some("Op") => EntryType::OpCreate,
            _ => EntryType::ObjCreate,
        };
        Some(Self { name, digest, entry_type })
    }

    /// What is stored of it: the `obj` as it was sent.
    pub(super) fn entry(&self, object: &str) -> Result<Entry, TraceError> {
        let entry = Entry::new(self.entry_type, object.as_bytes())?;
        Ok(entry.label(OBJECT_LABEL, self.name).label(DIGEST_LABEL, self.digest.clone()))
    }
}

impl OfflineTraceServer {
    /// Stores a version of an object or an op, given as the `obj` of a request, and gives its
    /// digest. The version that is the newest of its object already is not stored again.
    ///
    /// An `expected_digest` in it that a server might give is the digest.
    ///
    /// # Errors
    /// [`TraceErrorKind::InvalidInput`] where `object` has no `object_id` or no `val`.
    pub fn create_object(&self, project: &ProjectId, object: &Value) -> Result<String, TraceError> {
        self.create_object_json(project, &text_of(object))
    }

    /// The same, given as JSON, which is kept to the character.
    ///
    /// # Errors
    /// As of [`create_object`](Self::create_object).
    pub fn create_object_json(
        &self,
        project: &ProjectId,
        object: &str,
    ) -> Result<String, TraceError> {
        let said = value_of(object);
        let version = Version::of(&said, &self.inner.shared.internal_ids).ok_or_else(|| {
            TraceError::new(
                TraceErrorKind::InvalidInput,
                "an object lacks its object_id or its val",
            )
        })?;
        let store = self.project(project);
        // Held until it is stored: the newest is the one that is stored last.
        let mut newest = store.newest();
        if !newest.is(version.name, &version.digest)? {
            let entry = version.entry(object)?;
            let kind = entry.entry_type().kind();
            for id in self.log(project, &[entry])? {
                newest.note(version.name, &version.digest, kind, id);
            }
        }
        Ok(version.digest)
    }

    /// The digest of a value, as the server that is synced with gives it, as far as its names
    /// for projects are known.
    pub fn digest_of(&self, value: &Value) -> String {
        self.inner.shared.internal_ids.digest_of(value)
    }
}
