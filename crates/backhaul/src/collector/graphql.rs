//! As much of wandb's own server, which speaks GraphQL, as `weave.init` asks for.

use axum::extract::{Request, State};
use axum::response::Response;
use backhaul_weave::Remote;
use serde_json::{Value, json};

use super::WeaveCollector;
use super::answers;
use super::asked::Asked;
use super::fields::Fields;
use crate::intake::Refusal;

/// Asked of the real server for a moment; then answered from what is known.
pub(super) async fn answer(
    State(collector): State<WeaveCollector>,
    request: Request,
) -> Result<Response, Refusal> {
    let mut asked = match Asked::receive(&collector, request).await {
        Ok(asked) => asked,
        Err(refused) => return Ok(refused),
    };
    let body = asked.json(collector.intake())?.into_owned();
    let request = Fields::read(&body, "the body")?;
    let query = request.require_text("query", "a query of GraphQL")?;
    let variables = request.get("variables").unwrap_or("{}");
    let variables: Value = serde_json::from_str(variables).unwrap_or_default();
    let (question, filled) = (query.clone(), variables.clone());
    let ask = async |remote: Remote| remote.graphql(&question, filled).await;
    if let Some(data) = collector.upstream().ask(ask).await {
        learn(&collector, &data);
        return answers::json(&json!({"data": data}));
    }
    match invented(&collector, &query, &variables) {
        Some(data) => answers::json(&json!({"data": data})),
        None => Err(Refusal::unavailable(
            "this question is answered by wandb's server alone, which is not reachable at this \
             moment",
        )),
    }
}

/// Who asks, as the server knows it.
fn learn(collector: &WeaveCollector, data: &Value) {
    let viewer = &data["viewer"];
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    if let Some(username) = text(&viewer["username"]) {
        collector.known().learn(|said| {
            said.username = Some(username);
            said.entity = text(&viewer["defaultEntity"]["name"]).or_else(|| said.entity.take());
        });
    }
}

/// What is answered without the server: that there is any project that is asked for, under
/// its own name, and who was seen last.
fn invented(collector: &WeaveCollector, query: &str, variables: &Value) -> Option<Value> {
    let name = &variables["name"];
    match first_field(query) {
        "project" if name.is_string() && !query.contains("artifact") => {
            Some(json!({"project": {"name": name}}))
        }
        "upsertModel" if name.is_string() => {
            Some(json!({"upsertModel": {"model": {"name": name, "description": null}}}))
        }
        "viewer" => {
            let (username, entity) = (collector.known().username(), collector.known().entity());
            let viewer = json!({"username": username, "defaultEntity": {"name": entity}});
            Some(json!({"viewer": viewer}))
        }
        _ => None,
    }
}

/// What a query asks for first, such as `viewer`.
fn first_field(query: &str) -> &str {
    let selection = query.split_once('{').map_or("", |(_, selection)| selection.trim_start());
    let end = selection.find(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    selection.get(..end.unwrap_or(selection.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_query_asks_for_is_told_from_its_name_and_variables() {
        for (query, field) in [
            ("query Project($name: String!) {\n  project(name: $name) {\n    name\n", "project"),
            ("mutation UpsertModel($n: String!) {upsertModel(input: {}) {", "upsertModel"),
            ("{ viewer { username } }", "viewer"),
            ("query Nothing", ""),
            ("{", ""),
        ] {
            assert_eq!(first_field(query), field);
        }
    }
}
