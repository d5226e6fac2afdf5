//! A call of a model, received whole.

use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse as _, Response};
use backhaul_llm::{ApiKey, Form, Forwarded, LlmError, LlmErrorKind};
use serde_json::{Map, Value};

use super::Models;
use super::refused::Refused;
use crate::config::RecordCalls;
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
/// What of a call may be kept, from one who knows what it is about.
const RECORD: HeaderName = HeaderName::from_static("x-backhaul-record");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A call, and what it takes of the memory for all.
pub(super) struct Call {
    pub(super) body: Map<String, Value>,
    /// As it came, for a server that speaks the same.
    pub(super) bytes: Vec<u8>,
    /// What goes to the primary, and to nobody else.
    pub(super) forwarded: Forwarded,
    /// The most that the caller wants to be kept of it.
    pub(super) keep: RecordCalls,
    _share: Share,
}

impl Call {
    /// Receives a call of somebody who may ask, in one of the forms of a chat or another.
    ///
    /// # Errors
    /// The answer to one that is not taken.
    pub(super) async fn receive(
        models: &Models,
        form: Option<Form>,
        request: Request,
    ) -> Result<Self, Response> {
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
        let forwarded = models.forwarded(&headers, form);
        Self::read(models, &headers, forwarded, bytes, share).map_err(Refused::into_response)
    }

    fn read(
        models: &Models,
        headers: &HeaderMap,
        forwarded: Forwarded,
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
        Ok(Self { body, bytes, forwarded, keep: keep_of(headers)?, _share: share })
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
        let token = self.0.token.as_ref();
        token.map_or(Ok(()), |token| token.check_or_key(headers, key_of(headers)))
    }

    /// What of a caller's headers goes to the primary: his key, unless it is this gateway's
    /// token or another one is set for OpenAI's server, and what else says something.
    pub(super) fn forwarded(&self, headers: &HeaderMap, form: Option<Form>) -> Forwarded {
        let is_set = self.0.has_key && form != Some(Form::Messages);
        let key = key_of(headers).filter(|_| self.0.token.is_none() && !is_set);
        let passed = PASSED_ON.iter().filter_map(|name| Some((name, headers.get(name)?)));
        let headers = passed.map(|(name, value)| (name.clone(), value.clone())).collect();
        Forwarded { api_key: key.and_then(ApiKey::new), headers }
    }
}

/// What a caller wants to be kept of the call, where he says it.
fn keep_of(headers: &HeaderMap) -> Result<RecordCalls, LlmError> {
    let Some(said) = headers.get(RECORD) else { return Ok(RecordCalls::Full) };
    let found = RecordCalls::ALL.into_iter().find(|keep| keep.name().as_bytes() == said.as_bytes());
    found.ok_or_else(|| {
        let message = format!("{RECORD} is {said:?}: expected full, metadata or off");
        LlmError::new(LlmErrorKind::Invalid, message)
    })
}

/// The key that a client sends: as a bearer's, or where Anthropic's server looks for it.
fn key_of(headers: &HeaderMap) -> Option<&str> {
    let own = headers.get(X_API_KEY).and_then(|key| key.to_str().ok());
    own.or_else(|| {
        let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    })
}
