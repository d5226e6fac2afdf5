//! The connections of a transport.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;
use tokio::time::Instant;

use super::TransportError;

/// A connection that takes longer will not carry a batch either.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next request. Below what servers commonly keep.
const KEEP_IDLE: Duration = Duration::from_secs(50);

const SECOND: Duration = Duration::from_secs(1);

/// How connections are made, and those that are kept for the next request.
pub(super) struct Connections {
    tls: rustls::ClientConfig,
    connect_timeout: Duration,
    dead_after: Option<Duration>,
    kept: Mutex<Kept>,
}

/// What is kept for the next request.
#[derive(Default)]
struct Kept {
    /// With its connections. None: the next request makes one.
    client: Option<Client>,
    /// When connections were left open that nobody has taken since, the last one last.
    left_open: Vec<Instant>,
    /// Whether there was an answer: one of its connections may be kept.
    has_answers: bool,
}

impl Connections {
    pub(super) fn new(tls: rustls::ClientConfig) -> Self {
        Self { tls, connect_timeout: CONNECT_TIMEOUT, dead_after: None, kept: Mutex::default() }
    }

    /// Made in the same way, and none yet.
    pub(super) fn afresh(&self) -> Self {
        let Self { connect_timeout, dead_after, .. } = *self;
        Self { connect_timeout, dead_after, ..Self::new(self.tls.clone()) }
    }

    pub(super) fn with_connect_timeout(&self, wait: Duration) -> Self {
        Self { connect_timeout: wait, ..self.afresh() }
    }

    pub(super) fn with_dead_after(&self, silence: Duration) -> Self {
        Self { dead_after: Some(silence), ..self.afresh() }
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// What requests are sent with.
    pub(super) fn client(&self) -> Result<Client, TransportError> {
        let mut kept = self.kept();
        let client = match kept.client.take() {
            Some(client) => client,
            None => self.new_client()?,
        };
        Ok(kept.client.insert(client).clone())
    }

    pub(super) fn forget(&self) {
        *self.kept() = Kept::default();
    }

    /// An answer has begun to come. When the client keeps its connection for the next request
    /// is the client's to know: that may be before its end was read.
    pub(super) fn note_answer(&self) {
        self.kept().has_answers = true;
    }

    /// Whether a request may go over a connection that was kept.
    pub(super) fn may_be_kept(&self) -> bool {
        self.kept().has_answers
    }

    /// A request has left its connection open.
    pub(super) fn leave_open(&self) {
        self.kept().left_open.push(Instant::now());
    }

    /// Whether an earlier request has left a connection that the next one can use; it is
    /// taken then.
    pub(super) fn take_open(&self) -> bool {
        let mut kept = self.kept();
        let is_there = kept.left_open.pop().is_some_and(|at| at.elapsed() < KEEP_IDLE);
        if !is_there {
            kept.left_open.clear();
        }
        is_there
    }

    fn new_client(&self) -> Result<Client, TransportError> {
        let mut client = Client::builder()
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(KEEP_IDLE)
            // Records and keys stay here unless the server itself has moved: see `moved_to`.
            .redirect(Policy::none())
            .referer(false)
            .user_agent(concat!("backhaul/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(self.tls.clone());
        if let Some(silence) = self.dead_after {
            // The one is for what was sent and is not acknowledged, the other for waiting: a
            // question after three fifths of the time, two more, and it is over.
            // Linux counts the questions' times in whole seconds, and 0 is none.
            client = client
                .tcp_user_timeout(silence)
                .tcp_keepalive((silence * 3 / 5).max(SECOND))
                .tcp_keepalive_interval((silence / 5).max(SECOND))
                .tcp_keepalive_retries(2);
        }
        client
            .build()
            .map_err(|error| TransportError(format!("cannot make an HTTP client: {error}")))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // No call leaves it half changed.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
