//! Nodes that tell what happens to them, and disks to keep runs on.

use std::sync::{Arc, Mutex};

use backhaul_agent::Context;
use backhaul_runtime::dag::{Dag, DagBuilder, Node};
use backhaul_runtime::executor::{DagExecutor, ExecutionResult, FunctionNodes, NodeCall};
use backhaul_runtime::persistence::ContextPersistence;
use backhaul_store::Disk;
use serde_json::{Value, json};

use crate::persistence::support::open_with;

/// What has happened, in order: `begin a`, `end a`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    pub(crate) fn tell(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn place(&self, what: &str) -> usize {
        self.all().iter().position(|told| told == what).unwrap()
    }

    /// The nodes that have begun, once for each time.
    pub(crate) fn begun(&self) -> Vec<String> {
        let all = self.all();
        all.iter().filter_map(|told| told.strip_prefix("begin ")).map(str::to_owned).collect()
    }
}

/// `work` gives its node's id after it has let others run a few times; `fail` fails.
pub(crate) fn functions(told: &Told) -> FunctionNodes {
    let (work, fail) = (told.clone(), told.clone());
    FunctionNodes::new().with("work", move |call| work_on(call, work.clone())).with(
        "fail",
        move |call: NodeCall| {
            fail.tell(format!("begin {}", call.node().id));
            async move { Err::<Value, _>(std::io::Error::other("no answer").into()) }
        },
    )
}

async fn work_on(
    call: NodeCall,
    told: Told,
) -> Result<Value, backhaul_runtime::executor::NodeError> {
    let id = call.node().id.clone();
    told.tell(format!("begin {id}"));
    for _ in 0..3 * id.len() {
        tokio::task::yield_now().await;
    }
    told.tell(format!("end {id}"));
    let seen: Vec<&str> = call.context.keys().collect();
    Ok(json!({"id": id, "seen": seen}))
}

/// A node that works, tried once, its output under its id.
pub(crate) fn work(id: &str) -> Node {
    Node::function(id, "work").output_key(id).max_attempts(1)
}

pub(crate) fn fail(id: &str) -> Node {
    Node::function(id, "fail").max_attempts(1)
}

pub(crate) fn built(dag: DagBuilder) -> Arc<Dag> {
    Arc::new(dag.build().unwrap())
}

pub(crate) fn of_nodes(nodes: impl IntoIterator<Item = Node>) -> DagBuilder {
    nodes.into_iter().fold(Dag::new("d"), DagBuilder::node)
}

/// A chain of nodes that work.
pub(crate) fn chain(ids: &[&str]) -> DagBuilder {
    let dag = of_nodes(ids.iter().map(|id| work(id)));
    ids.windows(2).fold(dag, |dag, pair| dag.edge(pair[0], pair[1]))
}

/// `a`, then `b`, `cc` and `ddd` at the same time, then `e`, and `f` after it.
pub(crate) fn diamond() -> DagBuilder {
    let dag = of_nodes(["a", "b", "cc", "ddd", "e", "f"].map(work)).edge("e", "f");
    ["b", "cc", "ddd"].iter().fold(dag, |dag, id| dag.edge("a", *id).edge(*id, "e"))
}

pub(crate) fn keeping(disk: &(impl Disk + Clone + 'static)) -> ContextPersistence {
    open_with(disk, crate::persistence::support::options())
}

pub(crate) async fn run(executor: &DagExecutor, dag: &Arc<Dag>) -> ExecutionResult {
    executor.run(dag, Context::new()).await
}

/// `id` and how it ended, of each node.
pub(crate) fn ends(result: &ExecutionResult) -> Vec<(&str, Option<bool>)> {
    result.node_results.iter().map(|node| (node.node_id.as_str(), node.success)).collect()
}
