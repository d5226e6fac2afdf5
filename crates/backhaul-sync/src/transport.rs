//! HTTP over a link that costs money: what destinations send their requests with.
//!
//! A request is counted and paced piece by piece as it leaves, so that a cap holds and
//! a rate is kept whatever becomes of the answer.

mod answer;
mod connections;
mod http_date;
mod incoming;
mod metered_body;
mod shown_url;

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use backhaul_store::{Clock as _, SystemClock};
use reqwest::header::HeaderMap;
use reqwest::{Body, Method, Url};

pub use self::answer::Answer;
use self::connections::Connections;
pub use self::incoming::Incoming;
use self::metered_body::{MeteredBody, Traffic};
pub use self::shown_url::shown_url;
use crate::bandwidth::{BandwidthManager, CONNECTION_BYTES, Criticality, Reservation, wire_bytes};
use crate::blocking::blocking;
use crate::causes::with_causes;
use crate::link_error::LinkError;
use crate::tls::{is_the_clocks_fault, machine_config, tls_error, trustless_config};

/// A server that is moved says so once or twice.
const MOST_REDIRECTS: usize = 5;
/// The lines of a request that are not among its headers: host, length, agent, encoding.
const REQUEST_LINES: u64 = 200;
/// Most bytes of the head of an answer that are set aside.
const ANSWER_HEAD: u64 = 4_096;

/// An HTTP client for destinations: certificates checked by the machine's own, ring's
/// cryptography, redirects followed on the same host alone, one deadline for a whole
/// request, and all bytes counted where there is a data cap.
///
/// A connection is kept for the next request, until somebody says that it may be dead
/// ([`forget_connections`](Transport::forget_connections)).
///
/// Cheap to clone; clones share their connections, which belong to the tokio runtime that
/// they were made on ([`for_another_runtime`](Transport::for_another_runtime)).
///
/// ```
/// use backhaul_sync::Transport;
/// use std::time::Duration;
/// let transport = Transport::new(Duration::from_secs(60))?;
/// # let _ = transport;
/// # Ok::<(), backhaul_sync::TransportError>(())
/// ```
#[derive(Clone)]
pub struct Transport {
    /// Why no certificate can be checked.
    tls_trouble: Option<Arc<rustls::Error>>,
    timeout: Duration,
    budget: Option<BandwidthManager>,
    connections: Arc<Connections>,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked for.
    pub method: Method,
    /// Where to. `http` or `https`.
    pub url: Url,
    /// All headers but those that HTTP itself needs.
    pub headers: HeaderMap,
    /// What is sent along.
    pub body: bytes::Bytes,
    /// Most bytes of the answer's body. What sends more with a status of success is no server
    /// that was meant, such as a captive portal; the body of another answer is cut there. An
    /// answer that is read [piece by piece](Transport::open) is as long as it is.
    pub answer_bytes: usize,
    /// Whether it may use what a data cap keeps for critical records. `None`: it is counted,
    /// and no cap stops it.
    pub criticality: Option<Criticality>,
}

/// Why a [`Transport`] cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportError(String);

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TransportError {}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("timeout", &self.timeout)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

