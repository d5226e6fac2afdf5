//! Random graphs with random outcomes, beside an executor that is too simple to be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use backhaul_agent::{Context, ContextPatch};
use backhaul_runtime::RunStatus;
use backhaul_runtime::dag::{Dag, EdgeCondition, Join, Outcome};
use backhaul_runtime::executor::{
    DagExecutor, ExecutionResult, FunctionNodes, NodeCall, NodeError, NodeOutput, RunOptions,
};
use backhaul_testkit::SimDisk;
use proptest::prelude::*;
use serde_json::Value;

use super::resumes::{gone_on, polled};
use super::support::{Told, ends, keeping};
use crate::dag::generated::{context, dag, outcome, small_value};

/// What a node does: it lets others run so many times, and then changes a field, or fails.
#[derive(Debug, Clone)]
struct Act {
    outcome: Outcome,
    value: Value,
    yields: usize,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = (outcome(), small_value(), 0..4_usize).prop_map(|(outcome, value, yields)| Act {
        outcome,
        value,
        yields,
    });
    prop::collection::vec(act, 12)
}

fn place(dag: &Dag, id: &str) -> usize {
    dag.index_of(id).unwrap().get()
}

/// The field that a node changes, if nodes change any.
fn field(place: usize) -> &'static str {
    ["a", "b.c"][place % 2]
}

fn executor(acts: &[Act], changes: bool, told: &Told) -> DagExecutor {
    let (acts, told) = (Arc::new(acts.to_vec()), told.clone());
    DagExecutor::new(FunctionNodes::new().with("f", move |call: NodeCall| {
        let (acts, told) = (Arc::clone(&acts), told.clone());
        async move {
            let id = call.node().id.clone();
            let act = &acts[place(call.dag(), &id)];
            told.tell(format!("begin {id}"));
            for _ in 0..act.yields {
                tokio::task::yield_now().await;
            }
            told.tell(format!("end {id}"));
            match act.outcome {
                Outcome::Failed => Err(NodeError::fatal("as it was to")),
                Outcome::Succeeded if changes => {
                    let patch = ContextPatch::set(field(place(call.dag(), &id)), act.value.clone());
                    Ok(NodeOutput::default().patch(patch))
                }
                Outcome::Succeeded => Ok(NodeOutput::default()),
            }
        }
    }))
}

/// One node after the other, the first that may; all rules spelled out.
struct Naive<'a> {
    dag: &'a Dag,
    context: Context,
    ends: Vec<(String, Option<bool>)>,
    /// Edges that are resolved, and whether they are satisfied.
    edges: BTreeMap<(String, String), bool>,
}

impl<'a> Naive<'a> {
    fn run(dag: &'a Dag, context: Context, acts: &[Act], changes: bool) -> (Self, bool) {
        let mut run = Self { dag, context, ends: Vec::new(), edges: BTreeMap::new() };
        while let Some(id) = run.next() {
            let act = &acts[place(dag, &id)];
            if act.outcome == Outcome::Succeeded && changes {
                run.context = run.context.set(field(place(dag, &id)), act.value.clone());
            }
            run.ends.push((id.clone(), Some(act.outcome == Outcome::Succeeded)));
            let mut is_handled = act.outcome == Outcome::Succeeded;
            for edge in dag.edges().iter().filter(|edge| edge.source == id) {
                let holds = edge.condition.is_satisfied(act.outcome, &run.context);
                let handles =
                    matches!(edge.condition, EdgeCondition::OnFailure | EdgeCondition::Always);
                is_handled |= holds && handles;
                run.edges.insert((id.clone(), edge.target.clone()), holds);
            }
            if !is_handled {
                for node in dag.nodes() {
                    if !run.has_ended(&node.id) {
                        run.ends.push((node.id.clone(), None));
                    }
                }
                return (run, false);
            }
        }
        (run, true)
    }

    fn has_ended(&self, id: &str) -> bool {
        self.ends.iter().any(|(ended, _)| ended == id)
    }

    /// Skips what is to be skipped, and gives the next one that runs.
    fn next(&mut self) -> Option<String> {
        loop {
            let decided: Vec<(&str, bool)> = self
                .dag
                .nodes()
                .iter()
                .filter_map(|node| self.decided(&node.id, node.join))
                .collect();
            let skipped = decided.iter().find(|(_, runs)| !runs);
            let Some((skipped, _)) = skipped else {
                return decided.first().map(|(id, _)| (*id).to_owned());
            };
            let skipped = (*skipped).to_owned();
            for edge in self.dag.edges().iter().filter(|edge| edge.source == skipped) {
                self.edges.insert((skipped.clone(), edge.target.clone()), false);
            }
            self.ends.push((skipped, None));
        }
    }

