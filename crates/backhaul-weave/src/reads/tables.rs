//! Tables and their rows.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::calls::{SortBy, or_default, page};
use super::failure::{Failure, Result};
use super::index::{ROWS, TABLES, added_rows, hash};
use super::path;
use super::place::Place;
use super::project_reads::View;
use super::sql::Sql;
use crate::entry::EntryType;
use crate::kind::Kind;

/// How many tables may be made of one another: more than that is a circle.
const MAX_DEPTH: usize = 1000;

/// The body of `table/query`.
#[derive(Debug, Deserialize)]
pub(super) struct TableQuery {
    digest: String,
    #[serde(default, deserialize_with = "or_default")]
    filter: RowFilter,
    limit: Option<i64>,
    offset: Option<i64>,
    #[serde(default, deserialize_with = "or_default")]
    sort_by: Vec<SortBy>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct RowFilter {
    #[serde(deserialize_with = "or_default")]
    row_digests: Vec<String>,
}

/// A row of a table: its digest, and its value where the table's own record holds it.
struct Row {
    digest: String,
    value: Option<Value>,
}

/// Reads rows, a record once for all of them.
struct Rows<'a> {
    view: &'a View,
    records: HashMap<Place, Rc<Vec<Value>>>,
}

impl Rows<'_> {
    /// The value of a row of any table. `Ok(None)`: it is not here.
    fn value(&mut self, digest: &str) -> Result<Option<Value>> {
        let found = self.view.tables.open_table(ROWS)?.get(hash(digest))?;
        let Some((place, index)) = found.map(|found| found.value()) else { return Ok(None) };
        let rows = self.of_record(Place(place))?;
        Ok(usize::try_from(index).ok().and_then(|index| rows.get(index)).cloned())
    }

    /// The rows that a record brought along.
    fn of_record(&mut self, place: Place) -> Result<Rc<Vec<Value>>> {
        if let Some(rows) = self.records.get(&place) {
            return Ok(Rc::clone(rows));
        }
        let mut data = self.view.reads.bodies.value(Kind::Tables, place)?;
        let rows = match data["rows"].take() {
            Value::Array(rows) => rows,
            _ => added_rows(list(&data["updates"])).cloned().collect(),
        };
        let rows = Rc::new(rows);
        self.records.insert(place, Rc::clone(&rows));
        Ok(rows)
    }
}

/// The rows of a table that are wanted.
pub(super) fn query(view: &View, query: &TableQuery) -> Result<Vec<Value>> {
    let mut rows = Rows { view, records: HashMap::new() };
    let wanted: HashSet<&str> = query.filter.row_digests.iter().map(String::as_str).collect();
    let table = of_table(view, &query.digest)?.unwrap_or_default();
    let mut found: Vec<(usize, Row)> = table.into_iter().enumerate().collect();
    found.retain(|(_, row)| wanted.is_empty() || wanted.contains(row.digest.as_str()));
    let (skipped, taken) = page(query.limit, query.offset);
    let taken = if query.limit == Some(0) { 0 } else { taken };
    if !query.sort_by.is_empty() {
        sort(&mut found, &query.sort_by, &mut rows)?;
    }
    let mut page = Vec::new();
    for (index, row) in found.into_iter().skip(skipped).take(taken) {
        let value = row.value.map_or_else(|| rows.value(&row.digest), |value| Ok(Some(value)))?;
        page.extend(
            value.map(|value| json!({"digest": row.digest, "val": value, "original_index": index})),
        );
    }
    Ok(page)
}

