//! What runs graphs.

use std::fmt;
use std::sync::Arc;

use backhaul_agent::{Context, MergeStrategy, ParallelRunLogger, RunEnd, RunStart, time};
use backhaul_store::{Clock, SystemClock, Timestamp};
use serde_json::{Map, Value};

use super::beginning::Beginning;
use super::execution_result::{ExecutionResult, NodeResult};
use super::keeper::Keeper;
use super::node_executor::NodeExecutor;
use super::ran::{End, Ran};
use super::recorder::Recorder;
use super::resume_error::ResumeError;
use super::resuming::Resuming;
use super::run_options::RunOptions;
use super::running::Running;
use crate::dag::{Dag, Schedule};
use crate::persistence::{
    ContextPersistence, PersistenceError, PersistenceErrorKind, Recovery, RunState,
};
use crate::run_status::RunStatus;
use crate::traced::Traced;

/// As many nodes run at the same time by default, as upstream.
const DEFAULT_MAX_PARALLEL: usize = 10;

/// Says in the metadata of a result that not all of the run is on disk, and why.
const PERSISTENCE_ERROR: &str = "persistence_error";

/// Runs graphs, so that they survive what happens to the process. The rules, and an example,
/// stand in the [module's page](super).
///
/// May be shared, and run several graphs at the same time. Needs a tokio runtime with a clock.
pub struct DagExecutor {
    pub(super) node_executor: Arc<dyn NodeExecutor>,
    pub(super) max_parallel: usize,
    pub(super) merge_strategy: MergeStrategy,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) persistence: Option<ContextPersistence>,
    run_logger: Option<Arc<dyn ParallelRunLogger>>,
}

impl DagExecutor {
    /// Runs nodes by this executor, with no logger, and keeps nothing.
    pub fn new(node_executor: impl NodeExecutor) -> Self {
        Self {
            node_executor: Arc::new(node_executor),
            max_parallel: DEFAULT_MAX_PARALLEL,
            merge_strategy: MergeStrategy::default(),
            clock: Arc::new(SystemClock::new()),
            persistence: None,
            run_logger: None,
        }
    }

    /// Tells a logger of each run. One that has a single run at a time is given as a
    /// [`SharedRunLogger`](backhaul_agent::SharedRunLogger).
    #[must_use]
    pub fn run_logger(self, logger: impl ParallelRunLogger + 'static) -> Self {
        Self { run_logger: Some(Arc::new(logger)), ..self }
    }

    /// Keeps each run on disk, so that it can go on after a crash.
    #[must_use]
    pub fn context_persistence(self, persistence: ContextPersistence) -> Self {
        Self { persistence: Some(persistence), ..self }
    }

    /// How many nodes of a run may run at the same time, at least 1. Default: 10, as upstream.
    #[must_use]
    pub fn max_parallel(self, nodes: usize) -> Self {
        Self { max_parallel: nodes.max(1), ..self }
    }

    /// What is done when nodes that ran at the same time change the same part of the context;
    /// [`ExecutionResult::conflicts`] tells of it whatever that is. By default the node that ends
    /// last has the last word. With [`DeepMerge`](MergeStrategy::DeepMerge) objects that both put
    /// there merge; with [`RaiseOnConflict`](MergeStrategy::RaiseOnConflict) the node that ends
    /// last has failed, and changes nothing: what it did has been done.
    #[must_use]
    pub fn merge_strategy(self, strategy: MergeStrategy) -> Self {
        Self { merge_strategy: strategy, ..self }
    }

    /// Takes the time from `clock`; without it, from the machine. Waits and limits go by
    /// tokio's clock.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Runs a graph from its beginning. What goes wrong stands in the result.
    pub async fn run(&self, dag: &Arc<Dag>, context: impl Into<Context>) -> ExecutionResult {
        self.run_with(dag, context, RunOptions::new()).await
    }

    /// Runs a graph from its beginning, with options.
    pub async fn run_with(
        &self,
        dag: &Arc<Dag>,
        context: impl Into<Context>,
        options: RunOptions,
    ) -> ExecutionResult {
        let RunOptions { run_id, cancellation, metadata, .. } = options;
        let started_at = self.clock.now().wall;
        let run_id: Arc<str> = run_id.unwrap_or_else(|| new_run_id(started_at)).into();
        let context = context.into();
        let recorder = self.start_log(&run_id, dag, &context, metadata.clone()).await;
        let kept = match self.check(dag) {
            Ok(()) => self.begin_to_keep(&run_id, dag, &context).await,
            Err(error) => Err(error),
        };
        let ran = match kept {
            Ok(keeper) => {
                let from = Beginning {
                    run_id: Arc::clone(&run_id),
                    schedule: Schedule::new(Arc::clone(dag)),
                    context,
                    node_results: Vec::new(),
                    past: Default::default(),
                    recorder: recorder.clone(),
                    keeper,
                    cancellation,
                };
                self.finish(from).await
            }
            Err(error) => never_begun(dag, context, error),
        };
        self.result(&run_id, dag, started_at, metadata, recorder, ran).await
    }

