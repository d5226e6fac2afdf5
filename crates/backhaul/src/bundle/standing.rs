//! Where records stand that do not simply wait.

use backhaul_store::{RecordId, Settled, State};
use serde::{Deserialize, Serialize};

/// A line of a bundle.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Standing {
    pub(super) id: String,
    state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

impl Standing {
    pub(super) fn new(id: RecordId, settled: &Settled) -> Self {
        let Settled { state, reason, status, .. } = settled.clone();
        Self { id: id.to_string(), state, reason, status }
    }

    /// # Errors
    /// Says which states there may be.
    pub(super) fn settled(self) -> anyhow::Result<Settled> {
        use State::{Held, Rejected, Started, Unknown};
        let Self { id, state, reason, status } = self;
        if !matches!(state, Rejected | Unknown | Held | Started) {
            let state = state.name();
            anyhow::bail!(
                "{id} is said to be {state}: expected rejected, unknown, held or started"
            );
        }
        Ok(Settled { reason, status, ..Settled::new(state) })
    }
}