    /// A node that has not ended and waits for nothing, and whether it runs.
    fn decided<'b>(&self, id: &'b str, join: Join) -> Option<(&'b str, bool)> {
        if self.has_ended(id) {
            return None;
        }
        let edges = self.dag.edges().iter().filter(|edge| edge.target == id);
        let edges = edges.map(|edge| self.edges.get(&(edge.source.clone(), edge.target.clone())));
        let edges: Option<Vec<bool>> = edges.map(|edge| edge.copied()).collect();
        let edges = edges?;
        let runs = match join {
            Join::All => edges.iter().all(|holds| *holds),
            Join::Any => edges.is_empty() || edges.contains(&true),
        };
        Some((id, runs))
    }

    fn ran(&self) -> Vec<(&str, Option<bool>)> {
        let ends = self.ends.iter().map(|(id, success)| (id.as_str(), *success));
        ends.filter(|(_, success)| success.is_some()).collect()
    }
}

fn ran(result: &ExecutionResult) -> Vec<(&str, Option<bool>)> {
    ends(result).into_iter().filter(|(_, success)| success.is_some()).collect()
}

fn assert_same(result: &ExecutionResult, naive: &Naive<'_>, succeeds: bool) {
    let expected = if succeeds { RunStatus::Completed } else { RunStatus::Failed };
    assert_eq!(result.status, expected, "{:?}", result.error);
    assert_eq!(result.final_context.to_value(), naive.context.to_value());
    assert_eq!(ran(result), naive.ran());
    let all: BTreeSet<_> = ends(result).into_iter().collect();
    assert_eq!(all, naive.ends.iter().map(|(id, success)| (id.as_str(), *success)).collect());
    assert_eq!(result.node_results.len(), naive.ends.len());
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn one_at_a_time_a_run_is_that_of_the_naive_executor(dag in dag(), acts in acts(), context in context()) {
        let executor = executor(&acts, true, &Told::default()).max_parallel(1);
        let result = block_on(executor.run(&Arc::new(dag.clone()), context.clone()));
        let (naive, succeeds) = Naive::run(&dag, context, &acts, true);
        assert_same(&result, &naive, succeeds);
    }

    #[test]
    fn at_the_same_time_each_node_comes_after_its_sources_and_as_much_runs(
        dag in dag(), acts in acts(), context in context(), most in 2..6_usize,
    ) {
        let told = Told::default();
        let executor = executor(&acts, false, &told).max_parallel(most);
        let result = block_on(executor.run(&Arc::new(dag.clone()), context.clone()));
        let all = told.all();
        for edge in dag.edges() {
            let begin = all.iter().position(|it| *it == format!("begin {}", edge.target));
            let end = all.iter().position(|it| *it == format!("end {}", edge.source));
            if let (Some(begin), Some(end)) = (begin, end) {
                prop_assert!(end < begin);
            }
        }
        let (naive, succeeds) = Naive::run(&dag, context, &acts, false);
        prop_assert_eq!(result.success(), succeeds);
        if succeeds {
            let all: BTreeSet<_> = ends(&result).into_iter().collect();
            prop_assert_eq!(all, naive.ends.iter().map(|(id, it)| (id.as_str(), *it)).collect());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn interrupted_anywhere_a_run_is_that_of_the_naive_executor(
        dag in dag(), acts in acts(), context in context(), polls in 2..60_usize,
    ) {
        block_on(async {
            let (disk, told) = (SimDisk::new(), Told::default());
            let executor = || executor(&acts, true, &told)
                .max_parallel(1)
                .context_persistence(keeping(&disk));
            let graph = Arc::new(dag.clone());
            let first = executor();
            let options = RunOptions::new().run_id("r");
            let result = polled(polls, first.run_with(&graph, context.clone(), options)).await;
            let result = match result {
                Some(result) => result,
                None if told.all().is_empty() => return,
                None => match gone_on(&executor(), &graph, "r").await {
                    Some(result) => result,
                    None => return,
                },
            };
            let (naive, succeeds) = Naive::run(&dag, context, &acts, true);
            assert_same(&result, &naive, succeeds);
        });
    }
}