    /// Goes on with a run that was interrupted, or that failed: nodes that have ended do not run
    /// again, except those whose failure ended the run.
    ///
    /// # Errors
    /// When it cannot go on; nothing has happened then. What goes wrong later stands in the
    /// result.
    pub async fn resume(
        &self,
        dag: &Arc<Dag>,
        run_id: &str,
    ) -> Result<ExecutionResult, ResumeError> {
        self.resume_with(dag, run_id, RunOptions::new()).await
    }

    /// Goes on with a run, with options.
    ///
    /// # Errors
    /// As of [`resume`](Self::resume).
    pub async fn resume_with(
        &self,
        dag: &Arc<Dag>,
        run_id: &str,
        options: RunOptions,
    ) -> Result<ExecutionResult, ResumeError> {
        let persistence = self.persistence.clone().ok_or(ResumeError::NotKept)?;
        self.check(dag).map_err(ResumeError::CannotRun)?;
        let resuming =
            Resuming::open(persistence, dag, run_id, options.allow_changed_graph).await?;
        Ok(self.go_on(dag, resuming, options).await)
    }

    /// Goes on with the newest run of this graph, by its name, that was interrupted or that
    /// failed, and that nobody goes on with at the moment. `None`: there is none. A run that
    /// fails again is the one that is found the next time.
    ///
    /// # Errors
    /// As of [`resume`](Self::resume).
    pub async fn recover_run(
        &self,
        dag: &Arc<Dag>,
    ) -> Result<Option<ExecutionResult>, ResumeError> {
        self.recover_run_with(dag, RunOptions::new()).await
    }

    /// Goes on with the newest run of this graph, with options.
    ///
    /// # Errors
    /// As of [`resume`](Self::resume).
    pub async fn recover_run_with(
        &self,
        dag: &Arc<Dag>,
        options: RunOptions,
    ) -> Result<Option<ExecutionResult>, ResumeError> {
        let persistence = self.persistence.clone().ok_or(ResumeError::NotKept)?;
        loop {
            let (persistence, which) = (persistence.clone(), Recovery::any().dag(dag.name()));
            let found = blocking(move || persistence.recover_run(which)).await??;
            let Some(found) = found else { return Ok(None) };
            match self.resume_with(dag, &found.run_id, options.clone()).await {
                // Somebody else was faster; there may be another one.
                Err(error) if error.is_taken() => {}
                resumed => return resumed.map(Some),
            }
        }
    }

    async fn go_on(
        &self,
        dag: &Arc<Dag>,
        resuming: Resuming,
        options: RunOptions,
    ) -> ExecutionResult {
        let Resuming { run, schedule, past, node_results } = resuming;
        let started_at = self.clock.now().wall;
        let run_id: Arc<str> = run.state().run_id.as_str().into();
        let context = run.context().clone();
        let mut metadata = options.metadata;
        let finished = node_results.iter().map(|node| node.node_id.clone()).collect::<Vec<_>>();
        metadata.insert("resumed".to_owned(), true.into());
        metadata.insert("finished_before".to_owned(), finished.into());
        let recorder = self.start_log(&run_id, dag, &context, metadata.clone()).await;
        let from = Beginning {
            run_id: Arc::clone(&run_id),
            schedule,
            context,
            node_results,
            past,
            recorder: recorder.clone(),
            keeper: Keeper::new(Some(run)),
            cancellation: options.cancellation,
        };
        let ran = self.finish(from).await;
        self.result(&run_id, dag, started_at, metadata, recorder, ran).await
    }

    /// Runs what is left, as a call of Weave.
    async fn finish(&self, from: Beginning) -> Ran {
        let traced = Traced::begin(from.schedule.dag().name(), |call| {
            call.input("run_id", &*from.run_id).input("context", from.context.to_value())
        });
        let ran = traced.run(Running::new(self, from).finish()).await;
        match ran.end.status {
            RunStatus::Completed => traced.finish(|| ran.context.to_value()),
            status => {
                let error = ran.end.error.as_deref().unwrap_or("it did not come to its end");
                traced.fail(status.as_str(), error);
            }
        }
        ran
    }

