//! A real Weave server: where its traces and its projects are, and one request to it.

use std::fmt;
use std::sync::Arc;

use backhaul_store::{Clock as _, SystemClock};
use backhaul_sync::header::{self, HeaderMap, HeaderValue};
use backhaul_sync::{
    Answer, Criticality, LinkError, Method, Request, Transport, Url, Way, shown_url,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::credentials::Credentials;
use crate::error::{TraceError, TraceErrorKind};

/// Most bytes of an answer to [`post_json`](Remote::post_json), all of which a data cap sets
/// aside for as long as it takes.
const ANSWER_BYTES: usize = 64 << 10;
/// Enough of an answer to recognise it.
const SHOWN: usize = 300;

/// A real Weave server and the key for it. Cheap to clone; clones are one.
///
/// ```
/// use backhaul_sync::Transport;
/// use backhaul_weave::{Credentials, Remote};
/// use std::time::Duration;
///
/// let transport = Transport::new(Duration::from_secs(60))?;
/// let remote = Remote::new(transport, None, Some("https://wandb.example"), Credentials::new(None))?;
/// assert_eq!(remote.trace_url().as_str(), "https://wandb.example/traces");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Remote {
    transport: Transport,
    trace_url: Arc<Url>,
    wandb_url: Arc<Url>,
    credentials: Credentials,
}

impl Remote {
    /// The hosted trace server.
    pub const TRACE_URL: &str = "https://trace.wandb.ai";
    /// The hosted server of projects, which speaks GraphQL.
    pub const WANDB_URL: &str = "https://api.wandb.ai";

    /// A server by the base of its traces and that of its GraphQL. Nothing is sent yet.
    ///
    /// `None` is the hosted one; but traces are at `{wandb_url}/traces` where `wandb_url`
    /// alone is given and is not the hosted one.
    ///
    /// # Errors
    /// [`TraceErrorKind::InvalidInput`] where one is no `http` or `https` URL, and where the
    /// machine has no certificates to check an `https` one with.
    pub fn new(
        transport: Transport,
        trace_url: Option<&str>,
        wandb_url: Option<&str>,
        credentials: Credentials,
    ) -> Result<Self, TraceError> {
        let wandb_url = wandb_url.unwrap_or(Self::WANDB_URL).trim_end_matches('/');
        let trace_url = match trace_url {
            Some(given) => given.trim_end_matches('/').to_owned(),
            None if wandb_url == Self::WANDB_URL => Self::TRACE_URL.to_owned(),
            None => format!("{wandb_url}/traces"),
        };
        let base = |text: &str| base_of(text, &transport).map(Arc::new);
        let (trace_url, wandb_url) = (base(&trace_url)?, base(wandb_url)?);
        Ok(Self { trace_url, wandb_url, transport, credentials })
    }

    /// The base of its trace server's paths.
    pub fn trace_url(&self) -> &Url {
        &self.trace_url
    }

    /// The base of its GraphQL server.
    pub fn wandb_url(&self) -> &Url {
        &self.wandb_url
    }

    /// Where its key comes from.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// What its requests are sent with.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// The way that its requests go at this moment.
    pub fn way(&self) -> Way {
        Way::to(&self.trace_url)
    }

