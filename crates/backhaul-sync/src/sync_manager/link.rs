//! What a courier knows of the link from a monitor.

use tokio::sync::watch;

use crate::connectivity::{Connectivity, ConnectivityMonitor, ConnectivityStatus};

/// The monitor that a courier watches, and keeps.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    monitor: ConnectivityMonitor,
    state: watch::Receiver<Connectivity>,
}

impl Link {
    pub(super) fn new(monitor: &ConnectivityMonitor) -> Self {
        Self { state: monitor.subscribe(), monitor: monitor.clone() }
    }

    pub(super) fn monitor(&self) -> &ConnectivityMonitor {
        &self.monitor
    }

    pub(super) fn status(&self) -> ConnectivityStatus {
        self.monitor.status()
    }

    /// Why nothing is to be tried, where that is so. A monitor that has nobody to ask finds
    /// out from requests alone that the link is back: those go on then.
    pub(super) fn offline(&self) -> Option<String> {
        if *self.state.borrow() != Connectivity::Offline {
            return None;
        }
        let status = self.monitor.status();
        if status.is_forced {
            return Some("offline was set by hand".to_owned());
        }
        let why = status.last_error.map(|error| format!(": {error}")).unwrap_or_default();
        self.monitor.asks().then(|| format!("there is no link{why}"))
    }

    /// Tells the monitor whether a request was answered.
    pub(super) fn report(&self, is_answered: bool) {
        let evidence = self.monitor.evidence();
        if is_answered {
            evidence.report_success();
        } else {
            evidence.report_failure();
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
