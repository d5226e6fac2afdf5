//! Running graphs, so that they survive what happens to the process.

mod attempt;
mod cancellation;
mod dag_executor;
mod execution_result;
mod function_nodes;
mod inputs;
mod keeper;
mod merge;
mod node_call;
mod node_error;
mod node_executor;
mod node_executors;
mod node_output;
mod recorder;
mod resume_error;
mod resuming;
mod run_options;
mod running;

pub use self::cancellation::CancellationToken;
pub use self::dag_executor::DagExecutor;
pub use self::execution_result::{ExecutionResult, NodeResult};
pub use self::function_nodes::FunctionNodes;
pub use self::merge::{MergeConflict, MergeStrategy};
pub use self::node_call::NodeCall;
pub use self::node_error::NodeError;
pub use self::node_executor::{NodeExecutor, NodeFuture};
pub use self::node_executors::NodeExecutors;
pub use self::node_output::NodeOutput;
pub use self::recorder::Recorder;
pub use self::resume_error::ResumeError;
pub use self::run_options::RunOptions;
