//! Telling a run to stop.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// Tells a run to stop. Clones are one token, which may be shared between threads and runs.
///
/// ```
/// use backhaul_runtime::executor::CancellationToken;
/// let token = CancellationToken::new();
/// let other = token.clone();
/// token.cancel("the battery is low");
/// token.cancel("too late to be another reason");
/// assert_eq!(other.reason().as_deref(), Some("the battery is low"));
/// ```
#[derive(Clone)]
pub struct CancellationToken {
    reason: Arc<watch::Sender<Option<Arc<str>>>>,
}

impl CancellationToken {
    /// A token by which nothing is cancelled yet.
    pub fn new() -> Self {
        Self { reason: Arc::new(watch::Sender::new(None)) }
    }

    /// Cancels, for a reason, which may be empty. Of several reasons the first stands.
    pub fn cancel(&self, reason: impl Into<String>) {
        let reason: Arc<str> = reason.into().into();
        self.reason.send_if_modified(|known| {
            let is_first = known.is_none();
            if is_first {
                *known = Some(reason);
            }
            is_first
        });
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.reason.borrow().is_some()
    }

    /// Why, if it was.
    pub fn reason(&self) -> Option<Arc<str>> {
        self.reason.borrow().clone()
    }

    /// Waits until it is cancelled.
    pub async fn cancelled(&self) {
        // The sender lives as long as this token: there is no other end of the waiting.
        let _ = self.reason.subscribe().wait_for(Option::is_some).await;
    }
}

impl Default for CancellationToken {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CancellationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancellationToken").field("reason", &self.reason()).finish()
    }
}