impl Transport {
    /// A transport whose requests may take `timeout`, from the look-up of the name to the
    /// last byte of the answer. What a rate limit makes a request wait comes on top.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(timeout: Duration) -> Result<Self, TransportError> {
        let (tls, tls_trouble) = match machine_config() {
            Ok(tls) => (tls, None),
            Err(error) => {
                let tls = trustless_config().map_err(|error| TransportError(error.to_string()))?;
                (tls, Some(Arc::new(error)))
            }
        };
        let connections = Connections::new(tls);
        connections.client()?;
        Ok(Self { tls_trouble, timeout, budget: None, connections: Arc::new(connections) })
    }

    /// Whether requests to an address can be made at all.
    ///
    /// # Errors
    /// When it is neither `http` nor `https`, or `https` and the machine has no
    /// certificates to check the server's with.
    pub fn check(&self, url: &Url) -> Result<(), TransportError> {
        match (url.scheme(), &self.tls_trouble) {
            ("https", Some(error)) => {
                Err(TransportError(format!("cannot check certificates on this machine: {error}")))
            }
            ("http" | "https", _) if url.has_host() => Ok(()),
            _ => Err(TransportError("expected http://HOST or https://HOST".to_owned())),
        }
    }

    /// Counts everything against a data cap, and keeps its rate.
    #[must_use]
    pub fn with_budget(mut self, budget: BandwidthManager) -> Self {
        self.budget = Some(budget);
        self
    }

    /// The same with connections of its own, for whose making it waits so long, from the
    /// look-up of the name to the end of the TLS handshake. Default: 10 s.
    #[must_use]
    pub fn with_connect_timeout(self, wait: Duration) -> Self {
        let connections = self.connections.with_connect_timeout(wait);
        Self { connections: Arc::new(connections), ..self }
    }

    /// The same with connections of its own, each of which counts as broken once the other
    /// machine has been silent for so long, although it was asked for a sign of life: a
    /// server may take its time, its network may not. By default a request waits for its
    /// deadline.
    ///
    /// A connection that nothing is sent over is asked after three fifths of the time, for
    /// about 100 bytes both ways.
    #[must_use]
    pub fn with_dead_after(self, silence: Duration) -> Self {
        let connections = self.connections.with_dead_after(silence);
        Self { connections: Arc::new(connections), ..self }
    }

    /// The data cap that everything is counted against.
    pub fn budget(&self) -> Option<&BandwidthManager> {
        self.budget.as_ref()
    }

    /// The same with connections of its own, for a runtime of its own.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn for_another_runtime(&self) -> Result<Self, TransportError> {
        let connections = self.connections.afresh();
        connections.client()?;
        Ok(Self { connections: Arc::new(connections), ..self.clone() })
    }

    /// Has the next request make a connection of its own: those of before may be dead, as
    /// after an outage. A request under way goes on.
    pub fn forget_connections(&self) {
        self.connections.forget();
    }

    /// Sends a request and reads the answer, whatever its status is.
    ///
    /// Dropping the future breaks the request off; what had left is counted.
    ///
    /// # Errors
    /// [`LinkErrorKind::Unreachable`](crate::LinkErrorKind::Unreachable) and
    /// [`Timeout`](crate::LinkErrorKind::Timeout) where there is no whole answer,
    /// [`OverBudget`](crate::LinkErrorKind::OverBudget) where the data cap forbids it:
    /// nothing was sent then.
    pub async fn send(&self, mut request: Request) -> Result<Answer, LinkError> {
        for _ in 0..MOST_REDIRECTS {
            let answer = self.send_once(&request).await?;
            match answer::moved_to(answer.status, &answer.headers, &request.url) {
                Some(url) => request.url = url,
                None => return Ok(answer),
            }
        }
        Err(too_many_redirects())
    }

    /// Sends a request and gives the answer as soon as its head is there, whatever its status
    /// is. There is no deadline: how long to wait for the head and for each piece is for the
    /// caller to say.
    ///
    /// A request that meets a connection which the server has closed meanwhile is sent once
    /// more, on a new one.
    ///
    /// Dropping the future, or what it gives, breaks the request off.
    ///
    /// # Errors
    /// As for [`send`](Self::send), but for
    /// [`Timeout`](crate::LinkErrorKind::Timeout), which here means that the network is gone
    /// ([`with_dead_after`](Self::with_dead_after)).
    pub async fn open(&self, mut request: Request) -> Result<Incoming, LinkError> {
        for _ in 0..MOST_REDIRECTS {
            let incoming = match self.open_once(&request, None).await {
                // The server closes what it finds idle, and that may cross with a request: it
                // was not read then. A server that dies of a request looks the same; it gets
                // the request twice, never more often, and nobody has had an answer of it.
                Err(NotOpened { error: _, is_stale: true }) => {
                    self.connections.forget();
                    self.open_once(&request, None).await
                }
                opened => opened,
            };
            let incoming = incoming.map_err(|failed| failed.error)?;
            match answer::moved_to(incoming.status, &incoming.headers, &request.url) {
                Some(url) => request.url = url,
                None => return Ok(incoming),
            }
        }
        Err(too_many_redirects())
    }

    async fn send_once(&self, request: &Request) -> Result<Answer, LinkError> {
        let incoming = self.open_once(request, Some(self.timeout)).await;
        incoming.map_err(|failed| failed.error)?.whole(request.answer_bytes).await
    }

    async fn open_once(
        &self,
        request: &Request,
        timeout: Option<Duration>,
    ) -> Result<Incoming, NotOpened> {
        let may_be_kept = self.connections.may_be_kept();
        let is_reused = self.connections.take_open();
        let traffic = self.traffic(request, is_reused).await?;
        let (method, url) = (request.method.clone(), request.url.clone());
        let client = self.connections.client();
        let client = client.map_err(|error| LinkError::unreachable(error.to_string()))?;
        let mut sending = client.request(method, url).headers(request.headers.clone());
        let (body, pacing) = match &traffic {
            Some(traffic) => {
                traffic.count(wire_bytes(head_of(request)));
                let body = MeteredBody::new(request.body.clone(), traffic.clone());
                let pacing = traffic.wait_for(wire_bytes(request.body.len() as u64));
                (Body::wrap(body), pacing)
            }
            None => (Body::from(request.body.clone()), Duration::ZERO),
        };
        if let Some(timeout) = timeout {
            sending = sending.timeout(timeout.saturating_add(pacing));
        }
        match sending.body(body).send().await {
            Ok(response) => Ok(Incoming::new(response, traffic, Arc::clone(&self.connections))),
            Err(error) => {
                let is_stale = may_be_kept && was_closed(&error);
                Err(NotOpened { error: self.not_opened(error), is_stale })
            }
        }
    }

    fn not_opened(&self, error: reqwest::Error) -> LinkError {
        if error.is_connect() && error.is_timeout() {
            let wait = self.connections.connect_timeout();
            return LinkError::unreachable(format!("connect: no connection within {wait:?}"));
        }
        link_error(error)
    }

    /// What a request is counted with, where something counts.
    async fn traffic(
        &self,
        request: &Request,
        is_reused: bool,
    ) -> Result<Option<Traffic>, LinkError> {
        let Some(budget) = &self.budget else { return Ok(None) };
        let connection = if is_reused { 0 } else { CONNECTION_BYTES };
        let reservation = match request.criticality {
            Some(kind) => Some(reserve(budget.clone(), request, kind).await?),
            None => None,
        };
        let traffic = Traffic::new(budget.clone(), reservation);
        traffic.count(connection);
        Ok(Some(traffic))
    }
}