    /// Sends a request to `path` of the trace server, a query included, with our key in the
    /// place of any other, and gives the answer, whatever its status is.
    ///
    /// An answer of success with a longer body than `answer_bytes` counts as none. `criticality` says
    /// what of a data cap it may use; `None`: it is counted, and no cap stops it.
    ///
    /// # Errors
    /// As of [`Transport::send`], and
    /// [`LinkErrorKind::Refused`](backhaul_sync::LinkErrorKind::Refused) where no key is known:
    /// nothing was sent then.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        answer_bytes: usize,
        criticality: Option<Criticality>,
    ) -> Result<Answer, LinkError> {
        let url = joined(&self.trace_url, path);
        self.send_to(Request { method, url, headers, body, answer_bytes, criticality }).await
    }

    async fn send_to(&self, mut request: Request) -> Result<Answer, LinkError> {
        let key = self.credentials.key(&self.wandb_url);
        let key = key.map_err(|error| LinkError::refused(error.to_string()))?;
        let basic = format!("Basic {}", STANDARD.encode(format!("api:{key}")));
        let basic = HeaderValue::from_str(&basic);
        let mut basic = basic.map_err(|_| LinkError::refused("the API key fits no header"))?;
        basic.set_sensitive(true);
        request.headers.insert(header::AUTHORIZATION, basic);
        self.transport.send(request).await
    }

    /// Posts JSON to `path` of the trace server and gives the JSON that it answers, 64 KiB at
    /// most; `null` where the answer is empty.
    ///
    /// # Errors
    /// Where the answer is none of success or no JSON, as
    /// [`LinkError::of_status`] has it, and as of [`send`](Remote::send).
    pub async fn post_json(&self, path: &str, body: &Value) -> Result<Value, LinkError> {
        read(&self.post_to(joined(&self.trace_url, path), body).await?)
    }

    /// Asks the server of projects, and gives the `data` of its answer.
    ///
    /// # Errors
    /// As of [`post_json`](Remote::post_json), and
    /// [`LinkErrorKind::Busy`](backhaul_sync::LinkErrorKind::Busy) where the answer has none.
    pub async fn graphql(&self, query: &str, variables: Value) -> Result<Value, LinkError> {
        let asked = json!({"query": query, "variables": variables});
        let answer = self.post_to(joined(&self.wandb_url, "/graphql"), &asked).await?;
        let mut said = read(&answer)?;
        match said.get_mut("data").map(Value::take) {
            Some(data) if !data.is_null() => Ok(data),
            _ => Err(LinkError::busy(format!("GraphQL: {}", reason_of(&answer.body)))),
        }
    }

    async fn post_to(&self, url: Url, body: &Value) -> Result<Answer, LinkError> {
        let body = backhaul_json::to_vec(body, backhaul_json::Style::Compact);
        self.send_to(Request {
            method: Method::POST,
            url,
            headers: json_headers(),
            body: body.into(),
            answer_bytes: ANSWER_BYTES,
            criticality: Some(Criticality::Normal),
        })
        .await
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("trace_url", &shown_url(self.trace_url.as_str()))
            .field("wandb_url", &shown_url(self.wandb_url.as_str()))
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

/// Those of a body that is JSON.
pub(crate) fn json_headers() -> HeaderMap {
    let json = HeaderValue::from_static("application/json");
    HeaderMap::from_iter([(header::CONTENT_TYPE, json)])
}

/// The JSON of an answer of success.
pub(crate) fn read(answer: &Answer) -> Result<Value, LinkError> {
    if !(200..300).contains(&answer.status) {
        return Err(refusal(answer));
    }
    if answer.body.trim_ascii().is_empty() {
        return Ok(Value::Null);
    }
    backhaul_json::from_slice(&answer.body).map_err(|_| {
        let shown = reason_of(&answer.body);
        LinkError::unreachable(format!("not a Weave server's answer: {shown}"))
            .with_status(answer.status)
    })
}

/// What an answer that is none of success means.
pub(crate) fn refusal(answer: &Answer) -> LinkError {
    let mut reason = reason_of(&answer.body);
    if let Some(to) = answer.header(header::LOCATION) {
        reason = format!("redirected to {:?} (is there a captive portal?)", shown_url(to));
    }
    let error = match is_word_on_what_was_asked(answer) {
        // Also said of all, where the project is gone: only with a witness it is one record's.
        true => LinkError::bad_batch(reason).with_status(answer.status).doubtful(),
        false => LinkError::of_status(answer.status, reason),
    };
    let error = match answer.retry_after(SystemClock::new().now().wall) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    };
    let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(&answer.body).is_ok();
    // A Weave server refuses in JSON.
    if is_json { error } else { error.doubtful() }
}

