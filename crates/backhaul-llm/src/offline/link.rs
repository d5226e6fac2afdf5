//! What is known of the device's network.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backhaul_sync::{ConnectivityMonitor, PlannedOutage};

use crate::error::{LlmError, LlmErrorKind};

type AskOutage = Arc<dyn Fn() -> Option<PlannedOutage> + Send + Sync>;

/// The wait after a change of the network.
const SETTLE: Duration = Duration::from_millis(200);

/// Whether the primary may be asked at all. Empty: nobody says otherwise. Clones are one.
#[derive(Clone, Default)]
pub(super) struct Link(Arc<Known>);

#[derive(Default)]
struct Known {
    monitor: Mutex<Option<ConnectivityMonitor>>,
    outage: Mutex<Option<AskOutage>>,
}

impl Link {
    pub(super) fn watch(&self, monitor: &ConnectivityMonitor) {
        *self.0.monitor.lock().unwrap_or_else(PoisonError::into_inner) = Some(monitor.clone());
    }

    pub(super) fn offline_while(&self, outage: AskOutage) {
        *self.0.outage.lock().unwrap_or_else(PoisonError::into_inner) = Some(outage);
    }

    /// Why nobody beyond this device is to be asked now.
    pub(super) fn trouble(&self) -> Option<LlmError> {
        let offline = |why: String| {
            LlmError::new(
                LlmErrorKind::Unreachable,
                format!("not asked, the device is offline: {why}"),
            )
        };
        if let Some(why) = self.monitor().and_then(|monitor| monitor.why_offline()) {
            return Some(offline(why));
        }
        let outage = self.0.outage.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        outage().map(|outage| offline(outage.reason))
    }

    /// Waits until the monitor hears of a network, or that somebody answers again.
    pub(super) async fn is_back(&self) {
        let Some(monitor) = self.monitor() else { return std::future::pending().await };
        let (mut network, mut state) = (monitor.network_changes(), monitor.subscribe());
        // Who has it would keep it running.
        drop(monitor);
        let online = async {
            state.mark_unchanged();
            while state.changed().await.is_ok() {
                if state.borrow().is_online() {
                    return;
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            Ok(()) = network.changed() => {}
            () = online => {}
        }
        // Networks come in several steps, of which the address is one of the last.
        tokio::time::sleep(SETTLE).await;
    }

    /// Tells the monitor how it went.
    pub(super) fn report(&self, error: Option<&LlmError>) {
        let Some(monitor) = self.monitor() else { return };
        match error.map(LlmError::kind) {
            Some(LlmErrorKind::Unreachable | LlmErrorKind::Timeout | LlmErrorKind::Garbled) => {
                monitor.evidence().report_failure();
            }
            _ => monitor.evidence().report_success(),
        }
    }

    fn monitor(&self) -> Option<ConnectivityMonitor> {
        self.0.monitor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