/// Why there is no head of an answer.
struct NotOpened {
    error: LinkError,
    /// Whether the connection may be one of before, and the server has closed it.
    is_stale: bool,
}

impl From<LinkError> for NotOpened {
    fn from(error: LinkError) -> Self {
        Self { error, is_stale: false }
    }
}

/// Whether the connection ended before anything of the answer came.
fn was_closed(error: &reqwest::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    let is_end = |cause: &(dyn Error + 'static)| match cause.downcast_ref::<io::Error>() {
        Some(error) => {
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
        }
        None => cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(|error| error.is_incomplete_message() || error.is_canceled()),
    };
    !error.is_connect() && causes.any(is_end)
}

fn too_many_redirects() -> LinkError {
    LinkError::unreachable(format!("redirected more than {MOST_REDIRECTS} times"))
}

/// Sets aside the most that a request can come to, on a connection of its own.
async fn reserve(
    budget: BandwidthManager,
    request: &Request,
    kind: Criticality,
) -> Result<Reservation, LinkError> {
    let there = wire_bytes(head_of(request)) + wire_bytes(request.body.len() as u64);
    let back = wire_bytes(ANSWER_HEAD + request.answer_bytes as u64);
    let most = there + back + CONNECTION_BYTES;
    let reserved = blocking(move || budget.reserve(most, kind)).await;
    let reserved = reserved.ok_or_else(|| LinkError::unreachable("the data cap was not read"))?;
    Ok(reserved?)
}

/// Bytes of a request before its body.
fn head_of(request: &Request) -> u64 {
    REQUEST_LINES + request.url.as_str().len() as u64 + length(&request.headers)
}

/// Bytes of header lines.
fn length(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64).sum()
}

/// Nothing that the transport says is about a record.
fn link_error(error: reqwest::Error) -> LinkError {
    let error = error.without_url();
    let reason = with_causes(&error);
    let now = SystemClock::new().now().wall;
    if tls_error(&error).is_some_and(|error| is_the_clocks_fault(error, now)) {
        let what = "no connection, because the clock of this device is not set";
        LinkError::unreachable(format!("{what}: it says {now}: {reason}"))
    } else if error.is_timeout() && !error.is_connect() {
        LinkError::timeout(reason)
    } else {
        LinkError::unreachable(reason)
    }
}
