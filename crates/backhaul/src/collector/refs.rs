//! What addresses lead to, some of it here and some of it at the server alone.

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::WeaveCollector;
use super::answers::{self, refusal};
use super::asked::Asked;
use crate::intake::Refusal;

pub(super) async fn read_batch(
    State(collector): State<WeaveCollector>,
    request: Request,
) -> Result<Response, Refusal> {
    match Asked::receive(&collector, request).await {
        Ok(asked) => collector.follow(asked).await,
        Err(refused) => Ok(refused),
    }
}

impl WeaveCollector {
    /// Follows addresses here, and has the server follow those that lead to nothing here.
    ///
    /// # Errors
    /// Those of the folder, where the server has no answer either.
    async fn follow(&self, mut asked: Asked) -> Result<Response, Refusal> {
        let collector = self.clone();
        let (question, found, mut asked) = self
            .intake()
            .work(move || {
                let question = collector.question(&mut asked)?;
                let found = collector.reads().refs_read_each(&question);
                Ok::<_, Refusal>((question, found, asked))
            })
            .await??;
        let found = match found {
            Ok(found) => found,
            Err(error) => return self.of_server(&asked).await.ok_or_else(|| refusal(&error)),
        };
        let refs = question["refs"].as_array().into_iter().flatten();
        let missing = refs.zip(&found).filter(|(_, found)| found.is_err());
        let missing: Vec<&Value> = missing.map(|(address, _)| address).collect();
        let mut others = Vec::new().into_iter();
        if !missing.is_empty() {
            asked.body = json!({"refs": missing}).to_string().into_bytes();
            others = self.vals_of_server(&asked).await.into_iter();
        }
        let mut values = Vec::new();
        for value in found {
            values.push(value.or_else(|error| others.next().ok_or_else(|| refusal(&error)))?);
        }
        answers::json(&json!({"vals": values}))
    }

    /// What the server says that addresses lead to; nothing where it has no answer.
    async fn vals_of_server(&self, asked: &Asked) -> Vec<Value> {
        let Some(answer) = self.of_server(asked).await else { return Vec::new() };
        // It was received whole, and no longer than such answers may be.
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap_or_default();
        match serde_json::from_slice::<Value>(&body).unwrap_or_default()["vals"].take() {
            Value::Array(values) => values,
            _ => Vec::new(),
        }
    }
}
