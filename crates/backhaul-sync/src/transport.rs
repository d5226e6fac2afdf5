//! HTTP over a link that costs money: what destinations send their requests with.
//!
//! A request is counted and paced piece by piece as it leaves, so that a cap holds and
//! a rate is kept whatever becomes of the answer.

mod answer;
mod http_date;
mod metered_body;
mod shown_url;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backhaul_store::{Clock as _, SystemClock};
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Body, Client, Method, Response, Url};
use tokio::time::Instant;

pub use self::answer::Answer;
use self::metered_body::{MeteredBody, Traffic};
pub use self::shown_url::shown_url;
use crate::bandwidth::{BandwidthManager, CONNECTION_BYTES, Criticality, Reservation, wire_bytes};
use crate::blocking::blocking;
use crate::causes::with_causes;
use crate::link_error::LinkError;
use crate::tls::{is_the_clocks_fault, machine_config, tls_error, trustless_config};

/// A connection that takes longer will not carry a batch either.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next request. Below what servers commonly keep.
const KEEP_IDLE: Duration = Duration::from_secs(50);
/// A server that is moved says so once or twice.
const MOST_REDIRECTS: usize = 5;
/// The lines of a request that are not among its headers: host, length, agent, encoding.
const REQUEST_LINES: u64 = 200;
/// The status line of an answer, and what separates its headers.
const ANSWER_LINES: u64 = 100;
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
    tls: rustls::ClientConfig,
    /// Why no certificate can be checked.
    tls_trouble: Option<Arc<rustls::Error>>,
    timeout: Duration,
    budget: Option<BandwidthManager>,
    kept: Arc<Mutex<Kept>>,
}

/// What is kept for the next request.
#[derive(Default)]
struct Kept {
    /// With its connections. None: the next request makes one.
    client: Option<Client>,
    /// When a connection was last left open.
    left_open: Option<Instant>,
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
    /// that was meant, such as a captive portal; the body of another answer is cut there.
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
        let kept = Kept { client: Some(client(&tls)?), left_open: None };
        Ok(Self { tls, tls_trouble, timeout, budget: None, kept: Arc::new(Mutex::new(kept)) })
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

    /// The data cap that everything is counted against.
    pub fn budget(&self) -> Option<&BandwidthManager> {
        self.budget.as_ref()
    }

    /// The same with connections of its own, for a runtime of its own.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn for_another_runtime(&self) -> Result<Self, TransportError> {
        let kept = Kept { client: Some(client(&self.tls)?), left_open: None };
        Ok(Self { kept: Arc::new(Mutex::new(kept)), ..self.clone() })
    }

    /// Has the next request make a connection of its own: those of before may be dead, as
    /// after an outage. A request under way goes on.
    pub fn forget_connections(&self) {
        *self.kept() = Kept::default();
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
            match answer.moved_to(&request.url) {
                Some(url) => request.url = url,
                None => return Ok(answer),
            }
        }
        Err(LinkError::unreachable(format!("redirected more than {MOST_REDIRECTS} times")))
    }

    async fn send_once(&self, request: &Request) -> Result<Answer, LinkError> {
        let traffic = self.traffic(request).await?;
        let (method, url) = (request.method.clone(), request.url.clone());
        let sending = self.client()?.request(method, url).headers(request.headers.clone());
        let (body, timeout) = match &traffic {
            Some(traffic) => {
                traffic.count(wire_bytes(head_of(request)));
                let body = MeteredBody::new(request.body.clone(), traffic.clone());
                let pacing = traffic.wait_for(wire_bytes(request.body.len() as u64));
                (Body::wrap(body), self.timeout.saturating_add(pacing))
            }
            None => (Body::from(request.body.clone()), self.timeout),
        };
        let sent = sending.timeout(timeout).body(body).send().await;
        let answer =
            read(sent.map_err(link_error)?, request.answer_bytes, traffic.as_ref()).await?;
        if let (Some(budget), "https", Some(date)) =
            (&self.budget, request.url.scheme(), answer.date())
        {
            let budget = budget.clone();
            blocking(move || budget.note_server_date(date)).await;
        }
        self.kept().left_open = Some(Instant::now());
        Ok(answer)
    }

    /// What a request is counted with, where something counts.
    async fn traffic(&self, request: &Request) -> Result<Option<Traffic>, LinkError> {
        let Some(budget) = &self.budget else { return Ok(None) };
        let connection = if self.has_connection() { 0 } else { CONNECTION_BYTES };
        let reservation = match request.criticality {
            Some(kind) => Some(reserve(budget.clone(), request, kind).await?),
            None => None,
        };
        let traffic = Traffic::new(budget.clone(), reservation);
        traffic.count(connection);
        Ok(Some(traffic))
    }

    /// Whether the last request has left a connection that this one can use.
    fn has_connection(&self) -> bool {
        self.kept().left_open.take().is_some_and(|at| at.elapsed() < KEEP_IDLE)
    }

    fn client(&self) -> Result<Client, LinkError> {
        let mut kept = self.kept();
        let client = match kept.client.take() {
            Some(client) => client,
            None => client(&self.tls).map_err(|error| LinkError::unreachable(error.to_string()))?,
        };
        Ok(kept.client.insert(client).clone())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // No call leaves it half changed.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn client(tls: &rustls::ClientConfig) -> Result<Client, TransportError> {
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(KEEP_IDLE)
        // Records and keys stay here unless the server itself has moved: see `moved_to`.
        .redirect(Policy::none())
        .referer(false)
        .user_agent(concat!("backhaul/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls.clone())
        .build()
        .map_err(|error| TransportError(format!("cannot make an HTTP client: {error}")))
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

async fn read(
    mut response: Response,
    most: usize,
    traffic: Option<&Traffic>,
) -> Result<Answer, LinkError> {
    let count = |bytes: u64| {
        if let Some(traffic) = traffic {
            traffic.count(wire_bytes(bytes));
        }
    };
    let status = response.status().as_u16();
    let headers = std::mem::take(response.headers_mut());
    count(ANSWER_LINES + length(&headers));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(link_error)? {
        count(chunk.len() as u64);
        let room = most - body.len();
        if chunk.len() > room && !(200..300).contains(&status) {
            body.extend_from_slice(chunk.get(..room).unwrap_or_default());
            break;
        }
        if chunk.len() > room {
            return Err(LinkError::unreachable(format!(
                "the answer is longer than {most} bytes (is there a captive portal?)"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body })
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
