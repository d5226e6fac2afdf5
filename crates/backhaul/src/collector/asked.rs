//! A request to the collector, received whole.

use std::borrow::Cow;

use axum::extract::{RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::Response;
use backhaul_weave::{ProjectId, plain_json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::WeaveCollector;
use super::answers::bad;
use crate::intake::{Coding, Intake, Refusal, Share};

/// A request, and what it takes of the memory for all.
pub(super) struct Asked {
    pub(super) method: Method,
    /// Below the base of the trace server.
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    /// What stands in the path, by name.
    places: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) share: Share,
}

impl Asked {
    /// Receives a request of somebody who may log.
    ///
    /// # Errors
    /// The answer to one that is not taken.
    pub(super) async fn receive(
        collector: &WeaveCollector,
        request: Request,
    ) -> Result<Self, Response> {
        let (Parts { method, uri, headers, .. }, mut body) = request.into_parts();
        let intake = collector.intake();
        let mut share = intake.share();
        let received = match collector.admit(&headers) {
            Ok(()) => intake.receive(&headers, &mut body, &mut share).await,
            Err(refusal) => Err(refusal),
        };
        match received {
            Ok(body) => Ok(Self { method, uri, headers, places: Vec::new(), body, share }),
            Err(refusal) => Err(intake.refuse(refusal, headers, body)),
        }
    }

    pub(super) fn set_places(&mut self, places: &RawPathParams) {
        self.places = places.iter().map(|(name, text)| (name.into(), text.into())).collect();
    }

    /// What stands in the path under a name.
    pub(super) fn place(&self, name: &str) -> &str {
        let place = self.places.iter().find(|(known, _)| known == name);
        place.map_or("", |(_, text)| text.as_str())
    }

    /// A header, as far as it is plain text.
    pub(super) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Decompresses the body, once. Blocks.
    ///
    /// # Errors
    /// As of [`Intake::decompress`], and 415 for a coding that is not known.
    pub(super) fn decompress(&mut self, intake: &Intake) -> Result<&[u8], Refusal> {
        let coding = Coding::of_headers(&self.headers)?;
        let body = std::mem::take(&mut self.body);
        self.body = intake.decompress(body, coding, &mut self.share)?;
        self.headers.remove(header::CONTENT_ENCODING);
        Ok(&self.body)
    }

    /// The body as JSON, whatever the request says that it is. Blocks.
    ///
    /// # Errors
    /// As of [`decompress`](Asked::decompress), and 422 for what is no JSON.
    pub(super) fn json(&mut self, intake: &Intake) -> Result<Cow<'_, str>, Refusal> {
        let body = self.decompress(intake)?;
        plain_json(body)
            .map_err(|error| bad(format!("the body is {error}: expected a JSON object")))
    }
}

impl WeaveCollector {
    /// Whether who sent these headers may log, and notes the key that they bring for the real
    /// server, in memory.
    ///
    /// # Errors
    /// 401.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let key = key_of(headers);
        match &self.inner.token {
            Some(token) => token.check_or_key(headers, key.as_deref()),
            None => {
                if let Some(key) = key {
                    self.inner.upstream.note_client_key(&key);
                }
                Ok(())
            }
        }
    }
}

/// The key of a client: the password of `Basic`.
fn key_of(headers: &HeaderMap) -> Option<String> {
    let (scheme, credentials) =
        headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let credentials = STANDARD.decode(credentials.trim()).ok()?;
    let (_, key) = std::str::from_utf8(&credentials).ok()?.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| key.to_owned())
}

/// The project that a request names.
///
/// # Errors
/// 422 where the text names none.
pub(super) fn project_of(text: &str) -> Result<ProjectId, Refusal> {
    text.parse().map_err(|error: backhaul_weave::ProjectError| bad(error.to_string()))
}
