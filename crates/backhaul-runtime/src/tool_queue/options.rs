//! How calls that wait are kept and done.

use std::time::Duration;

use backhaul_sync::Backoff;

use super::queue_error::{ToolQueueError, ToolQueueErrorKind};

/// How calls that wait are kept and done.
///
/// ```
/// use backhaul_runtime::tool_queue::ToolQueueOptions;
/// let options = ToolQueueOptions { drain_rate: Some(2.0), ..ToolQueueOptions::default() };
/// assert!(options.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ToolQueueOptions {
    /// Calls that may wait; those that a person has to decide on count. Default: 1,000, as the
    /// CEMAF document shows. One more is refused, and none that waits is dropped.
    pub max_queue_size: u64,
    /// Bytes that the folder may take. Default: 100 MB.
    pub max_bytes: Option<u64>,
    /// How often a call that fails is tried again, where its tool does not say. Default: 3. What
    /// fails for want of a network is tried until it succeeds, or expires.
    pub max_retries: u32,
    /// How waits grow from try to try. Default: 1, 2, 4… seconds, up to 60.
    pub backoff: Backoff,
    /// Calls that begin in a second, at most. Default: as many as can; set it where thousands
    /// may have gathered in an outage.
    pub drain_rate: Option<f64>,
    /// Calls at work at a time, of different tools: those of one tool go one by one. Default: 4.
    pub max_parallel: usize,
    /// How long the outcome of a call is kept, so that the same call is not done again. The
    /// newest 1,000 stay in any case, and beyond them no more than a tenth of
    /// [`max_bytes`](Self::max_bytes). Default: 7 days.
    pub keep_outcomes_for: Duration,
    /// For tests of tests: attempts begin before that is on disk.
    #[doc(hidden)]
    pub sabotage_skip_started: bool,
}

impl Default for ToolQueueOptions {
    fn default() -> Self {
        Self {
            max_queue_size: 1_000,
            max_bytes: Some(100_000_000),
            max_retries: 3,
            backoff: Backoff::default(),
            drain_rate: None,
            max_parallel: 4,
            keep_outcomes_for: Duration::from_secs(7 * 24 * 3600),
            sabotage_skip_started: false,
        }
    }
}

impl ToolQueueOptions {
    /// Whether the options make sense.
    ///
    /// # Errors
    /// [`InvalidOption`](ToolQueueErrorKind::InvalidOption), naming the option, what it is and
    /// what it may be.
    pub fn check(&self) -> Result<(), ToolQueueError> {
        let invalid =
            |message: String| Err(ToolQueueError::new(ToolQueueErrorKind::InvalidOption, message));
        if self.max_queue_size == 0 {
            return invalid("max_queue_size is 0: expected at least 1".to_owned());
        }
        if self.max_parallel == 0 {
            return invalid("max_parallel is 0: expected at least 1".to_owned());
        }
        match self.drain_rate {
            Some(rate) if !(rate.is_finite() && rate > 0.0) => {
                invalid(format!("drain_rate is {rate}: expected calls a second, more than 0"))
            }
            _ => Ok(()),
        }
    }
}
