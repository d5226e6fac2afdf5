//! The logger at the other end of the link.

mod client;
mod reply;
mod request;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul_store::{Batch, Clock, SystemClock};
use backhaul_sync::{
    BandwidthManager, Deliver, Destination, LinkError, LinkErrorKind, Transport, Verdict, Way,
};

use self::client::Endpoint;
use self::request::Part;
use crate::lock::lock;
use crate::run_builder::{RunBuilder, RunEvent};
use crate::run_logger::{DeliverError, RunLogger, RunLoggerError};
use crate::run_record::RunRecord;
use crate::run_span::{RunEnd, RunStart};

/// Sends finished run records to a hub: `POST {api_url}/v1/runs`, a JSON array of the
/// records exactly as they are stored, in gzip where that pays.
///
/// As the primary of an [`OfflineRunLogger`](crate::OfflineRunLogger) it gets batches
/// from the courier. Each says in its headers which device, epoch and chain it comes
/// from and which sequences it holds, so that the hub sees each record exactly once.
///
/// As a logger of its own it assembles the current run in memory, and
/// [`RunLogger::deliver`] posts a record and waits for the answer. `end_run` sends
/// nothing: it would have to wait for the network.
///
/// ```
/// use backhaul_agent::CloudRunLogger;
///
/// let logger = CloudRunLogger::builder("https://hub.example.org").api_key("s3cret").build()?;
/// assert!(!format!("{logger:?}").contains("s3cret"));
/// # Ok::<(), backhaul_agent::CloudConfigError>(())
/// ```
pub struct CloudRunLogger {
    endpoint: Endpoint,
    transport: Transport,
    clock: Arc<dyn Clock>,
    gzip: AtomicBool,
    current: Mutex<Option<RunBuilder>>,
}

/// How a [`CloudRunLogger`] is set up.
#[derive(Clone)]
pub struct CloudRunLoggerBuilder {
    api_url: String,
    api_key: Option<String>,
    timeout: Duration,
    gzip: bool,
    budget: Option<BandwidthManager>,
    clock: Arc<dyn Clock>,
}

impl CloudRunLoggerBuilder {
    /// The key that is sent as `Authorization: Bearer …`. It is written nowhere.
    #[must_use]
    pub fn api_key(mut self, api_key: impl Into<String>) -> Self {
        self.api_key = Some(api_key.into());
        self
    }

    /// How long a request may take, from its first byte to the last of the answer.
    /// Default: [`CloudRunLogger::DEFAULT_TIMEOUT`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether bodies are compressed where that makes them smaller. Default: on.
    #[must_use]
    pub fn gzip(mut self, gzip: bool) -> Self {
        self.gzip = gzip;
        self
    }

    /// Counts all traffic against a data cap, and keeps its rate. Default: none.
    #[must_use]
    pub fn bandwidth(mut self, budget: BandwidthManager) -> Self {
        self.budget = Some(budget);
        self
    }

    /// The clock; by default the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the logger up. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address is no `http` or `https` URL, the key cannot stand in a header,
    /// or the machine has no certificates to check an `https` address with.
    pub fn build(self) -> Result<CloudRunLogger, CloudConfigError> {
        let mut transport =
            Transport::new(self.timeout).map_err(|error| CloudConfigError(error.to_string()))?;
        if let Some(budget) = self.budget {
            transport = transport.with_budget(budget);
        }
        Ok(CloudRunLogger {
            endpoint: Endpoint::new(&self.api_url, self.api_key.as_deref(), &transport)?,
            transport,
            clock: self.clock,
            gzip: AtomicBool::new(self.gzip),
            current: Mutex::default(),
        })
    }
}

impl fmt::Debug for CloudRunLoggerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudRunLoggerBuilder")
            .field("api_url", &backhaul_sync::shown_url(&self.api_url))
            .field("api_key", &self.api_key.as_ref().map(|_| "[redacted]"))
            .field("timeout", &self.timeout)
            .field("gzip", &self.gzip)
            .finish_non_exhaustive()
    }
}

/// Why a [`CloudRunLogger`] cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudConfigError(String);

impl fmt::Display for CloudConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CloudConfigError {}

impl CloudRunLogger {
    /// How long a request may take where nobody says otherwise: a batch of 1 MB in gzip
    /// takes half of that at 50 kbps.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

    /// A logger that sends to the hub at `api_url`, without a key.
    ///
    /// # Errors
    /// As for [`CloudRunLoggerBuilder::build`].
    pub fn new(api_url: impl Into<String>) -> Result<Self, CloudConfigError> {
        Self::builder(api_url).build()
    }

