//! What the server that is synced with calls projects, and the digests that follow.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use serde_json::Value;

use crate::project::ProjectId;
use crate::{digest, refs};

/// The internal names of projects, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct InternalIds(RwLock<BTreeMap<ProjectId, String>>);

impl InternalIds {
    pub(super) fn set(&self, project: &ProjectId, id: String) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(project.clone(), id);
    }

    pub(super) fn get(&self, project: &ProjectId) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(project).cloned()
    }

    /// The digest of a value, as the server gives it.
    pub(super) fn digest_of(&self, value: &Value) -> String {
        let internal_ids = self.0.read().unwrap_or_else(PoisonError::into_inner);
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
