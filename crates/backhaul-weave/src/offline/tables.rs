//! Tables, whole, of known rows, or made of another table.

use serde_json::Value;

use super::OfflineTraceServer;
use super::internal_ids::InternalIds;
use super::table_rows::{self, Change};
use crate::digest;
use crate::entry::{DIGEST_LABEL, Entry, EntryType};
use crate::error::{TraceError, TraceErrorKind};
use crate::json::{text_of, value_of};
use crate::project::ProjectId;

/// A table that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTable {
    /// The table's name.
    pub digest: String,
    /// Those of its rows, in order.
    pub row_digests: Vec<String>,
}

impl CreatedTable {
    /// The names of the `table` of a request.
    pub(super) fn of(table: &Value, internal_ids: &InternalIds) -> Result<Self, TraceError> {
        let rows = list(table, "rows")?;
        let named =
            |row_digests: Vec<String>| Self { digest: digest::of_table(&row_digests), row_digests };
        let created = named(rows.iter().map(|row| internal_ids.digest_of(row)).collect());
        let expected = table["expected_digest"].as_str().filter(|it| *it != created.digest);
        let as_sent = || named(rows.iter().map(digest::of_value).collect());
        let expected = expected
            .and_then(|expected| Some(as_sent()).filter(|as_sent| as_sent.digest == expected));
        Ok(expected.unwrap_or(created))
    }
}

/// A table that was made of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatedTable {
    /// The table's name.
    pub digest: String,
    /// For each update the name of the row that it added or took away.
    pub updated_row_digests: Vec<String>,
}

impl OfflineTraceServer {
    /// Stores a table, given as the `table` of a request. An `expected_digest` in it that a
    /// server might give is the digest.
    ///
    /// # Errors
    /// [`TraceErrorKind::InvalidInput`] where it has no `rows`.
    pub fn create_table(
        &self,
        project: &ProjectId,
        table: &Value,
    ) -> Result<CreatedTable, TraceError> {
        self.create_table_json(project, &text_of(table))
    }

    /// The same, given as JSON, which is kept to the character.
    ///
    /// # Errors
    /// As of [`create_table`](Self::create_table).
    pub fn create_table_json(
        &self,
        project: &ProjectId,
        table: &str,
    ) -> Result<CreatedTable, TraceError> {
        let created = CreatedTable::of(&value_of(table), &self.inner.shared.internal_ids)?;
        let entry = Entry::new(EntryType::TableCreate, table.as_bytes())?;
        self.log(project, &[entry.label(DIGEST_LABEL, &created.digest)])?;
        Ok(created)
    }

    /// Stores a table of rows that are stored already, given as the request, and gives its
    /// digest.
    ///
    /// # Errors
    /// [`TraceErrorKind::InvalidInput`] where it has no `row_digests`.
    pub fn create_table_of_rows(
        &self,
        project: &ProjectId,
        request: &str,
    ) -> Result<String, TraceError> {
        let row_digests = table_rows::texts(list(&value_of(request), "row_digests")?)?;
        let digest = digest::of_table(row_digests);
        let entry = Entry::new(EntryType::TableFromDigests, request.as_bytes())?;
        self.log(project, &[entry.label(DIGEST_LABEL, &digest)])?;
        Ok(digest)
    }

    /// Stores a table that is made of another one, given as the request.
    ///
    /// Where the other one is not here its rows are not known, and so neither is the digest
    /// that a server will give: one stands in for it that is made of the other's digest and
    /// the updates.
    ///
    /// # Errors
    /// [`TraceErrorKind::InvalidInput`] for updates that are not understood, or are of a row
    /// that there is not.
    pub fn update_table(
        &self,
        project: &ProjectId,
        request: &str,
    ) -> Result<UpdatedTable, TraceError> {
        let said = value_of(request);
        let base = said["base_digest"].as_str().ok_or_else(|| lacks("base_digest"))?;
        let changes: Vec<Change> = list(&said, "updates")?
            .iter()
            .map(|update| Change::read(update, |row| self.digest_of(row)))
            .collect::<Result<_, _>>()?;
        let updated = match self.row_digests(project, base)? {
            Some(mut rows) => {
                let updated_row_digests = changes
                    .iter()
                    .map(|change| change.apply(&mut rows))
                    .collect::<Result<_, _>>()?;
                UpdatedTable { digest: digest::of_table(rows), updated_row_digests }
            }
            None => {
                let stand_ins: Vec<String> =
                    changes.iter().map(|change| change.stand_in(base)).collect();
                let digest = digest::of_table(stand_ins.iter().map(String::as_str).chain([base]));
                UpdatedTable { digest, updated_row_digests: stand_ins }
            }
        };
        let entry = Entry::new(EntryType::TableUpdate, request.as_bytes())?;
        self.log(project, &[entry.label(DIGEST_LABEL, &updated.digest)])?;
        Ok(updated)
    }
}

pub(super) fn list<'a>(said: &'a Value, name: &str) -> Result<&'a Vec<Value>, TraceError> {
    said[name].as_array().ok_or_else(|| lacks(name))
}

fn lacks(name: &str) -> TraceError {
    TraceError::new(TraceErrorKind::InvalidInput, format!("a table lacks its {name}"))
}
