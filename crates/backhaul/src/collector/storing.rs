//! Requests become entries, and entries are stored.

use backhaul_weave::{Entry, EntryType, ProjectId};

use super::WeaveCollector;
use super::answers::refusal;
use super::asked::project_of;
use super::fields::Fields;
use crate::intake::Refusal;

/// What is expected where a project is missing.
pub(super) const PROJECT_ID: &str = "\"entity/project\"";

/// The project that a part of a request is about.
pub(super) fn project(fields: &Fields<'_>) -> Result<ProjectId, Refusal> {
    project_of(&fields.require_text("project_id", PROJECT_ID)?)
}

pub(super) fn entry(entry_type: EntryType, data: &str) -> Result<Entry, Refusal> {
    Entry::new(entry_type, data.as_bytes()).map_err(|error| refusal(&error))
}

impl WeaveCollector {
    /// Stores a whole request.
    pub(super) fn log_request(
        &self,
        entry_type: EntryType,
        request: &Fields<'_>,
    ) -> Result<(), Refusal> {
        self.log_all(vec![(project(request)?, entry(entry_type, request.as_text())?)])
    }

    /// Stores entries, each project's together.
    ///
    /// # Errors
    /// Some may be stored then, and none is acknowledged.
    pub(super) fn log_all(&self, entries: Vec<(ProjectId, Entry)>) -> Result<(), Refusal> {
        let mut by_project: Vec<(ProjectId, Vec<Entry>)> = Vec::new();
        for (project, entry) in entries {
            match by_project.iter_mut().find(|(known, _)| *known == project) {
                Some((_, entries)) => entries.push(entry),
                None => by_project.push((project, vec![entry])),
            }
        }
        for (project, entries) in &by_project {
            self.server().log(project, entries).map_err(|error| refusal(&error))?;
        }
        Ok(())
    }
}
