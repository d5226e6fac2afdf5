//! A call of a model, received whole.

use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse as _, Response};
use backhaul_llm::{ApiKey, Forwarded, LlmError, LlmErrorKind};
use serde_json::{Map, Value};

use super::Models;
use super::refused::Refused;
use crate::intake::{Coding, Refusal, Share};

/// Headers that say something to the primary's server.
static PASSED_ON: [HeaderName; 7] = [
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("anthropic-beta"),
    HeaderName::from_static("idempotency-key"),
    header::USER_AGENT,
];
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A call, and what it takes of the memory for all.
pub(super) struct Call {
    pub(super) body: Map<String, Value>,
    /// As it came, for a server that speaks the same.
    pub(super) bytes: Vec<u8>,
    /// What goes to the primary, and to nobody else.
    pub(super) forwarded: Forwarded,
    _share: Share,
}

impl Call {
    /// Receives a call of somebody who may ask.
    ///
    /// # Errors
    /// The answer to one that is not taken.
    pub(super) async fn receive(models: &Models, request: Request) -> Result<Self, Response> {
        let (Parts { headers, .. }, mut body) = request.into_parts();
        let intake = &models.0.intake;
        let mut share = intake.share();
        let received = match models.admit(&headers) {
            Ok(()) => intake.receive(&headers, &mut body, &mut share).await,
            Err(refusal) => Err(refusal),
        };
        let bytes = match received {
            Ok(bytes) => bytes,
            Err(refusal) => {
                let refused = Refused::from(refusal.clone());
                let mut response = intake.refuse(refusal, headers, body);
                let (parts, body) = refused.into_response().into_parts();
                response.headers_mut().extend(parts.headers);
                *response.body_mut() = body;
                return Err(response);
            }
        };
        Self::read(models, &headers, bytes, share).map_err(Refused::into_response)
    }

    fn read(
        models: &Models,
        headers: &HeaderMap,
        bytes: Vec<u8>,
        mut share: Share,
    ) -> Result<Self, Refused> {
        let coding = Coding::of_headers(headers)?;
        let bytes = models.0.intake.decompress(bytes, coding, &mut share)?;
        let body = serde_json::from_slice(&bytes).map_err(|error| {
            let message =
                format!("the body is no JSON object ({error}): expected such as {{\"model\": …}}");
            LlmError::new(LlmErrorKind::Invalid, message)
        })?;
        Ok(Self { body, bytes, forwarded: models.forwarded(headers), _share: share })
    }

    /// The model that the caller names.
    pub(super) fn model(&self) -> &str {
        self.body.get("model").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether the answer is wanted in pieces.
    pub(super) fn is_streamed(&self) -> bool {
        self.body.get("stream").and_then(Value::as_bool).unwrap_or(false)
    }
}

impl Models {
    /// # Errors
    /// 401 where a token is asked for and the request does not show it.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match &self.0.token {
            Some(token) => token.check_or_key(headers, key_of(headers)),
            None => Ok(()),
        }
    }

    /// What of a caller's headers goes to the primary: his key, unless it is this gateway's
    /// token or a key is set, and what else says something to its server.
    pub(super) fn forwarded(&self, headers: &HeaderMap) -> Forwarded {
        let is_own = self.0.token.is_some() || self.0.has_key;
        let api_key = key_of(headers).filter(|_| !is_own).and_then(ApiKey::new);
        let passed = PASSED_ON.iter().filter_map(|name| Some((name, headers.get(name)?)));
        let headers = passed.map(|(name, value)| (name.clone(), value.clone())).collect();
        Forwarded { api_key, headers }
    }
}

/// The key that a client sends: OpenAI's as a bearer's, Anthropic's in a header of its own.
fn key_of(headers: &HeaderMap) -> Option<&str> {
    let own = headers.get(X_API_KEY).and_then(|key| key.to_str().ok());
    own.or_else(|| {
        let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    })
}
