//! What is known of a run at its beginning and at its end.

use serde_json::{Map, Value};

use crate::context::Context;
use crate::run_record::RunRecord;

/// How a run begins.
///
/// ```
/// use backhaul_agent::{Context, RunStart};
///
/// let start = RunStart::new("run_001")
///     .dag_name("sensor_dag")
///     .initial_context(Context::new().set("site", "roof"))
///     .metadata("stream", "weather")
///     .critical(true);
/// assert_eq!(start.run_id, "run_001");
/// assert_eq!(RunStart::from("run_002"), RunStart::new("run_002"));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RunStart {
    /// Names the run. Make it unique: receivers know a run by it.
    pub run_id: String,
    /// The DAG that runs. Default empty.
    pub dag_name: String,
    /// The context before the first step. Default none.
    pub initial_context: Option<Context>,
    /// Goes into the metadata of the record. Default empty.
    pub metadata: Map<String, Value>,
}

impl RunStart {
    /// A run with this id.
    pub fn new(run_id: impl Into<String>) -> Self {
        Self {
            run_id: run_id.into(),
            dag_name: String::new(),
            initial_context: None,
            metadata: Map::new(),
        }
    }

    /// How the run of a record began.
    pub(crate) fn of(record: &RunRecord) -> Self {
        Self {
            run_id: record.run_id.clone(),
            dag_name: record.dag_name.clone(),
            initial_context: record.initial_context.clone(),
            metadata: record.metadata.clone(),
        }
    }

    /// Says which DAG runs.
    #[must_use]
    pub fn dag_name(mut self, dag_name: impl Into<String>) -> Self {
        self.dag_name = dag_name.into();
        self
    }

    /// Says with what context the run begins.
    #[must_use]
    pub fn initial_context(mut self, context: Context) -> Self {
        self.initial_context = Some(context);
        self
    }

    /// Adds one entry to the metadata of the record.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Says whether the record goes before others, as `metadata.critical`.
    #[must_use]
    pub fn critical(self, critical: bool) -> Self {
        self.metadata("critical", critical)
    }
}

impl From<&str> for RunStart {
    fn from(run_id: &str) -> Self {
        Self::new(run_id)
    }
}

impl From<String> for RunStart {
    fn from(run_id: String) -> Self {
        Self::new(run_id)
    }
}

/// How a run ends; with success, when nothing else is said.
///
/// ```
/// use backhaul_agent::RunEnd;
///
/// assert!(RunEnd::new().success);
/// let failed = RunEnd::failed("the pump did not answer").critical(true);
/// assert!(!failed.success);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RunEnd {
    /// The context after the last step. Default none.
    pub final_context: Option<Context>,
    /// Whether the run succeeded. Default true.
    pub success: bool,
    /// What went wrong. Default none.
    pub error: Option<String>,
    /// Goes into the metadata of the record, over what was given at the start.
    pub metadata: Map<String, Value>,
}

impl RunEnd {
    /// An end with success.
    pub fn new() -> Self {
        Self { final_context: None, success: true, error: None, metadata: Map::new() }
    }

    /// An end without success.
    pub fn failed(error: impl Into<String>) -> Self {
        Self { success: false, error: Some(error.into()), ..Self::new() }
    }

    /// How the run of a record ended.
    pub(crate) fn of(record: &RunRecord) -> Self {
        Self {
            final_context: record.final_context.clone(),
            success: record.success,
            error: record.error.clone(),
            metadata: record.metadata.clone(),
        }
    }

    /// Says with what context the run ends.
    #[must_use]
    pub fn final_context(mut self, context: Context) -> Self {
        self.final_context = Some(context);
        self
    }

    /// Says whether the run succeeded.
    #[must_use]
    pub fn success(mut self, success: bool) -> Self {
        self.success = success;
        self
    }

    /// Says what went wrong; a run with an error may still be a success.
    #[must_use]
    pub fn error(mut self, error: impl Into<String>) -> Self {
        self.error = Some(error.into());
        self
    }

    /// Adds one entry to the metadata of the record; wins over the start.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Says whether the record goes before others, as `metadata.critical`.
    #[must_use]
    pub fn critical(self, critical: bool) -> Self {
        self.metadata("critical", critical)
    }
}

impl Default for RunEnd {
    fn default() -> Self {
        Self::new()
    }
}
