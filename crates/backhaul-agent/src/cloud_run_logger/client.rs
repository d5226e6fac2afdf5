//! The address, the connection, and one request over it.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::Clock;
use backhaul_sync::{LinkError, Verdict};
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Url};

use super::CloudConfigError;
use super::reply::{self, Reply};
use super::request::{self, Part};
use super::retry_after;

const SOURCE: HeaderName = HeaderName::from_static("backhaul-source");
const FLOOR: HeaderName = HeaderName::from_static("backhaul-floor");
const SEQUENCES: HeaderName = HeaderName::from_static("backhaul-sequences");

/// A connection that takes longer will not carry a batch either.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers of a hub are far below; a captive portal may send any amount.
const MOST_ANSWER_BYTES: usize = 1_000_000;
/// A server that is moved says so once or twice.
const MOST_REDIRECTS: usize = 5;

/// Where records are posted, and with what key.
pub(super) struct Endpoint {
    url: Url,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    tls: rustls::ClientConfig,
}

impl Endpoint {
    pub(super) fn new(
        api_url: &str,
        api_key: Option<&str>,
        timeout: Duration,
    ) -> Result<Self, CloudConfigError> {
        let url = intake_of(api_url)?;
        let authorization = api_key
            .map(|key| {
                let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| {
                    let why = "api_key cannot stand in a header: expected visible characters";
                    CloudConfigError(why.to_owned())
                })?;
                value.set_sensitive(true);
                Ok(value)
            })
            .transpose()?;
        let tls = tls_config(url.scheme() == "https")?;
        Ok(Self { url, authorization, timeout, tls })
    }

    /// A client with connections of its own.
    pub(super) fn client(&self) -> Result<Client, CloudConfigError> {
        Client::builder()
            .timeout(self.timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(self.timeout))
            .redirect(Policy::custom(follow))
            .referer(false)
            .user_agent(concat!("backhaul/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(self.tls.clone())
            .build()
            .map_err(|error| CloudConfigError(format!("cannot make an HTTP client: {error}")))
    }

    /// Posts records and reads what the hub says of each.
    pub(super) async fn post(
        &self,
        client: &Client,
        part: &Part,
        gzip: bool,
        clock: &dyn Clock,
    ) -> Result<Vec<Verdict>, LinkError> {
        let records = part.len();
        let encoded = if part.array().len() > request::LONG {
            // Long enough to hold up other tasks of this thread.
            let array = Arc::clone(part.array());
            let encoding = tokio::task::spawn_blocking(move || request::encode(&array, gzip));
            encoding.await.map_err(|error| LinkError::unreachable(error.to_string()))?
        } else {
            request::encode(part.array(), gzip)
        };
        let mut request = client
            .post(self.url.clone())
            .headers(self.headers(part)?)
            .header(header::CONTENT_TYPE, "application/json");
        if encoded.is_gzip {
            request = request.header(header::CONTENT_ENCODING, "gzip");
        }
        let sent = request.body(encoded.bytes).send().await;
        let mut response = sent.map_err(link_error)?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(link_error)? {
            if body.len() + chunk.len() > MOST_ANSWER_BYTES {
                return Err(LinkError::unreachable("the answer is longer than a hub's"));
            }
            body.extend_from_slice(&chunk);
        }
        let retry_after = retry_after::of(&headers, clock.now().wall);
        let location = text(&headers, header::LOCATION);
        reply::read(&Reply { status, body: &body, location, retry_after }, records)
    }

    fn headers(&self, part: &Part) -> Result<HeaderMap, LinkError> {
        let mut headers = HeaderMap::new();
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        if let Some(origin) = part.origin() {
            let lines = [
                (SOURCE, &origin.source),
                (FLOOR, &origin.floor.to_string()),
                (SEQUENCES, &origin.sequences),
            ];
            for (name, value) in lines {
                let value = HeaderValue::from_str(value);
                let value = value.map_err(|error| LinkError::refused(error.to_string()))?;
                headers.insert(name, value);
            }
        }
        Ok(headers)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &without_credentials(self.url.as_str()))
            .field("authorization", &self.authorization.as_ref().map(|_| "[redacted]"))
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Where the hub at `api_url` takes run records.
pub(super) fn intake_of(api_url: &str) -> Result<Url, CloudConfigError> {
    let shown = without_credentials(api_url);
    let bad = |why: &dyn fmt::Display| CloudConfigError(format!("api_url is {shown:?}: {why}"));
    let mut url = Url::parse(api_url.trim_end_matches('/')).map_err(|error| bad(&error))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(bad(&"expected http://HOST or https://HOST"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad(&"expected no query and no fragment"));
    }
    let path = format!("{}/v1/runs", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// An address as it may be shown: `https://user:secret@host/x` without what stands
/// before the host.
pub(super) fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest.get(..authority).and_then(|text| text.rfind('@')).map_or(0, |at| at + 1);
    format!("{scheme}://{}", rest.get(host..).unwrap_or_default())
}

/// Only a server that moves on its own host, keeps the method and does not go back to
/// plain HTTP is followed. Everything else may be a captive portal: records and key
/// stay here.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let keeps_method = matches!(attempt.status().as_u16(), 307 | 308);
    let previous = attempt.previous().last();
    let same_host = previous.is_some_and(|from| {
        let to = attempt.url();
        from.host_str() == to.host_str() && (from.scheme() == to.scheme() || to.scheme() == "https")
    });
    let is_loop = attempt.previous().len() > MOST_REDIRECTS;
    if keeps_method && same_host && !is_loop { attempt.follow() } else { attempt.stop() }
}

/// The machine's certificates, and ring's cryptography: the default provider would
/// bring a large C build with it.
fn tls_config(is_needed: bool) -> Result<rustls::ClientConfig, CloudConfigError> {
    use rustls_platform_verifier::BuilderVerifierExt as _;
    let bad = |error: &dyn fmt::Display| {
        CloudConfigError(format!("cannot check certificates on this machine: {error}"))
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = || {
        rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(&error))
    };
    match builder()?.with_platform_verifier() {
        Ok(verified) => Ok(verified.with_no_client_auth()),
        Err(error) if is_needed => Err(bad(&error)),
        // A plain address needs none: nothing is trusted then.
        Err(_) => Ok(builder()?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth()),
    }
}

/// Nothing that the transport says is about a record.
fn link_error(error: reqwest::Error) -> LinkError {
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        reason.push_str(": ");
        reason.push_str(&cause.to_string());
        source = cause.source();
    }
    if error.is_timeout() && !error.is_connect() {
        LinkError::timeout(reason)
    } else {
        LinkError::unreachable(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_completed_and_checked() {
        let url = |text| Endpoint::new(text, None, CONNECT_TIMEOUT).map(|it| it.url.to_string());
        assert_eq!(url("http://hub:7117").unwrap(), "http://hub:7117/v1/runs");
        assert_eq!(url("http://hub/base//").unwrap(), "http://hub/base/v1/runs");
        for bad in ["hub", "ftp://hub", "http://", "http://hub?x=1", "http://hub/#x"] {
            let error = url(bad).unwrap_err().to_string();
            assert!(error.starts_with("api_url is \""), "{error}");
        }
    }

    #[test]
    fn a_key_that_is_no_header_is_refused_without_being_shown() {
        let error = Endpoint::new("http://hub", Some("s3cret\n"), CONNECT_TIMEOUT).unwrap_err();
        assert!(!error.to_string().contains("s3cret"));
    }

    #[test]
    fn passwords_in_addresses_are_never_shown() {
        for (url, shown) in [
            ("https://u:p@hub/x", "https://hub/x"),
            ("https://hub/x@y", "https://hub/x@y"),
            ("http://u:p@a@hub", "http://hub"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
        let error = Endpoint::new("ftp://u:p@hub", None, CONNECT_TIMEOUT).unwrap_err();
        assert!(!error.to_string().contains("u:p"), "{error}");
    }
}
