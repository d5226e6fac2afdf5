//! Tables.

use axum::response::Response;
use serde_json::json;

use super::WeaveCollector;
use super::answers::{self, refusal};
use super::asked::Asked;
use super::fields::Fields;
use super::storing::project;
use crate::intake::Refusal;

pub(super) fn create(collector: &WeaveCollector, asked: &mut Asked) -> Result<Response, Refusal> {
    let body = asked.json(collector.intake())?;
    let table = Fields::read(&body, "the body")?.object("table")?;
    table.list("rows")?;
    let created = collector.server().create_table_json(&project(&table)?, table.as_text());
    let created = created.map_err(|error| refusal(&error))?;
    answers::json(&json!({"digest": created.digest, "row_digests": created.row_digests}))
}

pub(super) fn create_of_rows(
    collector: &WeaveCollector,
    asked: &mut Asked,
) -> Result<Response, Refusal> {
    let body = asked.json(collector.intake())?;
    let request = Fields::read(&body, "the body")?;
    request.list("row_digests")?;
    let created = collector.server().create_table_of_rows(&project(&request)?, request.as_text());
    answers::json(&json!({"digest": created.map_err(|error| refusal(&error))?}))
}

pub(super) fn update(collector: &WeaveCollector, asked: &mut Asked) -> Result<Response, Refusal> {
    let body = asked.json(collector.intake())?;
    let request = Fields::read(&body, "the body")?;
    let updated = collector.server().update_table(&project(&request)?, request.as_text());
    let updated = updated.map_err(|error| refusal(&error))?;
    let answer = json!({
        "digest": updated.digest,
        "updated_row_digests": updated.updated_row_digests,
    });
    answers::json(&answer)
}
