//! What a courier knows of the link from a monitor.

use tokio::sync::watch;

use crate::connectivity::{Connectivity, ConnectivityMonitor, Evidence};

/// A monitor that somebody else runs.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    state: watch::Receiver<Connectivity>,
    evidence: Evidence,
}

impl Link {
    pub(super) fn new(monitor: &ConnectivityMonitor) -> Self {
        Self { state: monitor.subscribe(), evidence: monitor.evidence() }
    }

    pub(super) fn state(&self) -> Connectivity {
        *self.state.borrow()
    }

    /// Tells the monitor whether a request was answered.
    pub(super) fn report(&self, is_answered: bool) {
        if is_answered {
            self.evidence.report_success();
        } else {
            self.evidence.report_failure();
        }
    }

    /// Waits for another state than the last one that was waited for.
    pub(super) async fn changed(&mut self) -> Connectivity {
        if self.state.changed().await.is_err() {
            // The monitor is gone: what it said last stays.
            std::future::pending::<()>().await;
        }
        *self.state.borrow_and_update()
    }
}
