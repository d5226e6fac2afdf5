//! Embeddings, which the primary alone answers.

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use backhaul_llm::{
    Asked, EmbeddingEncoding, LlmError, LlmErrorKind, LlmFuture, Metadata, ModelCall, RawRequest,
    Source,
};
use serde_json::Value;

use super::Models;
use super::call::Call;
use super::forms::{Given, signed};
use super::refused::Refused;

const PATH: &str = "/embeddings";

pub(super) async fn answer(State(models): State<Models>, request: Request) -> Response {
    match Call::receive(&models, None, request).await {
        Ok(call) => answer_call(&models, call)
            .await
            .unwrap_or_else(|error| Refused::from(error).into_response()),
        Err(refused) => refused,
    }
}

async fn answer_call(models: &Models, call: Call) -> Result<Response, LlmError> {
    let model = call.model().to_owned();
    let Call { body, bytes, forwarded, patience, .. } = call;
    let encoding = EmbeddingEncoding::of_request(&Value::Object(body))?;
    let called = ModelCall { model: &model, patience, ..ModelCall::default() };
    let ask = |asked: Asked| -> LlmFuture<'_, Given> {
        let request = RawRequest::post(PATH, bytes.clone());
        let request = RawRequest { forwarded: forwarded.clone(), ..request };
        Box::pin(async move {
            if asked.source() != Source::Primary {
                let message = "embeddings are not asked of another model: vectors of two models \
                               cannot be compared";
                return Err(LlmError::new(LlmErrorKind::Unsupported, message));
            }
            let reply = models.0.endpoints.primary.forward(request).await?;
            let remarks = reply.remarks();
            let answer = reply.json().await?;
            let model = answer.get("model").and_then(Value::as_str).unwrap_or_default();
            let metadata = Metadata::of_model(model).with_remarks(remarks);
            Ok(Given::PassedWhole(metadata, encoding.encode(answer)?))
        })
    };
    match models.0.client.ask(called, ask).await? {
        Given::PassedWhole(metadata, body) => Ok(signed(&metadata, body)),
        _ => Err(LlmError::new(LlmErrorKind::Garbled, "the answer is no embedding")),
    }
}