    /// A logger that sends to the hub at `api_url`, to be set up.
    pub fn builder(api_url: impl Into<String>) -> CloudRunLoggerBuilder {
        CloudRunLoggerBuilder {
            api_url: api_url.into(),
            api_key: None,
            timeout: Self::DEFAULT_TIMEOUT,
            gzip: true,
            budget: None,
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// Checks an address without setting anything up.
    ///
    /// # Errors
    /// Where it is no `http` or `https` URL of a hub.
    pub fn check_url(api_url: &str) -> Result<(), CloudConfigError> {
        client::intake_of(api_url).map(drop)
    }

    /// An address as it may be shown: without a user's name and password.
    pub fn shown_url(api_url: &str) -> String {
        backhaul_sync::shown_url(api_url)
    }

    /// Posts one request, and once more without gzip where the hub does not know it.
    async fn post(&self, transport: &Transport, part: Part) -> Result<Vec<Verdict>, LinkError> {
        let gzip = self.gzip.load(Ordering::Relaxed);
        let posted = self.endpoint.post(transport, &part, gzip, &*self.clock).await;
        match posted {
            Err(error) if gzip && error.status() == Some(415) => {
                self.gzip.store(false, Ordering::Relaxed);
                tracing::info!("the hub does not take gzip: bodies go as they are");
                self.endpoint.post(transport, &part, false, &*self.clock).await
            }
            answered => answered,
        }
    }

    /// Posts one record from a thread that has no runtime to spare.
    fn post_alone(&self, record: &RunRecord) -> Result<Verdict, LinkError> {
        let failed = |error: &dyn fmt::Display| LinkError::unreachable(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(&error))?;
        // With connections of its own: they belong to the runtime that made them.
        let transport = self.transport.for_another_runtime().map_err(|error| failed(&error))?;
        let part = Part::of_record(&record.to_json());
        let verdicts = runtime.block_on(self.post(&transport, part))?;
        verdicts.into_iter().next().ok_or_else(|| LinkError::busy("the hub gave no verdict"))
    }
}

impl fmt::Debug for CloudRunLogger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudRunLogger")
            .field("endpoint", &self.endpoint)
            .field("gzip", &self.gzip)
            .finish_non_exhaustive()
    }
}

impl Destination for CloudRunLogger {
    fn deliver<'a>(&'a self, batch: &'a Batch) -> Deliver<'a> {
        Box::pin(async move {
            let mut verdicts = Vec::with_capacity(batch.records.len());
            for part in Part::of_batch(batch) {
                match self.post(&self.transport, part).await {
                    Ok(said) => verdicts.extend(said),
                    Err(error) if verdicts.is_empty() => return Err(error),
                    // What was said of the parts before counts. The rest comes again in a
                    // batch of its own, where the error can be acted on.
                    Err(error) => {
                        let waits = Verdict::Later {
                            reason: error.to_string(),
                            retry_after: error.retry_after(),
                            spends_retry: false,
                        };
                        verdicts.resize(batch.records.len(), waits);
                        break;
                    }
                }
            }
            Ok(verdicts)
        })
    }

    fn bandwidth(&self) -> Option<&BandwidthManager> {
        self.transport.budget()
    }

    fn way(&self) -> Option<Way> {
        Some(self.endpoint.way())
    }

    fn forget_connections(&self) {
        self.transport.forget_connections();
    }
}

impl RunLogger for CloudRunLogger {
    /// Begins a run. There is nowhere to keep a run that is still open: it is forgotten.
    fn start_run(&self, start: RunStart) {
        *lock(&self.current) = Some(RunBuilder::start(start, self.clock.now().wall));
    }

    fn record(&self, event: RunEvent) {
        if let Some(run) = &mut *lock(&self.current) {
            run.record(event);
        }
    }

    /// Ends the current run and gives its record, which is sent to nobody.
    fn end_run(&self, end: RunEnd) -> Result<RunRecord, RunLoggerError> {
        let open = lock(&self.current).take().ok_or(RunLoggerError::NoRunInProgress)?;
        Ok(open.finish(end, self.clock.now().wall))
    }

    fn get_current_record(&self) -> Option<RunRecord> {
        lock(&self.current).as_ref().map(|run| run.current().clone())
    }

    /// Posts the record and waits for the answer, on a thread of its own, so that it may
    /// be called from anywhere.
    fn deliver(&self, record: &RunRecord) -> Result<(), DeliverError> {
        let posted = std::thread::scope(|scope| {
            scope.spawn(|| self.post_alone(record)).join().unwrap_or_else(|_| {
                Err(LinkError::unreachable("the thread that posts has panicked"))
            })
        });
        let (error, retry_after) = match posted {
            Ok(Verdict::Delivered | Verdict::Duplicate) => return Ok(()),
            Ok(Verdict::Rejected { reason, .. }) => return Err(DeliverError::rejected(reason)),
            Ok(Verdict::Later { reason, retry_after, .. }) => {
                (DeliverError::later(reason), retry_after)
            }
            // Said by no hub.
            Ok(Verdict::WithNext) => (DeliverError::later("it is to go with others"), None),
            Err(error) => {
                let reason = error.to_string();
                let kind = match error.kind() {
                    LinkErrorKind::TooLarge | LinkErrorKind::BadBatch => {
                        DeliverError::rejected(reason)
                    }
                    _ => DeliverError::link_down(reason),
                };
                (kind, error.retry_after())
            }
        };
        Err(match retry_after {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        })
    }
}
