//! Which rows a table has that stands here.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use backhaul_store::StoredRecord;
use serde_json::Value;

use super::OfflineTraceServer;
use super::tables::list;
use crate::digest;
use crate::entry::{DIGEST_LABEL, Entry, EntryType};
use crate::error::{TraceError, TraceErrorKind};
use crate::kind::Kind;
use crate::project::ProjectId;

/// What an update does to the rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Append(String),
    Insert(usize, String),
    Pop(usize),
}

impl Change {
    /// An item of `updates`.
    pub(super) fn read(
        update: &Value,
        digest_of: impl Fn(&Value) -> String,
    ) -> Result<Self, TraceError> {
        let place = |of: &Value| of["index"].as_u64().and_then(|index| usize::try_from(index).ok());
        let row = |of: &Value| of.get("row").filter(|row| row.is_object()).map(&digest_of);
        let (append, insert, pop) = (&update["append"], &update["insert"], &update["pop"]);
        let change = if append.is_object() {
            row(append).map(Self::Append)
        } else if insert.is_object() {
            place(insert).zip(row(insert)).map(|(index, row)| Self::Insert(index, row))
        } else {
            place(pop).map(Self::Pop)
        };
        change.ok_or_else(|| {
            bad(format!(
                "an update of a table is not understood: expected append with a row, insert with \
                 an index and a row, or pop with an index, found {update}"
            ))
        })
    }

    /// Does it, and gives the row that it was about.
    pub(super) fn apply(&self, rows: &mut Vec<String>) -> Result<String, TraceError> {
        let beyond = |index: usize| {
            bad(format!("there is no row {index} in the table, which has {}", rows.len()))
        };
        match self {
            Self::Append(row) => {
                rows.push(row.clone());
                Ok(row.clone())
            }
            Self::Insert(index, _) if *index > rows.len() => Err(beyond(*index)),
            Self::Insert(index, row) => {
                rows.insert(*index, row.clone());
                Ok(row.clone())
            }
            Self::Pop(index) if *index >= rows.len() => Err(beyond(*index)),
            Self::Pop(index) => Ok(rows.remove(*index)),
        }
    }

    /// The row that it is about, or what stands for one of a table that is not here.
    pub(super) fn stand_in(&self, base: &str) -> String {
        match self {
            Self::Append(row) => row.clone(),
            Self::Insert(_, row) => row.clone(),
            Self::Pop(index) => digest::of_file(format!("{base}[{index}]").as_bytes()),
        }
    }
}

/// How a table came to be.
enum Origin {
    /// Of its own rows.
    Rows,
    Update {
        base: String,
        changes: Vec<Change>,
    },
}

impl OfflineTraceServer {
    /// The digests of a table's rows. `None`: it is not here, or is made of one that is not.
    pub(super) fn row_digests(
        &self,
        project: &ProjectId,
        digest: &str,
    ) -> Result<Option<Vec<String>>, TraceError> {
        let origins = self.origins(project)?;
        let mut changes = Vec::new();
        let mut root = digest;
        // Several processes may have written: no more steps than there are tables.
        while let Some(Origin::Update { base, changes: last }) = origins.get(root)
            && changes.len() < origins.len()
        {
            changes.push(last);
            root = base;
        }
        if !matches!(origins.get(root), Some(Origin::Rows)) {
            return Ok(None);
        }
        let Some(mut rows) = self.rows_of_root(project, root)? else { return Ok(None) };
        for change in changes.into_iter().rev().flatten() {
            change.apply(&mut rows)?;
        }
        Ok(Some(rows))
    }

    fn origins(&self, project: &ProjectId) -> Result<HashMap<String, Origin>, TraceError> {
        let mut origins = HashMap::new();
        self.each_table(project, &mut |digest, entry_type, record| {
            // The first one counts: it is made of what was there before, so that a table which
            // was updated back to what it was does not go round in a circle.
            if entry_type != EntryType::TableUpdate {
                origins.insert(digest.to_owned(), Origin::Rows);
            } else if let Some(update) = self.update_of(record) {
                origins.entry(digest.to_owned()).or_insert(update);
            }
            ControlFlow::Continue(())
        })?;
        Ok(origins)
    }

    fn update_of(&self, record: &StoredRecord) -> Option<Origin> {
        let said = Entry::of_record(record).ok()?.value();
        let base = said["base_digest"].as_str()?.to_owned();
        let changes = list(&said, "updates").ok()?.iter();
        let changes = changes.map(|update| Change::read(update, |row| self.digest_of(row)));
        Some(Origin::Update { base, changes: changes.collect::<Result<_, _>>().ok()? })
    }

    fn rows_of_root(
        &self,
        project: &ProjectId,
        wanted: &str,
    ) -> Result<Option<Vec<String>>, TraceError> {
        let mut found = None;
        self.each_table(project, &mut |digest, entry_type, record| {
            if digest == wanted && entry_type != EntryType::TableUpdate {
                found = self.rows_in(entry_type, record);
            }
            if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    }

    fn rows_in(&self, entry_type: EntryType, record: &StoredRecord) -> Option<Vec<String>> {
        let said = Entry::of_record(record).ok()?.value();
        match entry_type {
            EntryType::TableCreate => {
                Some(list(&said, "rows").ok()?.iter().map(|row| self.digest_of(row)).collect())
            }
            _ => texts(list(&said, "row_digests").ok()?).ok(),
        }
    }

    fn each_table(
        &self,
        project: &ProjectId,
        visit: &mut dyn FnMut(&str, EntryType, &StoredRecord) -> ControlFlow<()>,
    ) -> Result<(), TraceError> {
        let Some(spool) = self.spool(project, Kind::Tables)? else { return Ok(()) };
        spool.each_from(&BTreeMap::new(), &mut |record| {
            let labels = &record.facts.labels;
            match (labels.get(DIGEST_LABEL), EntryType::of_name(&record.facts.kind)) {
                (Some(digest), Some(entry_type)) => visit(digest, entry_type, &record),
                _ => ControlFlow::Continue(()),
            }
        })?;
        Ok(())
    }
}

/// The items of a list of texts.
pub(super) fn texts(items: &[Value]) -> Result<Vec<String>, TraceError> {
    let text = |item: &Value| item.as_str().map(ToOwned::to_owned);
    items.iter().map(text).collect::<Option<_>>().ok_or_else(|| {
        bad("row_digests holds what is no text: expected the digests of rows".to_owned())
    })
}

fn bad(message: String) -> TraceError {
    TraceError::new(TraceErrorKind::InvalidInput, message)
}
