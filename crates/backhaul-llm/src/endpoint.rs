//! A server of models, by HTTP.

mod events;
mod failure;
mod reply;
mod secrets;

use std::fmt;
use std::time::Duration;

use backhaul_sync::header::{
    self, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue,
};
use backhaul_sync::{BandwidthManager, Method, Request, Transport, Url, shown_url};
use bytes::Bytes;

pub(crate) use self::events::Events;
pub use self::reply::RawReply;
use self::secrets::Secrets;
use crate::api_key::ApiKey;
use crate::clocks::{Clocks, Running};
use crate::error::{LlmError, LlmErrorKind};
use crate::request::Forwarded;

/// How long the network of a server may be silent, although it was asked for a sign of life.
/// Longer than a cell's handover, and far shorter than a slow model's silence.
const DEAD_AFTER: Duration = Duration::from_secs(5);
/// The longest answer that is read as a whole: images in base64 are among them.
pub(crate) const MOST_ANSWER_BYTES: usize = 64 << 20;

/// What of a caller's headers is never passed on: what is between two machines alone, what is
/// made anew, and keys, which go their own way.
const NOT_FORWARDED: [HeaderName; 14] = [
    header::ACCEPT_ENCODING,
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::COOKIE,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    X_API_KEY,
];
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A server of models, by HTTP: where it is, what it is sent along with each request, and how
/// long it is waited for.
///
/// A connection whose network is gone is noticed within 5 s, however slow the model is.
///
/// ```
/// use backhaul_llm::{ApiKey, Endpoint};
/// let endpoint = Endpoint::new("https://models.example/v1")?;
/// let endpoint = endpoint.with_api_key(ApiKey::new("sk-0123"));
/// assert_eq!(endpoint.name(), "models.example");
/// # Ok::<(), backhaul_llm::LlmError>(())
/// ```
#[derive(Clone)]
pub struct Endpoint {
    name: String,
    base: Url,
    key_header: KeyHeader,
    api_key: Option<ApiKey>,
    headers: HeaderMap,
    clocks: Clocks,
    transport: Transport,
}

/// Where a server looks for the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyHeader {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// `x-api-key: KEY`.
    XApiKey,
}

/// Something to be sent to a server of models, of any form.
#[derive(Debug, Clone)]
pub struct RawRequest {
    /// What is asked for.
    pub method: Method,
    /// Where, behind the endpoint's address: `/embeddings`. With its query.
    pub path: String,
    /// The caller's own key and headers. Those that concern the connection alone, and keys
    /// among the headers, are left out.
    pub forwarded: Forwarded,
    /// What is sent along: JSON, unless the headers say otherwise.
    pub body: Bytes,
    /// Whether the answer is wanted in pieces (`"stream": true`): which [`Clocks`] run.
    pub in_pieces: bool,
}

impl RawRequest {
    /// A request without a body.
    pub fn get(path: impl Into<String>) -> Self {
        let (path, forwarded) = (path.into(), Forwarded::default());
        Self { method: Method::GET, path, forwarded, body: Bytes::new(), in_pieces: false }
    }

