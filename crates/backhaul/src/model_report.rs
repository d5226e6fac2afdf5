//! How a model stands, as it is told to people and scripts.

use backhaul_llm::ModelStatus;
use serde::{Deserialize, Serialize};

/// How a model stands that is asked through a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ModelReport {
    pub(crate) name: String,
    /// `primary` or `fallback`.
    pub(crate) source: String,
    /// `closed`: it is asked; `open`: it is left alone; `half_open`: one call tries it.
    pub(crate) state: String,
    /// Why it is left alone, and for how long that has been so.
    pub(crate) trouble: Option<String>,
    pub(crate) trouble_seconds: Option<u64>,
    /// Why its server does not take the key: somebody has to act.
    pub(crate) credentials: Option<String>,
    /// Calls that it has answered since the gateway started.
    pub(crate) answered: u64,
    /// Tries that failed.
    pub(crate) failed: u64,
}

impl From<ModelStatus> for ModelReport {
    fn from(status: ModelStatus) -> Self {
        let (trouble, time) = status.trouble.unzip();
        Self {
            name: status.name,
            source: status.source.name().to_owned(),
            state: status.state.name().to_owned(),
            trouble,
            trouble_seconds: time.map(|time| time.as_secs()),
            credentials: status.credentials,
            answered: status.answered,
            failed: status.failed,
        }
    }
}
