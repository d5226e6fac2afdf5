//! One of the models that can be asked, and what is known of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::breaker::{Breaker, BreakerState, Pass};
use super::link::Link;
use super::options::OfflineLlmOptions;
use super::probing;
use super::slots::{Slot, Slots};
use crate::client::LlmClient;
use crate::error::{LlmError, LlmErrorKind};
use crate::metadata::Source;

/// The longest that a model is left alone because it said so.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// One of the models that can be asked.
pub(super) struct Member {
    client: Arc<dyn LlmClient>,
    source: Source,
    pub(super) link: Link,
    pub(super) breaker: Breaker,
    /// Models of its server that want no request before a time.
    limited: Mutex<BTreeMap<String, Limit>>,
    /// `None`: as many at a time as come.
    slots: Option<Slots>,
    /// Why the server does not take the key.
    credentials: Mutex<Option<String>>,
    answered: AtomicU64,
    failed: AtomicU64,
}

/// Until when a model is left alone, and what its server said.
#[derive(Debug, Clone, Copy)]
struct Limit {
    until: Instant,
    kind: LlmErrorKind,
}

/// How one of the models stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelStatus {
    /// What the client is called.
    pub name: String,
    /// Whether it is the primary or a fallback.
    pub source: Source,
    /// Whether it is asked.
    pub state: BreakerState,
    /// Why it is not, and for how long that has been so.
    pub trouble: Option<(String, Duration)>,
    /// Why the server does not take the key: somebody has to act.
    pub credentials: Option<String>,
    /// Calls that it answered, since the start of the process.
    pub answered: u64,
    /// Tries that failed, since the start of the process.
    pub failed: u64,
}

impl Member {
    pub(super) fn primary(client: Arc<dyn LlmClient>, link: Link) -> Self {
        Self::new(client, Source::Primary, link, None)
    }

    pub(super) fn fallback(
        client: Arc<dyn LlmClient>,
        options: &OfflineLlmOptions,
        link: Link,
    ) -> Self {
        let slots = Slots::new(options.fallback_calls, options.fallback_queue);
        Self::new(client, Source::Fallback, link, Some(slots))
    }

    fn new(client: Arc<dyn LlmClient>, source: Source, link: Link, slots: Option<Slots>) -> Self {
        Self {
            client,
            source,
            link,
            breaker: Breaker::default(),
            limited: Mutex::default(),
            slots,
            credentials: Mutex::default(),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    pub(super) fn client(&self) -> &Arc<dyn LlmClient> {
        &self.client
    }

    pub(super) fn source(&self) -> Source {
        self.source
    }

    pub(super) fn is_primary(&self) -> bool {
        self.source == Source::Primary
    }

    /// Waits for its turn, where it answers only so many at a time.
    pub(super) async fn slot(&self) -> Result<Option<Slot>, LlmError> {
        match &self.slots {
            Some(slots) => slots.take().await.map(Some),
            None => Ok(None),
        }
    }

    /// Lets a call through, or says why not. Where nobody after it could answer, a try is better
    /// than none.
    pub(super) fn admit(&self, model: &str, is_last: bool) -> Result<Pass<'_>, LlmError> {
        let now = Instant::now();
        let limit = lock(&self.limited).get(model).copied();
        if let Some(Limit { until, kind }) = limit.filter(|limit| limit.until > now) {
            let message = "not asked: its server wants no request of this model yet";
            return Err(LlmError::new(kind, message).with_retry_after(until - now));
        }
        if is_last { Ok(self.breaker.pass()) } else { self.breaker.admit() }
    }

    pub(super) fn note_answer(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        if lock(&self.credentials).take().is_some() {
            tracing::info!(client = self.client.name(), "the model's server takes the key again");
        }
    }

    /// Notes what does not go through the breaker.
    pub(super) fn note_failure(&self, model: &str, error: &LlmError) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        match error.kind() {
            LlmErrorKind::RateLimited | LlmErrorKind::Busy => self.limit(model, error),
            LlmErrorKind::Credentials => {
                let before = lock(&self.credentials).replace(error.to_string());
                if before.is_none() {
                    let client = self.client.name();
                    tracing::error!(client, %error, "the model's server does not take the key");
                }
            }
            _ => {}
        }
    }

    fn limit(&self, model: &str, error: &LlmError) {
        let Some(wait) = error.retry_after() else { return };
        let now = Instant::now();
        let limit = Limit { until: now + wait.min(LONGEST_RETRY_AFTER), kind: error.kind() };
        let mut limited = lock(&self.limited);
        limited.retain(|_, limit| limit.until > now);
        limited.insert(model.to_owned(), limit);
    }

    /// Notes how an answer that had begun ended.
    pub(super) fn opened_by(self: &Arc<Self>, error: &LlmError, options: &OfflineLlmOptions) {
        if let Some(times) = self.breaker.note_failure(error) {
            probing::begin(self, options, times);
        }
    }

    pub(super) fn status(&self) -> ModelStatus {
        let (state, opening) = self.breaker.state();
        let trouble = opening.map(|it| (it.error.to_string(), it.since.elapsed()));
        ModelStatus {
            name: self.client.name().to_owned(),
            source: self.source,
            state,
            trouble,
            credentials: lock(&self.credentials).clone(),
            answered: self.answered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No call leaves it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