    /// A request with a body.
    pub fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, body: body.into(), ..Self::get(path) }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = shown_url(self.base.as_str());
        f.debug_struct("Endpoint").field("base", &base).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// The server at an address, which for most ends in `/v1`. On this machine it has the
    /// clocks of [`Clocks::LOCAL`], elsewhere those of [`Clocks::CLOUD`].
    ///
    /// # Errors
    /// [`LlmErrorKind::Invalid`] where it is no address of a web server.
    pub fn new(base_url: &str) -> Result<Self, LlmError> {
        let invalid = |why: String| {
            let shown = shown_url(base_url);
            let message = format!("{shown:?} is no address of a server of models: {why}");
            LlmError::new(LlmErrorKind::Invalid, message)
        };
        let base: Url = base_url.trim_end_matches('/').parse().map_err(|error| {
            invalid(format!("{error}; expected such as http://127.0.0.1:8080/v1"))
        })?;
        let clocks = if is_loopback(&base) { Clocks::LOCAL } else { Clocks::CLOUD };
        let transport = Transport::new(clocks.total).map_err(|error| {
            LlmError::new(LlmErrorKind::Unavailable, format!("cannot send anything: {error}"))
        })?;
        let transport = transport.with_connect_timeout(clocks.connect).with_dead_after(DEAD_AFTER);
        transport.check(&base).map_err(|error| invalid(error.to_string()))?;
        let host = base.host_str().unwrap_or_default();
        let name = base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let (key_header, headers) = (KeyHeader::Bearer, HeaderMap::new());
        Ok(Self { name, base, key_header, api_key: None, headers, clocks, transport })
    }

    /// With the key of the requests that bring none.
    #[must_use]
    pub fn with_api_key(self, key: impl Into<Option<ApiKey>>) -> Self {
        Self { api_key: key.into(), ..self }
    }

    /// Whether requests that bring no key have one.
    pub fn has_api_key(&self) -> bool {
        self.api_key.is_some()
    }

    /// With the key in `x-api-key`, where Anthropic's server looks for it.
    #[must_use]
    pub fn for_anthropic(self) -> Self {
        Self { key_header: KeyHeader::XApiKey, ..self }
    }

    /// With a header that goes along with each request, such as `OpenAI-Project`.
    ///
    /// # Errors
    /// Where the value is none of a header.
    pub fn with_header(
        mut self,
        name: HeaderName,
        value: &str,
    ) -> Result<Self, InvalidHeaderValue> {
        self.headers.insert(name, HeaderValue::from_str(value)?);
        Ok(self)
    }

    /// With other clocks.
    #[must_use]
    pub fn with_clocks(self, clocks: Clocks) -> Self {
        let transport = self.transport.with_connect_timeout(clocks.connect);
        Self { clocks, transport, ..self }
    }

    /// Counts everything against a data cap. No cap stops a request.
    #[must_use]
    pub fn with_bandwidth(self, budget: BandwidthManager) -> Self {
        Self { transport: self.transport.with_budget(budget), ..self }
    }

    /// With the name that reports have. Default: its host.
    #[must_use]
    pub fn with_name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// What it is called in reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long it is waited for.
    pub fn clocks(&self) -> Clocks {
        self.clocks
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.base)
    }

    /// The same server without `/v1` at the end of its address: where llama-server and Ollama
    /// tell of themselves.
    pub(crate) fn root(&self) -> Self {
        let mut root = self.clone();
        let path = self.base.path();
        root.base.set_path(path.strip_suffix("/v1").unwrap_or(path));
        root
    }

    /// Has the next request make a connection of its own: those of before may be dead, as
    /// after an outage.
    pub fn forget_connections(&self) {
        self.transport.forget_connections();
    }

    /// Sends a request of any form and gives the answer as it comes, where it is one of
    /// success.
    ///
    /// # Errors
    /// Everything else is classified here: [`LlmErrorKind::Unreachable`] where nothing of an
    /// answer came, [`LlmErrorKind::Timeout`], and what the server's own status and words say.
    /// Keys that it repeats are struck out.
    pub async fn forward(&self, request: RawRequest) -> Result<RawReply, LlmError> {
        self.forward_within(self.clocks, request).await
    }

    /// The same with clocks of its own.
    pub(crate) async fn forward_within(
        &self,
        clocks: Clocks,
        request: RawRequest,
    ) -> Result<RawReply, LlmError> {
        let running = if request.in_pieces {
            Running::of_pieces(clocks)
        } else {
            Running::of_a_whole(clocks)
        };
        let (request, secrets) = self.request(request)?;
        let opened = running.head(async {
            self.transport.open(request).await.map_err(|error| {
                let message = format!("{} cannot be reached: {}", self.name, error.reason());
                LlmError::new(LlmErrorKind::Unreachable, message)
            })
        });
        let incoming = opened.await.map_err(|error| self.named(error))?;
        RawReply::of(self.name.clone(), incoming, running, secrets).await
    }

    fn named(&self, error: LlmError) -> LlmError {
        match error.kind() {
            LlmErrorKind::Timeout => {
                let message = format!("{} did not answer in time: {}", self.name, error.message());
                LlmError::new(LlmErrorKind::Timeout, message)
            }
            _ => error,
        }
    }

    fn request(&self, request: RawRequest) -> Result<(Request, Secrets), LlmError> {
        let RawRequest { method, path, forwarded, body, .. } = request;
        let api_key = forwarded.api_key.or_else(|| self.api_key.clone());
        let mut headers = self.headers.clone();
        let passed = forwarded.headers.iter().filter(|(name, _)| !NOT_FORWARDED.contains(name));
        headers.extend(passed.map(|(name, value)| (Some(name.clone()), value.clone())));
        if !body.is_empty() && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(key) = &api_key {
            let (name, value) = match self.key_header {
                KeyHeader::Bearer => (header::AUTHORIZATION, format!("Bearer {}", key.reveal())),
                KeyHeader::XApiKey => (X_API_KEY, key.reveal().to_owned()),
            };
            let mut value = HeaderValue::from_str(&value).map_err(|_| {
                let message = format!("the key of {} has a byte that no key has", self.name);
                LlmError::new(LlmErrorKind::Credentials, message)
            })?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let url = self.url(&path)?;
        let secrets = Secrets::new(api_key);
        let answer_bytes = MOST_ANSWER_BYTES;
        Ok((Request { method, url, headers, body, answer_bytes, criticality: None }, secrets))
    }

    fn url(&self, path: &str) -> Result<Url, LlmError> {
        let (path, query) = path.split_once('?').map_or((path, None), |(a, b)| (a, Some(b)));
        if path.split('/').any(|part| part == "..") {
            let message = format!("{path:?} leads out of the address of {}", self.name);
            return Err(LlmError::new(LlmErrorKind::Invalid, message));
        }
        let mut url = self.base.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{}", path.trim_start_matches('/')));
        if query.is_some() {
            url.set_query(query);
        }
        Ok(url)
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_behind_the_address() {
        let url = |base: &str, path: &str| {
            Endpoint::new(base).unwrap().url(path).map(|url| url.to_string()).unwrap()
        };
        assert_eq!(url("http://a/v1", "/models"), "http://a/v1/models");
        assert_eq!(url("http://a/v1/", "models?x=1"), "http://a/v1/models?x=1");
        assert_eq!(url("http://a", "/v1/messages"), "http://a/v1/messages");
        assert_eq!(url("http://a/p?api-version=2", "/models"), "http://a/p/models?api-version=2");
        assert!(Endpoint::new("http://a/v1").unwrap().url("/../admin").is_err());
        let root = Endpoint::new("http://a/x/v1").unwrap().root();
        assert_eq!(root.url("/props").unwrap().as_str(), "http://a/x/props");
    }

    #[test]
    fn an_address_that_is_none_is_told_of_without_its_password() {
        for (base, expected) in [
            ("", "expected such as"),
            ("models.example/v1", "expected such as"),
            ("ftp://user:secret@models.example", "expected http://HOST or https://HOST"),
        ] {
            let error = Endpoint::new(base).unwrap_err();
            assert_eq!(error.kind(), LlmErrorKind::Invalid);
            assert!(error.message().contains(expected), "{error}");
            assert!(!error.message().contains("secret"), "{error}");
        }
        let shown = format!("{:?}", Endpoint::new("http://u:secret@a/v1").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn this_machine_is_known_by_any_of_its_names() {
        for (base, expected) in [
            ("http://127.0.0.1:8080/v1", true),
            ("http://localhost:11434/v1", true),
            ("http://[::1]/v1", true),
            ("http://192.168.1.2/v1", false),
            ("https://localhost.example/v1", false),
        ] {
            let endpoint = Endpoint::new(base).unwrap();
            assert_eq!(endpoint.is_loopback(), expected, "{base}");
            let clocks = if expected { Clocks::LOCAL } else { Clocks::CLOUD };
            assert_eq!(endpoint.clocks(), clocks);
        }
    }

    #[test]
    fn a_callers_headers_pass_but_for_those_of_its_connection_and_its_keys() {
        let endpoint = Endpoint::new("http://a/v1").unwrap().with_api_key(ApiKey::new("sk-own"));
        let mut request = RawRequest::post("/x", "{}");
        for (name, value) in [
            ("openai-project", "p"),
            ("accept-encoding", "gzip"),
            ("authorization", "Bearer sk-x"),
            ("x-api-key", "sk-x"),
            ("host", "b"),
        ] {
            let value = HeaderValue::from_static(value);
            request.forwarded.headers.insert(HeaderName::from_static(name), value);
        }
        let (sent, _) = endpoint.request(request.clone()).unwrap();
        let mut sent: Vec<_> = sent.headers.iter().map(|(k, v)| (k.as_str(), v)).collect();
        sent.sort_unstable_by_key(|(name, _)| *name);
        let expected = [
            ("authorization", "Bearer sk-own"),
            ("content-type", "application/json"),
            ("openai-project", "p"),
        ];
        assert_eq!(
            sent,
            expected.map(|(name, value)| (
                name,
                &*Box::leak(Box::new(HeaderValue::from_static(value)))
            ))
        );
        request.forwarded.api_key = ApiKey::new("sk-callers");
        let (sent, _) = endpoint.request(request).unwrap();
        assert_eq!(sent.headers["authorization"], "Bearer sk-callers");
        assert!(!format!("{sent:?}").contains("sk-callers"));
    }
}
