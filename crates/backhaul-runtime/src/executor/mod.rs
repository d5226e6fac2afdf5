//! Running graphs, so that they survive what happens to the process.
//!
//! ```
//! # use backhaul_runtime::executor::NodeCall;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let dir = tempfile::tempdir()?;
//! use std::sync::Arc;
//! use backhaul_agent::{Context, InMemoryRunLogger};
//! use backhaul_runtime::dag::{Condition, Dag, Node};
//! use backhaul_runtime::executor::{DagExecutor, FunctionNodes};
//! use backhaul_runtime::persistence::ContextPersistence;
//!
//! let functions = FunctionNodes::new()
//!     .with("read_sensors", |_| async { Ok(31.5) })
//!     .with("act_on", |call: NodeCall| async move { Ok(format!("{:?}", call.input("reading"))) });
//! let dag = Dag::new("sensor_dag")
//!     .node(Node::function("read", "read_sensors").output_key("reading"))
//!     .node(Node::function("act", "act_on").input("reading", "reading"))
//!     .edge_when("read", "act", Condition::greater_than("reading", 30))
//!     .build()?;
//! let dag = Arc::new(dag);
//!
//! let persistence = ContextPersistence::new(dir.path())?;
//! let executor = DagExecutor::new(functions)
//!     .run_logger(InMemoryRunLogger::new())
//!     .context_persistence(persistence.clone());
//!
//! // What a crash has interrupted goes on where it was.
//! if let Some(result) = executor.recover_run(&dag).await? {
//!     println!("{} is {}", result.run_id, result.status);
//! }
//! let context = persistence.recover_latest()?.unwrap_or_default();
//! let result = executor.run(&dag, context.set("site", "roof")).await;
//! assert!(result.success());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })
//! # }
//! ```
//!
//! # What runs when
//! - The nodes that may begin are those of the [`Schedule`](crate::dag::Schedule); of those, the
//!   first declared, and at most [`max_parallel`](DagExecutor::max_parallel) at a time.
//! - A node gets the context as it is when it begins. What it gives goes into the context when
//!   it ends: its own patches first, then its value at its `output_key`, unless that is null.
//! - An attempt that fails is followed by another, up to the node's `max_attempts`, 0.1 s after
//!   the first, 0.2 s after the second and so on; unless its error is
//!   [final](NodeError::is_final). One that takes longer than the node's timeout is dropped and
//!   has failed, and one that panics has failed.
//! - A run that is [cancelled](CancellationToken) drops what runs. It does not go on.
//! - [`DagExecutor::run`] never fails by itself: what went wrong stands in its result. A run
//!   whose future is dropped stops where it waits, and can go on later, as after a crash.
//!
//! # What survives
//! With a [`ContextPersistence`](crate::persistence::ContextPersistence), it is on disk that a
//! node has ended before a node begins that waits for it, and it is on disk that an attempt is
//! made before it is. Both are written together, so that a chain costs one flush a node. After a
//! crash or a power cut,
//! - no node that has ended on disk runs again, and none is left out;
//! - a node that had begun and not ended is begun again, under the same
//!   [`step`](NodeCall::step) and with [`may_have_happened`](NodeCall::may_have_happened): what it
//!   does happens at least once, and once where the receiver knows keys, as tools do;
//! - a node that was killed is tried once more, whatever its `max_attempts`;
//! - it sees the context of then. Where it takes an argument from what a node beside it changes,
//!   the argument may be another one after a crash, and then the key of its effect is too: let it
//!   wait for that node.
//!
//! A disk in trouble does not stop a run: the result's metadata says so (`persistence_error`),
//! and what it refuses is written later if it can be.
//!
//! # What is recorded
//! The [logger](DagExecutor::run_logger) gets a run's beginning, every change of the context,
//! what nodes tell by [`NodeCall::recorder`], and exactly one end; the end says `interrupted`
//! where the run's future was dropped or its process killed. A run that goes on is another
//! record of the same run id, whose metadata says `resumed` and lists the nodes `finished_before`:
//! it begins with the context of then and holds what happened since, so that both records
//! together have everything once. Only what a node did that had not ended on disk when the
//! process was killed may stand in both, under two ids: it was done twice. A process that is
//! killed after a run's end is on disk and before its record is leaves one record, which holds
//! everything and says `interrupted`: there is nothing left to go on with.

mod attempt;
mod beginning;
mod cancellation;
mod dag_executor;
mod execution_result;
mod function_nodes;
mod inputs;
mod keeper;
mod llm_node_executor;
mod merge;
mod node_call;
mod node_error;
mod node_executor;
mod node_executors;
mod node_output;
mod ran;
mod recorder;
mod resume_error;
mod resuming;
mod run_options;
mod running;
mod template;
mod tool_nodes;

pub use self::cancellation::CancellationToken;
pub use self::dag_executor::DagExecutor;
pub use self::execution_result::{ExecutionResult, NodeResult};
pub use self::function_nodes::FunctionNodes;
pub use self::llm_node_executor::LlmNodeExecutor;
pub use self::merge::NodeConflict;
pub use self::node_call::NodeCall;
pub use self::node_error::NodeError;
pub use self::node_executor::{NodeExecutor, NodeFuture};
pub use self::node_executors::NodeExecutors;
pub use self::node_output::NodeOutput;
pub use self::recorder::Recorder;
pub use self::resume_error::ResumeError;
pub use self::run_options::RunOptions;
pub use backhaul_agent::MergeStrategy;
