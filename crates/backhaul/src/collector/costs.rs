//! What models cost.

use axum::response::Response;
use backhaul_weave::EntryType;
use serde_json::json;

use super::WeaveCollector;
use super::answers;
use super::asked::Asked;
use super::fields::Fields;
use super::ids::NewIds;
use crate::intake::Refusal;

pub(super) fn create(collector: &WeaveCollector, asked: &mut Asked) -> Result<Response, Refusal> {
    let mut ids = NewIds::of(asked);
    let body = asked.json(collector.intake())?;
    let request = Fields::read(&body, "the body")?;
    let costs = request.object("costs")?;
    collector.log_request(EntryType::CostCreate, &request)?;
    let ids: Vec<_> = costs.names().map(|model| json!([ids.next(), model])).collect();
    answers::json(&json!({"ids": ids}))
}