fn sort(found: &mut Vec<(usize, Row)>, sort_by: &[SortBy], rows: &mut Rows<'_>) -> Result<()> {
    if let Some(bad) =
        sort_by.iter().find(|by| by.field.split('.').any(|part| part.trim().is_empty()))
    {
        let message = format!("cannot sort by {:?}: a part of the field is empty", bad.field);
        return Err(Failure::invalid(message));
    }
    let mut keyed: Vec<(Vec<Sql>, (usize, Row))> = Vec::new();
    for (index, row) in found.drain(..) {
        let value = match row.value {
            Some(value) => Some(value),
            None => rows.value(&row.digest)?,
        };
        let Some(value) = value else { continue };
        let key = |by: &SortBy| path::get(&value, &by.field).map_or(Sql::Null, Sql::of_json);
        let keys = sort_by.iter().map(key).collect();
        keyed.push((keys, (index, Row { digest: row.digest, value: Some(value) })));
    }
    keyed.sort_by(|(one, _), (other, _)| super::calls::compare(one, other, sort_by));
    found.extend(keyed.into_iter().map(|(_, row)| row));
    Ok(())
}

/// The number of rows of each table that is here.
pub(super) fn counts(view: &View, digests: &[String]) -> Result<Vec<(String, u64)>> {
    let mut seen = HashSet::new();
    let mut counts = Vec::new();
    for digest in digests.iter().filter(|digest| seen.insert(digest.as_str())) {
        let known = view.tables.open_table(TABLES)?.get(digest.as_str())?;
        let Some((_, count)) = known.map(|known| known.value()) else { continue };
        let count = match count {
            // Of an update it was not known when it was stored.
            0 => of_table(view, digest)?.map_or(0, |rows| rows.len() as u64),
            count => count,
        };
        counts.push((digest.clone(), count));
    }
    Ok(counts)
}

/// The value of a row.
pub(super) fn row(view: &View, digest: &str) -> Result<Option<Value>> {
    Rows { view, records: HashMap::new() }.value(digest)
}

/// The rows of a table in their order. `Ok(None)`: it is not here.
fn of_table(view: &View, digest: &str) -> Result<Option<Vec<Row>>> {
    // From the table to the one that it was made of, and so on.
    let (mut updates, mut next) = (Vec::new(), digest.to_owned());
    let mut rows = loop {
        let place = view.tables.open_table(TABLES)?.get(next.as_str())?;
        let Some((place, _)) = place.map(|place| place.value()) else { return Ok(None) };
        let entry = view.reads.bodies.entry(Kind::Tables, Place(place))?;
        let mut data = entry.value();
        match entry.entry_type() {
            EntryType::TableUpdate if updates.len() < MAX_DEPTH => {
                updates.push(data["updates"].take());
                next = data["base_digest"].as_str().unwrap_or_default().to_owned();
            }
            EntryType::TableCreate => break created(view, &next, data["rows"].take()),
            _ => {
                let digests = list(&data["row_digests"]).iter().filter_map(Value::as_str);
                let row = |digest: &str| Row { digest: digest.to_owned(), value: None };
                break digests.map(row).collect();
            }
        }
    };
    for updates in updates.iter().rev() {
        list(updates).iter().for_each(|update| apply(view, &mut rows, update));
    }
    Ok(Some(rows))
}

fn created(view: &View, digest: &str, rows: Value) -> Vec<Row> {
    let Value::Array(rows) = rows else { return Vec::new() };
    let digests =
        super::index::row_digests(&rows, Some(digest), &|value| view.reads.source.digest_of(value));
    let row = |(digest, value)| Row { digest, value: Some(value) };
    digests.into_iter().zip(rows).map(row).collect()
}

/// Does to rows what one part of an update says. What is out of range says nothing.
fn apply(view: &View, rows: &mut Vec<Row>, update: &Value) {
    let row = |value: &Value| Row {
        digest: view.reads.source.digest_of(value),
        value: Some(value.clone()),
    };
    let index = |part: &Value| usize::try_from(part["index"].as_u64()?).ok();
    if let Some(value) = update["append"].get("row") {
        rows.push(row(value));
    } else if let Some(at) = index(&update["pop"]).filter(|at| *at < rows.len()) {
        rows.remove(at);
    } else if let Some(value) = update["insert"].get("row")
        && let Some(at) = index(&update["insert"]).filter(|at| *at <= rows.len())
    {
        rows.insert(at, row(value));
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
