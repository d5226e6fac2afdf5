//! Runs of graphs, step by step.

use std::sync::Arc;

use backhaul_agent::Context;
use backhaul_runtime::dag::{
    Condition, Dag, DagBuilder, Finished, Join, Node, NodeState, Outcome, Schedule, ScheduleError,
    Skip, SkipReason,
};
use proptest::prelude::*;

use super::generated::dag;

fn named(ids: &[&str]) -> DagBuilder {
    ids.iter().fold(Dag::new("d"), |dag, id| dag.node(Node::function(*id, "f")))
}

fn schedule(dag: DagBuilder) -> Schedule {
    Schedule::new(Arc::new(dag.build().unwrap()))
}

fn begin(schedule: &mut Schedule, id: &str) {
    let node = schedule.dag().index_of(id).unwrap();
    schedule.begin(node).unwrap();
}

fn finish(schedule: &mut Schedule, id: &str, outcome: Outcome) -> Finished {
    let node = schedule.dag().index_of(id).unwrap();
    schedule.finish(node, outcome, &Context::new()).unwrap()
}

fn run(schedule: &mut Schedule, id: &str, outcome: Outcome) -> Finished {
    begin(schedule, id);
    finish(schedule, id, outcome)
}

fn state(schedule: &Schedule, id: &str) -> NodeState {
    schedule.state(schedule.dag().index_of(id).unwrap())
}

fn ready(schedule: &Schedule) -> Vec<&str> {
    schedule.ready().map(|node| schedule.dag()[node].id.as_str()).collect()
}

#[test]
fn what_waits_for_nothing_is_ready_in_the_order_of_declaration() {
    let dag = named(&["c", "b", "a"]).edge("c", "b");
    assert_eq!(ready(&schedule(dag)), ["c", "a"]);
}

#[test]
fn an_unhandled_failure_ends_the_run_but_for_what_is_running() {
    let mut schedule = schedule(named(&["a", "b", "c", "d"]).edge("a", "d").edge("b", "d"));
    begin(&mut schedule, "a");
    begin(&mut schedule, "b");
    run(&mut schedule, "c", Outcome::Failed);
    let failed = schedule.dag().index_of("c");
    assert_eq!(schedule.failure(), failed);
    assert!(!schedule.is_over());
    assert_eq!(finish(&mut schedule, "a", Outcome::Succeeded).satisfied, ["d"]);
    finish(&mut schedule, "b", Outcome::Failed);
    assert!(schedule.is_over());
    assert_eq!(schedule.failure(), failed);
    let node = schedule.dag().index_of("d").unwrap();
    assert_eq!(schedule.skips(), [Skip { node, reason: SkipReason::RunFailed }]);
}

#[test]
fn a_failure_that_an_edge_handles_lets_the_run_go_on() {
    let dag = named(&["a", "fine", "repair", "after"])
        .edge("a", "fine")
        .edge_on_failure("a", "repair")
        .edge_always("repair", "after");
    let mut schedule = schedule(dag);
    assert_eq!(run(&mut schedule, "a", Outcome::Failed).satisfied, ["repair"]);
    assert_eq!(state(&schedule, "fine"), NodeState::Skipped);
    run(&mut schedule, "repair", Outcome::Failed);
    run(&mut schedule, "after", Outcome::Succeeded);
    assert!(schedule.is_over());
    assert_eq!(schedule.failure(), None);
}

#[test]
fn what_follows_a_skipped_node_is_skipped_unless_another_way_leads_there() {
    let dag = named(&["a", "no", "never"])
        .node(Node::function("any", "f").join(Join::Any))
        .edge_on_failure("a", "no")
        .edge_always("no", "never")
        .edge("no", "any")
        .edge("a", "any");
    let mut schedule = schedule(dag);
    run(&mut schedule, "a", Outcome::Succeeded);
    assert_eq!(state(&schedule, "no"), NodeState::Skipped);
    assert_eq!(state(&schedule, "never"), NodeState::Skipped);
    assert_eq!(ready(&schedule), ["any"]);
    assert_eq!(schedule.skips_since(1).len(), 1);
    assert_eq!(schedule.skips_since(9), []);
}

#[test]
fn a_join_of_any_waits_until_all_is_decided() {
    let dag = named(&["a", "b"]).node(Node::function("any", "f").join(Join::Any));
    let mut schedule = schedule(dag.edge("a", "any").edge_on_failure("b", "any"));
    run(&mut schedule, "a", Outcome::Succeeded);
    assert_eq!(state(&schedule, "any"), NodeState::Waiting);
    run(&mut schedule, "b", Outcome::Succeeded);
    assert_eq!(state(&schedule, "any"), NodeState::Ready);
}

