//! Projects, and what models cost.

use backhaul_store::RecordId;
use backhaul_sync::{LinkError, Verdict};
use serde_json::{Value, json};

use super::fates::{is_failure_of_the_server, is_refusal};
use super::job::Job;
use crate::entry::{Entry, EntryType};

/// Most bytes of the costs of a project, some hundred for each.
const COSTS: usize = 1 << 20;

pub(super) async fn deliver(job: &Job, entry: &Entry, id: &RecordId) -> Result<Verdict, LinkError> {
    if entry.entry_type() == EntryType::Project {
        // It was made before anything of it was sent: see `Server::target`.
        return Ok(Verdict::Delivered);
    }
    let mut request = job.value_of(entry);
    if job.is_in_doubt(id) && leave_out_known(job, &mut request).await? {
        return Ok(Verdict::Duplicate);
    }
    job.post("/cost/create", request).await?;
    Ok(Verdict::Delivered)
}

/// Takes out of a request what the server has: the same costs sent again would be there twice.
/// Says whether nothing is left. A server that cannot say what it has keeps none.
async fn leave_out_known(job: &Job, request: &mut Value) -> Result<bool, LinkError> {
    // Without a query of our own: with one, servers answer with other projects' costs too.
    let asked = json!({"project_id": request["project_id"]});
    let said = match job.post_for("/cost/query", asked, COSTS).await {
        Err(error) if is_refusal(&error) || is_failure_of_the_server(&error) => return Ok(false),
        said => said?,
    };
    let there = said["results"].as_array().cloned().unwrap_or_default();
    let Some(costs) = request["costs"].as_object_mut() else { return Ok(false) };
    costs.retain(|model, cost| !there.iter().any(|row| is_that(row, model, cost)));
    Ok(costs.is_empty())
}

/// Whether a row of the server's is this cost of a model.
fn is_that(row: &Value, model: &str, cost: &Value) -> bool {
    let is_same = |field: &str| row[field].as_f64() == cost[field].as_f64();
    row["llm_id"] == model && is_same("prompt_token_cost") && is_same("completion_token_cost")
}
