//! Asks over HTTP.
//!
//! Each probe has a connection of its own, made in steps whose failures are told apart and
//! whose bytes are counted: name, connection, TLS, answer. A kept connection would be
//! cheaper, and would say of a network that is gone that it does not answer. TLS sessions
//! are resumed, so that certificates are sent once in a while only.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use backhaul_store::Clock;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use url::Url;

use super::check_url::CheckUrl;
use super::dial::{Counted, dial};
use super::probe::{Check, Probe, ProbeBytes, ProbeError, ProbeErrorKind};
use super::tls::WallClock;
use crate::blocking::blocking;
use crate::causes::with_causes;
use crate::tls::machine_config;

/// A server that is moved says so once or twice.
const MOST_REDIRECTS: usize = 5;
/// What is read of a body. Answers to health checks are far below; a portal may send any
/// amount.
const MOST_BODY: usize = 4 << 10;
/// What a head may take.
const MOST_HEAD: usize = 16 << 10;

/// Asks with a GET over HTTP/1.1, and TLS with this machine's certificates.
///
/// It connects directly, without a proxy. Certificates count by the clock that it is
/// given, and are read when they are first needed.
pub struct HttpProbe {
    clock: WallClock,
    tls: OnceCell<TlsConnector>,
}

impl HttpProbe {
    /// A probe that trusts the machine's certificates.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock: WallClock(clock), tls: OnceCell::new() }
    }

    /// A probe that trusts what `config` does. Its clock is replaced.
    pub fn with_tls(clock: Arc<dyn Clock>, config: ClientConfig) -> Self {
        let tls = OnceCell::new_with(Some(connector(&clock, config)));
        Self { clock: WallClock(clock), tls }
    }

    async fn follow(&self, url: &CheckUrl, bytes: &Arc<ProbeBytes>) -> Result<(), ProbeError> {
        let mut at = url.url().clone();
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.ask(&at, bytes).await?;
            match answer.redirect(&at)? {
                Some(next) => at = next,
                None => return answer.judge(url.expected_body()),
            }
        }
        Err(ProbeError::new(
            ProbeErrorKind::Status,
            format!("redirected more than {MOST_REDIRECTS} times"),
        ))
    }

    async fn ask(&self, url: &Url, bytes: &Arc<ProbeBytes>) -> Result<Answer, ProbeError> {
        let connection = dial(url, bytes).await?;
        if url.scheme() == "https" {
            exchange(self.shake_hands(url, connection).await?, url).await
        } else {
            exchange(connection, url).await
        }
    }

    async fn shake_hands(
        &self,
        url: &Url,
        connection: Counted,
    ) -> Result<tokio_rustls::client::TlsStream<Counted>, ProbeError> {
        let bad = |reason| ProbeError::new(ProbeErrorKind::Tls, reason);
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|error| bad(error.to_string()))?;
        let tls = self.tls.get_or_try_init(|| self.read_certificates()).await?;
        tls.connect(name, connection).await.map_err(|error| self.clock.explain(&error))
    }

    async fn read_certificates(&self) -> Result<TlsConnector, ProbeError> {
        let config = blocking(machine_config).await;
        let config = config.unwrap_or_else(|| Err(rustls::Error::General("it was stopped".into())));
        let config = config.map_err(|error| {
            let reason = format!("cannot check certificates on this machine: {error}");
            ProbeError::new(ProbeErrorKind::Tls, reason)
        })?;
        Ok(connector(&self.clock.0, config))
    }
}

impl Probe for HttpProbe {
    fn check<'a>(&'a self, url: &'a CheckUrl, bytes: &'a Arc<ProbeBytes>) -> Check<'a> {
        Box::pin(self.follow(url, bytes))
    }
}

impl fmt::Debug for HttpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpProbe").finish_non_exhaustive()
    }
}

fn connector(clock: &Arc<dyn Clock>, mut config: ClientConfig) -> TlsConnector {
    config.time_provider = Arc::new(WallClock(Arc::clone(clock)));
    TlsConnector::from(Arc::new(config))
}

/// One request over a connection, which ends with it.
async fn exchange<S>(stream: S, url: &Url) -> Result<Answer, ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shaken = http1::Builder::new().max_buf_size(MOST_HEAD).handshake(TokioIo::new(stream));
    let (mut sender, connection) = shaken.await.map_err(|error| broken(&error))?;
    let request = request(url)?;
    let mut answer = pin!(async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        Answer::read(response).await
    });
    tokio::select! {
        answer = &mut answer => answer,
        // Its last words may be waiting to be read.
        _ = connection => answer.await,
    }
}

fn request(url: &Url) -> Result<Request<Empty<Bytes>>, ProbeError> {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    Request::get(target)
        .header(header::HOST, format!("{}{port}", url.host_str().unwrap_or_default()))
        .header(header::USER_AGENT, concat!("backhaul/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        // What a cache on the way says of the far end is old.
        .header(header::CACHE_CONTROL, "no-cache, no-store")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| ProbeError::new(ProbeErrorKind::Status, error.to_string()))
}

fn broken(error: &hyper::Error) -> ProbeError {
    ProbeError::new(ProbeErrorKind::Connect, with_causes(error))
}

struct Answer {
    status: u16,
    location: Option<HeaderValue>,
    body: Vec<u8>,
}

impl Answer {
    async fn read(response: Response<hyper::body::Incoming>) -> Result<Self, ProbeError> {
        let status = response.status().as_u16();
        let location = response.headers().get(header::LOCATION).cloned();
        let mut incoming = response.into_body();
        let mut body = Vec::new();
        while body.len() < MOST_BODY
            && let Some(frame) = incoming.frame().await
        {
            let frame = frame.map_err(|error| broken(&error))?;
            body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        }
        Ok(Self { status, location, body })
    }

    /// Where to ask instead. Only the same host is followed, and not back to plain HTTP:
    /// anything else may be a captive portal.
    fn redirect(&self, from: &Url) -> Result<Option<Url>, ProbeError> {
        if !matches!(self.status, 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let location = self.location.as_ref().and_then(|location| location.to_str().ok());
        let Some(to) = location.and_then(|location| from.join(location).ok()) else {
            let reason = format!("HTTP {} leads nowhere", self.status);
            return Err(ProbeError::new(ProbeErrorKind::Status, reason));
        };
        let keeps_host = from.host() == to.host();
        if keeps_host && (from.scheme() == to.scheme() || to.scheme() == "https") {
            return Ok(Some(to));
        }
        let host = to.host_str().unwrap_or_default();
        let reason = format!("redirected to {}://{host}", to.scheme());
        Err(ProbeError::new(ProbeErrorKind::Portal, reason))
    }

    fn judge(&self, expected_body: Option<&str>) -> Result<(), ProbeError> {
        let status = self.status;
        if !(200..=299).contains(&status) {
            // Only networks answer 511, never the far end (RFC 6585, 6).
            let kind = match status {
                511 => ProbeErrorKind::Portal,
                _ => ProbeErrorKind::Status,
            };
            return Err(ProbeError::new(kind, format!("HTTP {status}")));
        }
        let is_expected =
            |expected: &str| self.body.trim_ascii_start().starts_with(expected.as_bytes());
        if expected_body.is_none_or(is_expected) {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&self.body);
        let begin: String = text.trim_start().chars().take(60).collect();
        let reason = format!("the body begins with {begin:?}, expected {expected_body:?}");
        Err(ProbeError::new(ProbeErrorKind::Portal, reason))
    }
}