#[test]
fn a_condition_is_decided_when_its_source_ends_and_never_for_a_failed_one() {
    let dag = || {
        named(&["a", "b", "c"])
            .edge_when("a", "b", Condition::is_none("alarm"))
            .edge_always("a", "c")
    };
    let mut fine = schedule(dag());
    assert_eq!(run(&mut fine, "a", Outcome::Succeeded).satisfied, ["b", "c"]);
    let mut failed = schedule(dag());
    assert_eq!(run(&mut failed, "a", Outcome::Failed).satisfied, ["c"]);
    assert_eq!(state(&failed, "b"), NodeState::Skipped);
}

#[test]
fn steps_that_are_not_due_are_refused_and_change_nothing() {
    let mut schedule = schedule(named(&["a", "b"]).edge("a", "b"));
    let before = schedule.clone();
    let [a, b] = ["a", "b"].map(|id| schedule.dag().index_of(id).unwrap());
    assert_eq!(
        schedule.begin(b).unwrap_err().to_string(),
        "the node `b` cannot begin: it is waiting, not ready",
    );
    assert_eq!(
        schedule.finish(a, Outcome::Succeeded, &Context::new()).unwrap_err().to_string(),
        "the node `a` cannot finish: it is ready, not running",
    );
    assert_eq!(schedule, before);
}

#[test]
fn the_history_of_another_graph_is_refused() {
    let dag = Arc::new(named(&["a", "b", "c"]).edge("a", "b").build().unwrap());
    let ended = |node: &str, satisfied: &[&str]| Finished {
        node: node.into(),
        outcome: Outcome::Succeeded,
        satisfied: satisfied.iter().map(|id| (*id).to_owned()).collect(),
    };
    let resume = |history: Vec<Finished>| Schedule::resume(Arc::clone(&dag), history);
    let error = |history| resume(history).unwrap_err().to_string();
    assert_eq!(
        error(vec![ended("x", &[])]),
        "the history names the node `x`, which the graph does not have; it is that of another graph",
    );
    assert_eq!(
        error(vec![ended("a", &["b", "c"])]),
        "the history names an edge from `a` to `c`, which the graph does not have; it is that of \
         another graph",
    );
    let early = resume(vec![ended("b", &[])]).unwrap_err();
    assert_eq!(early, ScheduleError::NotRunning { node: "b".into(), state: NodeState::Waiting });
    assert!(resume(vec![ended("a", &["b"]), ended("a", &["b"])]).is_err());
}

#[test]
fn what_is_stored_of_an_end_is_read_again() {
    let mut schedule = schedule(named(&["a", "b"]).edge("a", "b"));
    let finished = run(&mut schedule, "a", Outcome::Succeeded);
    let stored = serde_json::to_string(&finished).unwrap();
    assert_eq!(stored, r#"{"node":"a","outcome":"succeeded","satisfied":["b"]}"#);
    assert_eq!(serde_json::from_str::<Finished>(&stored).unwrap(), finished);
}

#[test]
fn a_chain_of_ten_thousand_nodes_runs_and_resumes_and_is_skipped_to_its_end() {
    let ids: Vec<String> = (0..Dag::MAX_NODES).map(|i| i.to_string()).collect();
    let nodes = ids.iter().fold(Dag::new("chain"), |dag, id| dag.node(Node::llm(id.clone())));
    let chain = |dag: DagBuilder, from: usize| {
        ids[from..].windows(2).fold(dag, |dag, pair| dag.edge(pair[0].clone(), pair[1].clone()))
    };
    let mut whole = schedule(chain(nodes.clone(), 0));
    let mut history = Vec::new();
    while let Some(node) = whole.next_ready() {
        whole.begin(node).unwrap();
        history.push(whole.finish(node, Outcome::Succeeded, &Context::new()).unwrap());
    }
    assert_eq!(history.len(), Dag::MAX_NODES);
    assert_eq!(Schedule::resume(Arc::clone(whole.dag()), history).unwrap(), whole);

    let mut skipped = schedule(chain(nodes.edge_on_failure("0", "1"), 1));
    run(&mut skipped, "0", Outcome::Succeeded);
    assert_eq!(skipped.skips().len(), Dag::MAX_NODES - 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_history_with_an_end_missing_never_panics(dag in dag(), missing in any::<prop::sample::Index>()) {
        let mut schedule = Schedule::new(Arc::new(dag));
        let mut history = Vec::new();
        while let Some(node) = schedule.next_ready() {
            schedule.begin(node).unwrap();
            history.push(schedule.finish(node, Outcome::Succeeded, &Context::new()).unwrap());
        }
        history.remove(missing.index(history.len()));
        let _ = Schedule::resume(Arc::clone(schedule.dag()), history);
    }
}