/// Whether a 404 is about what was asked for, and not about the path: a Weave server gives a
/// `reason` then, where its framework has none.
fn is_word_on_what_was_asked(answer: &Answer) -> bool {
    #[derive(serde::Deserialize)]
    struct Said {
        #[serde(rename = "reason")]
        _reason: serde::de::IgnoredAny,
    }
    answer.status == 404 && serde_json::from_slice::<Said>(&answer.body).is_ok()
}

/// The beginning of a body, on one line.
pub(crate) fn reason_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.join(" ") {
        empty if empty.is_empty() => "no reason given".to_owned(),
        text => text.chars().take(SHOWN).collect(),
    }
}

fn base_of(text: &str, transport: &Transport) -> Result<Url, TraceError> {
    let bad = |why: &dyn fmt::Display| {
        let shown = shown_url(text);
        let message = format!("{shown:?} is no address of a Weave server: {why}");
        TraceError::new(TraceErrorKind::InvalidInput, message)
    };
    let url = Url::parse(text).map_err(|error| bad(&error))?;
    transport.check(&url).map_err(|error| bad(&error))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad(&"expected no query and no fragment"));
    }
    Ok(url)
}

/// A name as a part of a path.
pub(crate) fn segment(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escaped = |byte: u8| {
        if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    name.bytes().map(escaped).collect()
}

/// A path below a base, with the query that it may have.
fn joined(base: &Url, path: &str) -> Url {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.set_query(query);
    url
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn remote(trace_url: Option<&str>, wandb_url: Option<&str>) -> Result<Remote, TraceError> {
        let transport = Transport::new(Duration::from_secs(1)).unwrap();
        Remote::new(transport, trace_url, wandb_url, Credentials::new(Some("s3cret".into())))
    }

    #[test]
    fn the_hosted_servers_are_meant_where_none_is_named() {
        for (trace, wandb, trace_url, wandb_url) in [
            (None, None, "https://trace.wandb.ai/", "https://api.wandb.ai/"),
            (
                None,
                Some("https://api.wandb.ai/"),
                "https://trace.wandb.ai/",
                "https://api.wandb.ai/",
            ),
            (None, Some("http://own:80/w/"), "http://own/w/traces", "http://own/w"),
            (Some("http://own:1/"), None, "http://own:1/", "https://api.wandb.ai/"),
            (Some("http://own:1"), Some("http://own:2"), "http://own:1/", "http://own:2/"),
        ] {
            let remote = remote(trace, wandb).unwrap();
            assert_eq!(remote.trace_url().as_str(), trace_url);
            assert_eq!(remote.wandb_url().as_str(), wandb_url);
        }
    }

    #[test]
    fn paths_stand_below_the_base() {
        let url = |base: &str, path| joined(&base.parse().unwrap(), path).to_string();
        assert_eq!(url("http://a/traces", "/call/read"), "http://a/traces/call/read");
        assert_eq!(url("http://a", "/tags?project_id=e/p"), "http://a/tags?project_id=e/p");
        let path = format!("/objs/{}/aliases", segment("a/b ?ö"));
        assert_eq!(url("http://a", &path), "http://a/objs/a%2Fb%20%3F%C3%B6/aliases");
    }

    #[test]
    fn a_bad_address_is_refused_and_no_secret_is_shown() {
        for bad in ["wandb", "ftp://user:hidden@host", "http://", "http://host?x=1"] {
            let error = remote(Some(bad), None).unwrap_err();
            assert_eq!(error.kind(), TraceErrorKind::InvalidInput);
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
        let shown = format!("{:?}", remote(Some("http://user:hidden@host"), None).unwrap());
        assert!(!shown.contains("hidden") && !shown.contains("s3cret"), "{shown}");
    }
}
