//! Which models there are.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use backhaul_llm::{Asked, LlmError, LlmErrorKind, LlmFuture, Metadata, RawRequest, Source};
use serde_json::{Value, json};

use super::Models;
use super::forms::{Given, signed};
use super::refused::Refused;

const PATH: &str = "/models";

/// All of whoever answers.
pub(super) async fn list(State(models): State<Models>, headers: HeaderMap) -> Response {
    models.catalog(&headers, None).await
}

/// One of them.
pub(super) async fn show(
    State(models): State<Models>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    models.catalog(&headers, Some(&id)).await
}

impl Models {
    async fn catalog(&self, headers: &HeaderMap, id: Option<&str>) -> Response {
        if let Err(refusal) = self.admit(headers) {
            return Refused::from(refusal).into_response();
        }
        let forwarded = self.forwarded(headers, None);
        let ask = |asked: Asked| -> LlmFuture<'_, Given> {
            let forwarded = forwarded.clone();
            Box::pin(async move {
                let list = match self.0.endpoints.of(&asked) {
                    // Not all servers know a path for one alone.
                    Some(endpoint) => {
                        let mut request = RawRequest::get(PATH);
                        if asked.source() == Source::Primary {
                            request.forwarded = forwarded;
                        }
                        endpoint.forward(request).await?.json().await?
                    }
                    None => json!({ "object": "list", "data": [own(asked.client().name())] }),
                };
                let body = match id {
                    Some(id) => find(&list, id, asked.source())?,
                    None => list,
                };
                Ok(Given::PassedWhole(Metadata::default(), body))
            })
        };
        match self.0.client.ask("", false, ask).await {
            Ok(Given::PassedWhole(metadata, body)) => signed(&metadata, body),
            Ok(_) => Refused::from(none("no list")).into_response(),
            Err(error) => Refused::from(error).into_response(),
        }
    }
}

/// A model in this process.
fn own(name: &str) -> Value {
    json!({ "id": name, "object": "model", "created": 0, "owned_by": "this device" })
}

/// A fallback answers for any model, so it has them all.
fn find(list: &Value, id: &str, source: Source) -> Result<Value, LlmError> {
    let models = list.get("data").and_then(Value::as_array);
    let found = models.into_iter().flatten().find(|it| it.get("id").is_some_and(|it| it == id));
    match found {
        None if source == Source::Fallback => Ok(own(id)),
        _ => found.cloned().ok_or_else(|| none(&format!("no model {id}"))),
    }
}

fn none(what: &str) -> LlmError {
    LlmError::new(LlmErrorKind::NotFound, format!("there is {what} at the server that answers"))
}
