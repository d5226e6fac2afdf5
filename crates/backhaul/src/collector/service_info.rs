//! What a client asks of a trace server before it logs.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use backhaul_weave::{ProjectId, Remote};
use serde_json::{Value, json};

use super::WeaveCollector;
use super::answers::{self, bad};
use super::asked::Asked;
use super::fields::Fields;
use crate::intake::Refusal;

/// A client that is older than the version which is asked for would turn itself off.
const ANY_CLIENT: &str = "0.0.1";
/// Of the trace server, where it never said one.
const UNKNOWN: &str = "0.0.1";
/// Most bytes of the server's answer.
const ANSWER_BYTES: usize = 64 << 10;

pub(super) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

pub(super) async fn server_info(
    State(collector): State<WeaveCollector>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    collector.admit(&headers)?;
    if let Some(version) = collector.upstream().ask(version_of).await {
        collector.known().learn(|said| said.trace_server_version = version);
    }
    let version = collector.known().trace_server_version();
    let version = version.unwrap_or_else(|| UNKNOWN.to_owned());
    let info = json!({
        "min_required_weave_python_version": ANY_CLIENT,
        "trace_server_version": version,
    });
    Ok(Json(info).into_response())
}

async fn version_of(remote: Remote) -> Result<Option<String>, backhaul_sync::LinkError> {
    let (get, headers) = (backhaul_sync::Method::GET, HeaderMap::new());
    let answer =
        remote.send(get, "/server_info", headers, Default::default(), ANSWER_BYTES, None).await?;
    let info: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    Ok(info["trace_server_version"].as_str().map(ToOwned::to_owned))
}

/// What the server calls projects. Those of which that is not known are left out: a client
/// then takes the digests that it is answered, rather than make some of a wrong name.
pub(super) async fn projects_info(
    State(collector): State<WeaveCollector>,
    request: Request,
) -> Result<Response, Refusal> {
    let mut asked = match Asked::receive(&collector, request).await {
        Ok(asked) => asked,
        Err(refused) => return Ok(refused),
    };
    let names = project_names(&asked.json(collector.intake())?)?;
    let question = json!({"project_ids": names});
    let ask = async |remote: Remote| remote.post_json("/service/projects_info", &question).await;
    if let Some(answer) = collector.upstream().ask(ask).await {
        learn(&collector, &answer);
    }
    let info: Vec<Value> = names.iter().filter_map(|name| info_of(&collector, name)).collect();
    answers::json(&info)
}

fn project_names(body: &str) -> Result<Vec<String>, Refusal> {
    let names = Fields::read(body, "the body")?.list("project_ids")?;
    let names = names.iter().map(|name| serde_json::from_str(name.get()));
    names.collect::<Result<_, _>>().map_err(|_| bad("project_ids: expected a list of texts"))
}

fn learn(collector: &WeaveCollector, answer: &Value) {
    for info in answer.as_array().into_iter().flatten() {
        let text = |name: &str| info[name].as_str();
        let both = text("external_project_id").zip(text("internal_project_id"));
        let Some((name, id)) = both else { continue };
        if let Ok(project) = name.parse::<ProjectId>() {
            collector.server().set_internal_id(&project, id);
            collector.known().learn(|said| {
                said.internal_ids.insert(name.to_owned(), id.to_owned());
            });
        }
    }
}

fn info_of(collector: &WeaveCollector, name: &str) -> Option<Value> {
    let id = collector.server().internal_id(&name.parse().ok()?)?;
    Some(json!({"external_project_id": name, "internal_project_id": id}))
}
