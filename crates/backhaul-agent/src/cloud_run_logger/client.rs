//! The address and the key, and one request to it.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_store::{Clock, Lane};
use backhaul_sync::{Criticality, LinkError, Method, Request, Transport, Verdict, Way, shown_url};
use reqwest::Url;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::CloudConfigError;
use super::reply::{self, Reply};
use super::request::{self, Part};
use crate::lock::lock;

const SOURCE: HeaderName = HeaderName::from_static("backhaul-source");
const FLOOR: HeaderName = HeaderName::from_static("backhaul-floor");
const SEQUENCES: HeaderName = HeaderName::from_static("backhaul-sequences");
const NEXT: HeaderName = HeaderName::from_static("backhaul-next");

/// A hub's answer is at most this long, with what it says of each record; a captive portal
/// may send any amount.
const ANSWER_BYTES: usize = 16_000;
const ANSWER_BYTES_PER_RECORD: usize = 1_000;
/// No hub can ask for more.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Where records are posted, and with what key.
pub(super) struct Endpoint {
    url: Url,
    authorization: Option<HeaderValue>,
    /// When the hub wants the next request, as it said with the last that it took. What is
    /// critical does not wait for it.
    next: Mutex<Option<Instant>>,
}

impl Endpoint {
    pub(super) fn new(
        api_url: &str,
        api_key: Option<&str>,
        transport: &Transport,
    ) -> Result<Self, CloudConfigError> {
        let url = intake_of(api_url)?;
        transport.check(&url).map_err(|error| bad_address(api_url, &error))?;
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
        Ok(Self { url, authorization, next: Mutex::default() })
    }

    /// The way to it.
    pub(super) fn way(&self) -> Way {
        Way::to(&self.url)
    }

    /// Posts records and reads what the hub says of each.
    pub(super) async fn post(
        &self,
        transport: &Transport,
        part: &Part,
        gzip: bool,
        clock: &dyn Clock,
    ) -> Result<Vec<Verdict>, LinkError> {
        self.wait_as_asked(part)?;
        let records = part.len();
        let encoded = if part.array().len() > request::LONG {
            // Long enough to hold up other tasks of this thread.
            let array = Arc::clone(part.array());
            let encoding = tokio::task::spawn_blocking(move || request::encode(&array, gzip));
            encoding.await.map_err(|error| LinkError::unreachable(error.to_string()))?
        } else {
            request::encode(part.array(), gzip)
        };
        let answer = transport
            .send(Request {
                method: Method::POST,
                url: self.url.clone(),
                headers: self.headers(part, encoded.is_gzip)?,
                body: encoded.bytes.into(),
                answer_bytes: ANSWER_BYTES + ANSWER_BYTES_PER_RECORD * records,
                criticality: Some(match part.lane() {
                    Some(Lane::Critical) => Criticality::Critical,
                    _ => Criticality::Normal,
                }),
            })
            .await?;
        let reply = Reply {
            status: answer.status,
            body: &answer.body,
            location: answer.header(header::LOCATION),
            retry_after: answer.retry_after(clock.now().wall),
        };
        if (200..300).contains(&reply.status) {
            *lock(&self.next) = reply.retry_after.map(|wait| Instant::now() + wait.min(LONGEST));
        }
        reply::read(&reply, records)
    }

    /// Says what the hub would say if it were asked before the time that it gave.
    fn wait_as_asked(&self, part: &Part) -> Result<(), LinkError> {
        let next = lock(&self.next).filter(|_| part.lane() != Some(Lane::Critical));
        let wait = next.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        if wait.is_zero() {
            return Ok(());
        }
        let reason = format!("it asked for the next batch in {} s", wait.as_secs().max(1));
        Err(LinkError::busy(reason).with_retry_after(wait))
    }

    fn headers(&self, part: &Part, is_gzip: bool) -> Result<HeaderMap, LinkError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if is_gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
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
            if origin.next > 0 {
                headers.insert(NEXT, HeaderValue::from(origin.next));
            }
        }
        Ok(headers)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &shown_url(self.url.as_str()))
            .field("authorization", &self.authorization.as_ref().map(|_| "[redacted]"))
            .finish()
    }
}

/// Where the hub at `api_url` takes run records.
pub(super) fn intake_of(api_url: &str) -> Result<Url, CloudConfigError> {
    let bad = |why: &dyn fmt::Display| bad_address(api_url, why);
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

fn bad_address(api_url: &str, why: &dyn fmt::Display) -> CloudConfigError {
    CloudConfigError(format!("api_url is {:?}: {why}", shown_url(api_url)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

    #[test]
    fn addresses_are_completed_and_checked() {
        let transport = Transport::new(MINUTE).unwrap();
        let url = |text| Endpoint::new(text, None, &transport).map(|it| it.url.to_string());
        assert_eq!(url("http://hub:7117").unwrap(), "http://hub:7117/v1/runs");
        assert_eq!(url("http://hub/base//").unwrap(), "http://hub/base/v1/runs");
        for bad in ["hub", "ftp://hub", "http://", "http://hub?x=1", "http://hub/#x"] {
            let error = url(bad).unwrap_err().to_string();
            assert!(error.starts_with("api_url is \""), "{error}");
        }
    }

    #[test]
    fn a_key_that_is_no_header_is_refused_without_being_shown() {
        let transport = Transport::new(MINUTE).unwrap();
        let error = Endpoint::new("http://hub", Some("s3cret\n"), &transport).unwrap_err();
        assert!(!error.to_string().contains("s3cret"));
    }

    #[test]
    fn passwords_in_addresses_are_never_shown() {
        let transport = Transport::new(MINUTE).unwrap();
        let error = Endpoint::new("ftp://u:p@hub", None, &transport).unwrap_err();
        assert!(!error.to_string().contains("u:p"), "{error}");
    }
}
