//! What a run goes on from.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::beginning::Past;
use super::dag_executor::blocking;
use super::execution_result::NodeResult;
use super::resume_error::ResumeError;
use crate::dag::{Dag, Finished, Outcome, Schedule};
use crate::persistence::{ContextPersistence, NodeRecord, PersistentRun, Recovery, RunState};

/// What a run goes on from.
pub(super) struct Resuming {
    pub(super) run: PersistentRun,
    pub(super) schedule: Schedule,
    pub(super) past: BTreeMap<String, Past>,
    pub(super) node_results: Vec<NodeResult>,
}

impl Resuming {
    pub(super) async fn open(
        persistence: ContextPersistence,
        dag: &Arc<Dag>,
        run_id: &str,
        allow_changed_graph: bool,
    ) -> Result<Self, ResumeError> {
        let (dag, run_id) = (Arc::clone(dag), run_id.to_owned());
        blocking(move || open(&persistence, dag, &run_id, allow_changed_graph)).await?
    }
}

/// Everything is looked at before the run is touched.
fn open(
    persistence: &ContextPersistence,
    dag: Arc<Dag>,
    run_id: &str,
    allow_changed_graph: bool,
) -> Result<Resuming, ResumeError> {
    let before = persistence.recover_run(Recovery::any().run(run_id))?;
    if let Some(before) = &before {
        if !allow_changed_graph {
            check_graph(before, &dag)?;
        }
        schedule(Arc::clone(&dag), run_id, before.nodes.iter().filter(|node| stays(node)))?;
    }
    // Of a run that does not go on, this says why.
    let run = persistence.resume(run_id)?;
    let state = run.state();
    Ok(Resuming {
        schedule: schedule(dag, run_id, state.nodes.iter())?,
        past: past(before.as_ref().unwrap_or(state)),
        node_results: state.nodes.iter().cloned().map(NodeResult::from).collect(),
        run,
    })
}

fn check_graph(state: &RunState, dag: &Dag) -> Result<(), ResumeError> {
    let found = dag.digest();
    match &state.dag_digest {
        Some(began_with) if *began_with != found => Err(ResumeError::ChangedGraph {
            run_id: state.run_id.clone(),
            began_with: began_with.clone(),
            found,
        }),
        _ => Ok(()),
    }
}

fn schedule<'a>(
    dag: Arc<Dag>,
    run_id: &str,
    nodes: impl Iterator<Item = &'a NodeRecord>,
) -> Result<Schedule, ResumeError> {
    let history = nodes.filter_map(|node| {
        let outcome = if node.success? { Outcome::Succeeded } else { Outcome::Failed };
        Some(Finished { node: node.node_id.clone(), outcome, satisfied: node.leads_to.clone() })
    });
    Schedule::resume(dag, history)
        .map_err(|error| ResumeError::History { run_id: run_id.to_owned(), error })
}

/// Whether a node has ended for good: it did what it is for, or its failure was handled.
fn stays(node: &NodeRecord) -> bool {
    node.success.is_some_and(|success| success || !node.leads_to.is_empty())
}

/// The attempts at nodes that have not ended for good.
fn past(state: &RunState) -> BTreeMap<String, Past> {
    let failed = state.nodes.iter().filter(|node| node.success.is_some() && !stays(node));
    let failed = failed.map(|node| {
        let may_have_happened = node.may_have_happened;
        let past = Past { attempts: node.attempts, is_begun: false, may_have_happened };
        (node.node_id.clone(), past)
    });
    let begun = state.begun.iter().map(|(node_id, attempt)| {
        let past = Past { attempts: *attempt, is_begun: true, may_have_happened: true };
        (node_id.clone(), past)
    });
    failed.chain(begun).collect()
}
