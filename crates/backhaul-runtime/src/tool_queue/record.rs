//! A call as a record of the spool.

use backhaul_store::{Record, StoredRecord};

use super::queue_error::{ToolQueueError, ToolQueueErrorKind};
use crate::tools::{IdempotencyKey, Tool, ToolRequest};

/// What the records of calls are called.
const KIND: &str = "tool_call";
/// The label with the key of a call.
pub(super) const KEY: &str = "key";

pub(super) fn record_of(
    call: &ToolRequest,
    tool: Option<&dyn Tool>,
) -> Result<Record, ToolQueueError> {
    let body = serde_json::to_vec(call).map_err(|error| {
        let message = format!("the arguments of {} are no JSON: {error}", call.tool);
        ToolQueueError::new(ToolQueueErrorKind::InvalidOption, message)
    })?;
    let mut record = Record::new(KIND, body).stream(&call.tool).label(KEY, call.key.as_str());
    if let Some(run_id) = &call.run_id {
        record = record.label("run_id", run_id);
    }
    let Some(options) = tool.map(Tool::options) else { return Ok(record) };
    if let Some(age) = options.expires_after {
        record = record.expires_after(age);
    }
    if let Some(names) = &options.collapse_by {
        let told_by: Vec<_> = names.iter().map(|name| call.arguments.get(name)).collect();
        let step = serde_json::to_string(&told_by).unwrap_or_default();
        let none = serde_json::Map::new();
        record = record.collapse_key(IdempotencyKey::of(&call.tool, &none, &step).as_str());
    }
    Ok(record)
}

/// The call that a record holds.
pub(super) fn request_of(record: &StoredRecord) -> Result<ToolRequest, serde_json::Error> {
    serde_json::from_slice(&record.body)
}
