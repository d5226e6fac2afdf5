//! Tables: their rows, by which they are named.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use backhaul_store::StoredRecord;
use backhaul_sync::{LinkError, Verdict};
use serde_json::{Value, json};

use super::fates::is_no_path;
use super::job::{Job, SHORT};
use crate::digest;
use crate::entry::{Entry, EntryType};

/// Bytes of a row's digest in an answer, and some to spare.
const ROW: usize = 64;

/// Sends a table. A server that has it keeps it as it is, so that it may come twice.
pub(super) async fn deliver(
    job: &Job,
    entry: &Entry,
    record: &StoredRecord,
) -> Result<Verdict, LinkError> {
    let mut request = job.value_of(entry);
    let said = match entry.entry_type() {
        EntryType::TableFromDigests => from_digests(job, &mut request).await?,
        EntryType::TableUpdate => {
            replace(job, &mut request["base_digest"]);
            let rows = request["updates"].as_array().map_or(0, Vec::len);
            job.post_for("/table/update", request, SHORT + rows * ROW).await?
        }
        _ => create(job, entry, request).await?,
    };
    job.note_digest(record, &said).await?;
    Ok(Verdict::Delivered)
}

async fn create(job: &Job, entry: &Entry, mut table: Value) -> Result<Value, LinkError> {
    // The digest that a client expects is that of references as they stand here.
    if let Some(table) = table.as_object_mut() {
        table.shift_remove("expected_digest");
    }
    let rows = table["rows"].as_array().map_or(0, Vec::len);
    let answer_bytes = SHORT + rows * ROW;
    let said = job.post_for("/table/create", json!({"table": table}), answer_bytes).await?;
    note_rows(job, entry, &said["row_digests"]).await?;
    Ok(said)
}

/// Writes down which rows are called something else there. Ours were computed as far as the
/// server's name for the project was known then.
async fn note_rows(job: &Job, entry: &Entry, theirs: &Value) -> Result<(), LinkError> {
    let ours = entry.value();
    let (Some(rows), Some(theirs)) = (ours["rows"].as_array(), theirs.as_array()) else {
        return Ok(());
    };
    let mut digests = BTreeMap::new();
    for (row, theirs) in rows.iter().zip(theirs) {
        let Some(theirs) = theirs.as_str() else { continue };
        for ours in [job.server.offline.digest_of(row), digest::of_value(row)] {
            digests.insert(ours, theirs.to_owned());
        }
    }
    job.note_digests(digests).await
}

/// A table of rows that the server has; on older servers, one with the rows once more.
async fn from_digests(job: &Job, request: &mut Value) -> Result<Value, LinkError> {
    let ours = request["row_digests"].clone();
    request["row_digests"].as_array_mut().into_iter().flatten().for_each(|row| replace(job, row));
    if let Some(request) = request.as_object_mut() {
        request.shift_remove("expected_digest");
    }
    match job.post("/table/create_from_digests", request.take()).await {
        Err(error) if is_no_path(&error) => {
            let rows = rows_of(job, &ours).await?;
            let project = job.target.real.to_string();
            let answer_bytes = SHORT + rows.len() * ROW;
            let table = json!({"project_id": project, "rows": rows});
            job.post_for("/table/create", json!({"table": table}), answer_bytes).await
        }
        said => said,
    }
}

/// The rows that have these digests, from the tables that were logged.
async fn rows_of(job: &Job, digests: &Value) -> Result<Vec<Value>, LinkError> {
    let list = digests.as_array().cloned().unwrap_or_default();
    let wanted: BTreeSet<String> =
        list.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect();
    let offline = job.server.offline.clone();
    let mut found = job
        .with_spool(move |spool| {
            let mut found: BTreeMap<String, Value> = BTreeMap::new();
            spool.each_from(&BTreeMap::new(), &mut |record| {
                if record.facts.kind == EntryType::TableCreate.name()
                    && let Ok(entry) = Entry::of_record(&record)
                {
                    for row in entry.value()["rows"].as_array().into_iter().flatten() {
                        for digest in [offline.digest_of(row), digest::of_value(row)] {
                            if wanted.contains(&digest) {
                                found.insert(digest, row.clone());
                            }
                        }
                    }
                }
                ControlFlow::Continue(())
            })?;
            Ok(found)
        })
        .await?;
    for row in found.values_mut() {
        job.target.rewrite_refs(&job.server.digests, row);
    }
    let row = |digest: &Value| found.get(digest.as_str()?).cloned();
    list.iter().map(row).collect::<Option<Vec<Value>>>().ok_or_else(|| {
        LinkError::bad_batch("the server makes no tables of rows that it has, and not all are here")
    })
}

/// A digest of ours as the server has it.
pub(super) fn replace(job: &Job, digest: &mut Value) {
    let theirs = digest.as_str().and_then(|ours| job.server.digests.of(&job.target.local, ours));
    if let Some(theirs) = theirs {
        *digest = theirs.into();
    }
}
