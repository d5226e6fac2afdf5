//! What traffic tells of the link.

use std::sync::Arc;

use super::shared::Shared;

/// Where those who use the network tell the monitor how it went, so that a link that is
/// in use need not be probed. Cheap to clone and to call, from any thread.
///
/// While the monitor does not run, nothing is taken down. It keeps no monitor running.
#[derive(Debug, Clone)]
pub struct Evidence {
    shared: Arc<Shared>,
}

impl Evidence {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Something got through: the other side answered, be it with an error of its own.
    ///
    /// The next check is put off. Where one address is enough, this counts as an answer:
    /// it brings the state online as a check would.
    pub fn report_success(&self) {
        self.shared.traffic(true);
    }

    /// Nothing got through: no connection, or no answer in time.
    ///
    /// It may be the other side alone that is down. So a check is made soon, and decides;
    /// failures that turn out to be no outage bring fewer and fewer checks forward. Where
    /// there is no address to check, this counts as a failure.
    pub fn report_failure(&self) {
        self.shared.traffic(false);
    }
}
