//! What may be said of one run.

use serde_json::{Map, Value};

use super::cancellation::CancellationToken;

/// What may be said of one run.
///
/// ```
/// use backhaul_runtime::executor::{CancellationToken, RunOptions};
/// let stop = CancellationToken::new();
/// let options = RunOptions::new().run_id("morning").cancellation(&stop).metadata("critical", true);
/// assert_eq!(options.run_id.as_deref(), Some("morning"));
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RunOptions {
    /// What the run is called. Default: `run_`, the time and random digits. A run that goes on
    /// keeps its own.
    pub run_id: Option<String>,
    /// What tells it to stop. Default: nothing.
    pub cancellation: CancellationToken,
    /// What goes into the metadata of its record and its result. Default: nothing.
    pub metadata: Map<String, Value>,
    /// Whether a run may go on with another graph than it began with, as long as the nodes that
    /// have ended, and the edges taken from them, are in it. Default: it may not.
    pub allow_changed_graph: bool,
}

impl RunOptions {
    /// Nothing is said.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`run_id`](Self::run_id). A run of this id that is kept on disk is begun anew.
    #[must_use]
    pub fn run_id(self, run_id: impl Into<String>) -> Self {
        Self { run_id: Some(run_id.into()), ..self }
    }

    /// Sets [`cancellation`](Self::cancellation).
    #[must_use]
    pub fn cancellation(self, token: &CancellationToken) -> Self {
        Self { cancellation: token.clone(), ..self }
    }

    /// Adds an entry to [`metadata`](Self::metadata).
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Sets [`allow_changed_graph`](Self::allow_changed_graph).
    #[must_use]
    pub fn allow_changed_graph(self, allow: bool) -> Self {
        Self { allow_changed_graph: allow, ..self }
    }
}