    /// Whether every node can be run.
    fn check(&self, dag: &Dag) -> Result<(), String> {
        let failed = dag.nodes().iter().filter_map(|node| {
            let why = self.node_executor.check(node).err()?;
            Some(format!("the node `{}` cannot be run: {why}", node.id))
        });
        let failed: Vec<String> = failed.collect();
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }

    async fn start_log(
        &self,
        run_id: &str,
        dag: &Dag,
        context: &Context,
        metadata: Map<String, Value>,
    ) -> Recorder {
        let Some(logger) = self.run_logger.clone() else { return Recorder::default() };
        let start = RunStart::new(run_id).dag_name(dag.name()).initial_context(context.clone());
        let start = RunStart { metadata, ..start };
        match blocking(move || logger.begin_run(start)).await {
            Ok(run) => Recorder::new(run),
            Err(error) => {
                tracing::error!(run_id, %error, "the logger does not take a run: it is not recorded");
                Recorder::default()
            }
        }
    }

    /// Begins to keep a run. A disk in trouble is no reason not to run; the run going on
    /// elsewhere is one.
    async fn begin_to_keep(
        &self,
        run_id: &str,
        dag: &Dag,
        context: &Context,
    ) -> Result<Keeper, String> {
        let Some(persistence) = self.persistence.clone() else { return Ok(Keeper::new(None)) };
        let ids = dag.nodes().iter().map(|node| node.id.clone());
        let state = RunState::new(run_id, dag.name(), context.clone());
        let state = state.dag_digest(dag.digest()).pending(ids);
        match blocking(move || persistence.begin(state)).await.flatten() {
            Ok(run) => Ok(Keeper::new(Some(run))),
            Err(error) if error.kind() == PersistenceErrorKind::Busy => Err(error.to_string()),
            Err(error) => {
                tracing::error!(run_id, %error, "a run is not kept: a crash would lose it");
                Ok(Keeper::failed(error.to_string()))
            }
        }
    }

    async fn result(
        &self,
        run_id: &str,
        dag: &Dag,
        started_at: Timestamp,
        mut metadata: Map<String, Value>,
        recorder: Recorder,
        ran: Ran,
    ) -> ExecutionResult {
        let End { status, error } = ran.end;
        if let Some(error) = ran.persistence_error {
            metadata.insert(PERSISTENCE_ERROR.to_owned(), error.into());
        }
        let result = ExecutionResult {
            run_id: run_id.to_owned(),
            dag_name: dag.name().to_owned(),
            status,
            node_results: ran.node_results,
            final_context: ran.context,
            error,
            started_at,
            completed_at: self.clock.now().wall,
            conflicts: ran.conflicts,
            metadata,
        };
        end_log(recorder, &result).await;
        result
    }
}

async fn end_log(recorder: Recorder, result: &ExecutionResult) {
    if !recorder.is_recording() {
        return;
    }
    let end = RunEnd {
        final_context: Some(result.final_context.clone()),
        success: result.success(),
        error: result.error.clone(),
        ..RunEnd::new()
    };
    let end = match result.metadata.get(PERSISTENCE_ERROR) {
        Some(error) => end.metadata(PERSISTENCE_ERROR, error.clone()),
        None => end,
    };
    let run_id = &result.run_id;
    if let Err(error) = blocking(move || recorder.end(end)).await {
        tracing::error!(run_id, %error, "the logger did not take the end of a run");
    }
}

/// A run that was refused: every node is skipped.
fn never_begun(dag: &Dag, context: Context, error: String) -> Ran {
    let skipped = dag.nodes().iter().map(|node| NodeResult::skipped(node.id.clone()));
    Ran {
        end: End { status: RunStatus::Failed, error: Some(error) },
        context,
        node_results: skipped.collect(),
        conflicts: Vec::new(),
        persistence_error: None,
    }
}

/// Does what waits for a disk in a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PersistenceError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        let message = format!("the thread that was to do it has ended: {error}");
        PersistenceError::new(PersistenceErrorKind::Storage, message)
    })
}

/// Unique in a fleet: devices whose clocks agree to the microsecond differ in the 48 random bits.
fn new_run_id(now: Timestamp) -> String {
    let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
    format!("run_{}_{:012x}", time::isoformat(now), high >> 16)
}

impl fmt::Debug for DagExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DagExecutor")
            .field("max_parallel", &self.max_parallel)
            .field("merge_strategy", &self.merge_strategy)
            .field("persistence", &self.persistence)
            .field("has_run_logger", &self.run_logger.is_some())
            .finish_non_exhaustive()
    }
}
