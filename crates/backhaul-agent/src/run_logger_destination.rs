//! Any logger as the destination of a courier.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backhaul_store::{Batch, Offer, StoredRecord};
use backhaul_sync::{Deliver, Destination, LinkError, Verdict};

use crate::run_logger::{DeliverError, DeliverErrorKind, RunLogger};
use crate::run_record::RunRecord;

/// A logger may take this long for a batch before it counts as out of reach.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// Delivers records to a [`RunLogger`], on a thread that may wait.
///
/// A logger that panics over a record costs that record a retry; one that hangs is not
/// called again before it has returned.
pub struct RunLoggerDestination {
    logger: Arc<dyn RunLogger>,
    timeout: Duration,
    is_called: Arc<AtomicBool>,
}

impl RunLoggerDestination {
    /// A destination that calls `logger`.
    pub fn new(logger: Arc<dyn RunLogger>) -> Self {
        Self { logger, timeout: DEFAULT_TIMEOUT, is_called: Arc::default() }
    }

    /// How long the logger may take for a batch. Default: 120 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl fmt::Debug for RunLoggerDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunLoggerDestination")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Destination for RunLoggerDestination {
    fn deliver<'a>(&'a self, batch: &'a Batch) -> Deliver<'a> {
        Box::pin(async move {
            if self.is_called.swap(true, Ordering::AcqRel) {
                return Err(LinkError::timeout("the logger has not returned from an earlier call"));
            }
            let logger = Arc::clone(&self.logger);
            let is_called = Arc::clone(&self.is_called);
            let offers = batch.records.clone();
            let call = tokio::task::spawn_blocking(move || {
                let answer = deliver_each(&*logger, &offers);
                is_called.store(false, Ordering::Release);
                answer
            });
            match tokio::time::timeout(self.timeout, call).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => Err(LinkError::unreachable(error.to_string())),
                Err(_) => Err(LinkError::timeout(format!(
                    "the logger takes longer than {:?}",
                    self.timeout
                ))),
            }
        })
    }
}

/// In the order in which they were chosen, up to the first that does not get through: the
/// rest waits with it, at no cost.
fn deliver_each(logger: &dyn RunLogger, offers: &[Offer]) -> Result<Vec<Verdict>, LinkError> {
    let mut by_place: Vec<(usize, &Offer)> = offers.iter().enumerate().collect();
    by_place.sort_by_key(|(_, offer)| offer.place);
    let mut verdicts = BTreeMap::new();
    for (index, offer) in by_place {
        let error = match deliver_one(logger, &offer.record) {
            Ok(verdict) => {
                verdicts.insert(index, verdict);
                continue;
            }
            Err(error) => error,
        };
        if verdicts.is_empty() {
            let link = LinkError::unreachable(error.reason());
            return Err(match error.retry_after() {
                Some(wait) => link.with_retry_after(wait),
                None => link,
            });
        }
        let waits = Verdict::Later {
            reason: error.to_string(),
            retry_after: error.retry_after(),
            spends_retry: false,
        };
        for index in 0..offers.len() {
            verdicts.entry(index).or_insert_with(|| waits.clone());
        }
        break;
    }
    Ok(verdicts.into_values().collect())
}

/// `Err`: the link is down.
fn deliver_one(logger: &dyn RunLogger, stored: &StoredRecord) -> Result<Verdict, DeliverError> {
    let record = match RunRecord::from_json_at(&stored.body, stored.stamp.wall) {
        Ok(record) => record,
        Err(error) => {
            let reason = format!("not a run record: {error}");
            return Ok(Verdict::Rejected { reason, status: None });
        }
    };
    match catch_unwind(AssertUnwindSafe(|| logger.deliver(&record))) {
        Ok(Ok(())) => Ok(Verdict::Delivered),
        Ok(Err(error)) => match error.kind() {
            DeliverErrorKind::LinkDown => Err(error),
            DeliverErrorKind::Rejected => {
                Ok(Verdict::Rejected { reason: error.reason().to_owned(), status: None })
            }
            DeliverErrorKind::Later => Ok(Verdict::Later {
                reason: error.to_string(),
                retry_after: error.retry_after(),
                spends_retry: true,
            }),
        },
        Err(_) => Ok(Verdict::Later {
            reason: "the logger panicked over this record".to_owned(),
            retry_after: None,
            spends_retry: true,
        }),
    }
}
