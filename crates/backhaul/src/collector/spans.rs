//! Spans in OpenTelemetry's form, which are kept as they come.

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use backhaul_weave::{Entry, EntryType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::WeaveCollector;
use super::asked::{Asked, project_of};
use super::storing::PROJECT_ID;
use crate::intake::Refusal;

/// The header that names the project.
const PROJECT: &str = "project_id";
const PROTOBUF: &str = "application/x-protobuf";

/// Nothing was rejected: an `ExportTraceServiceResponse` with no field set, which is no bytes
/// at all where it is protobuf.
pub(super) fn export(collector: &WeaveCollector, asked: &mut Asked) -> Result<Response, Refusal> {
    let Some(project_id) = asked.header(PROJECT) else {
        return Err(Refusal::bad_request(format!(
            "the header {PROJECT} is missing: expected {PROJECT_ID}"
        )));
    };
    let project = project_of(project_id)?;
    let content_type = asked.header(header::CONTENT_TYPE).unwrap_or(PROTOBUF).to_owned();
    let data = json!({
        "project_id": project_id,
        "path": asked.uri.path(),
        "content_type": content_type,
        "content_encoding": asked.header(header::CONTENT_ENCODING),
        "body": STANDARD.encode(&asked.body),
    });
    collector.log_all(vec![(project, Entry::of_value(EntryType::OtelExport, &data))])?;
    let is_json = content_type.starts_with("application/json");
    let answer = if is_json { "{}" } else { "" };
    let content_type = if is_json { "application/json" } else { PROTOBUF };
    Ok(([(header::CONTENT_TYPE, content_type)], answer).into_response())
}
