//! Where records go, and what it may say of each.

use std::pin::Pin;
use std::time::Duration;

use backhaul_store::Batch;

use crate::bandwidth::BandwidthManager;
use crate::link_error::LinkError;
use crate::way::Way;

/// The answer to a batch, once it is there.
pub type Deliver<'a> = Pin<Box<dyn Future<Output = Result<Vec<Verdict>, LinkError>> + Send + 'a>>;

/// Something that takes records: a hub, a server, a logger.
///
/// One batch is under way at a time. The future may be dropped before it is ready;
/// the records are then offered again.
///
/// ```
/// use backhaul_store::Batch;
/// use backhaul_sync::{Deliver, Destination, Verdict};
///
/// /// Takes everything.
/// struct Sink;
///
/// impl Destination for Sink {
///     fn deliver<'a>(&'a self, batch: &'a Batch) -> Deliver<'a> {
///         Box::pin(async move { Ok(vec![Verdict::Delivered; batch.records.len()]) })
///     }
/// }
/// ```
pub trait Destination: Send + Sync {
    /// Offers a batch. The answer holds one verdict per record, in the batch's order.
    ///
    /// # Errors
    /// A [`LinkError`] is about the batch as a whole. It settles nothing and spends no
    /// record's retries.
    fn deliver<'a>(&'a self, batch: &'a Batch) -> Deliver<'a>;

    /// The data cap that what it sends is counted against. Default: none.
    fn bandwidth(&self) -> Option<&BandwidthManager> {
        None
    }

    /// The way that its requests go at this moment. The courier asks when the machine's
    /// network has changed, and breaks a request off that went another way. Default: unknown.
    fn way(&self) -> Option<Way> {
        None
    }

    /// Connections of before may be dead: the next request is to make a new one. Default:
    /// nothing.
    fn forget_connections(&self) {}
}

/// What a destination says of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has the record now, durably.
    Delivered,
    /// It had the record already: delivered, by an earlier attempt.
    Duplicate,
    /// It will never take the record, which is kept as failed with the reason.
    Rejected {
        /// Why, for people.
        reason: String,
        /// The HTTP status that said so, where there was one.
        status: Option<u16>,
    },
    /// It wants the record later. Others go on meanwhile.
    Later {
        /// Why, for people.
        reason: String,
        /// How long it asked to wait; the backoff decides where it is longer.
        retry_after: Option<Duration>,
        /// Whether this counts against the record's retries: true where the record is
        /// to blame, false where the circumstances are.
        spends_retry: bool,
    },
    /// It wants the record together with what comes after it: it is offered again with the next
    /// batch, and that costs it nothing. For a batch of which more records wait; where two
    /// batches in a row come to nothing else, their records are put off.
    WithNext,
}
