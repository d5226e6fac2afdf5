//! Objects and ops, and the digests that they are answered with.

use std::sync::PoisonError;

use serde_json::Value;

use super::OfflineTraceServer;
use crate::entry::{DIGEST_LABEL, Entry, EntryType, OBJECT_LABEL};
use crate::error::{TraceError, TraceErrorKind};
use crate::json::{text_of, value_of};
use crate::project::ProjectId;
use crate::{digest, refs};

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
        let (Some(name), Some(value)) = (said["object_id"].as_str(), said.get("val")) else {
            return Err(TraceError::new(
                TraceErrorKind::InvalidInput,
                "an object lacks its object_id or its val",
            ));
        };
        let computed = self.digest_of(value);
        let expected = said["expected_digest"].as_str().filter(|expected| *expected != computed);
        let digest = expected
            .filter(|expected| *expected == digest::of_value(value))
            .map_or(computed, ToOwned::to_owned);
        let entry_type = match value["weave_type"]["type"].as_str() {
            Some("Op") => EntryType::OpCreate,
            _ => EntryType::ObjCreate,
        };
        let store = self.project(project)?;
        // Held until it is stored: the newest is the one that is stored last.
        let mut newest = store.newest()?;
        if !newest.is(name, &digest) {
            let entry = Entry::new(entry_type, object.as_bytes())?
                .label(OBJECT_LABEL, name)
                .label(DIGEST_LABEL, &digest);
            self.log(project, &[entry])?;
            newest.note(name, &digest);
        }
        Ok(digest)
    }

    /// The digest of a value, as the server that is synced with gives it, as far as its names
    /// for projects are known.
    pub fn digest_of(&self, value: &Value) -> String {
        let internal_ids = self.inner.internal_ids.read().unwrap_or_else(PoisonError::into_inner);
        if internal_ids.is_empty() {
            return digest::of_value(value);
        }
        let mut value = value.clone();
        refs::rewrite(&mut value, &mut |project, rest| {
            let id = internal_ids.get(project)?;
            Some(format!("{}{id}/{rest}", refs::INTERNAL_SCHEME))
        });
        digest::of_value(&value)
    }
}
