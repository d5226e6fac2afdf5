//! Random graphs, run in random order, beside the model.

use std::sync::Arc;

use backhaul_agent::Context;
use backhaul_runtime::dag::{Dag, Finished, NodeIndex, NodeState, Outcome, Schedule, SkipReason};
use proptest::prelude::*;
use proptest::sample::Index;

use super::generated::{context, dag, outcome};
use super::model::Model;

/// What each node comes to, and what the context is then.
type Ends = Vec<(Outcome, Context)>;

#[derive(Clone, Copy)]
enum Action {
    Begin(NodeIndex),
    Finish(NodeIndex),
}

/// A run to its end, with what happened in it, and the schedule as it was after each finish.
struct Run {
    schedule: Schedule,
    actions: Vec<Action>,
    history: Vec<Finished>,
    /// Each with the number of actions before it.
    snapshots: Vec<(usize, Schedule)>,
}

impl Run {
    fn new(dag: Dag) -> Self {
        let schedule = Schedule::new(Arc::new(dag));
        let snapshots = vec![(0, schedule.clone())];
        Self { schedule, actions: Vec::new(), history: Vec::new(), snapshots }
    }

    fn act(&mut self, action: Action, ends: &Ends) {
        self.actions.push(action);
        let Some(finished) = act(&mut self.schedule, action, ends) else {
            return;
        };
        self.history.push(finished);
        self.snapshots.push((self.actions.len(), self.schedule.clone()));
    }
}

fn act(schedule: &mut Schedule, action: Action, ends: &Ends) -> Option<Finished> {
    match action {
        Action::Begin(node) => {
            schedule.begin(node).unwrap();
            None
        }
        Action::Finish(node) => {
            let (outcome, context) = &ends[node.get()];
            Some(schedule.finish(node, *outcome, context).unwrap())
        }
    }
}

fn nodes(schedule: &Schedule) -> Vec<NodeIndex> {
    schedule.dag().nodes().iter().map(|node| schedule.dag().index_of(&node.id).unwrap()).collect()
}

fn in_state(schedule: &Schedule, state: NodeState) -> Vec<NodeIndex> {
    nodes(schedule).into_iter().filter(|node| schedule.state(*node) == state).collect()
}

fn possible(schedule: &Schedule) -> Vec<Action> {
    let running = in_state(schedule, NodeState::Running).into_iter().map(Action::Finish);
    schedule.ready().map(Action::Begin).chain(running).collect()
}

/// Asserts that the schedule says what the rules do.
fn compare(schedule: &Schedule, model: &Model<'_>) {
    let dag = schedule.dag();
    for node in nodes(schedule) {
        assert_eq!(schedule.state(node), model.state(&dag[node].id), "{}", dag[node].id);
    }
    assert_eq!(schedule.ready().collect::<Vec<_>>(), in_state(schedule, NodeState::Ready));
    assert_eq!(schedule.next_ready(), schedule.ready().next());
    assert_eq!(schedule.running(), in_state(schedule, NodeState::Running).len());
    assert_eq!(schedule.is_over(), possible(schedule).is_empty());
    assert_eq!(schedule.failure().map(|node| dag[node].id.as_str()), model.failure());
    let mut skipped: Vec<_> = schedule.skips().iter().map(|skip| skip.node).collect();
    skipped.sort();
    assert_eq!(skipped, in_state(schedule, NodeState::Skipped));
}

/// Every node begins after all that it waits for.
fn assert_sources_come_first(schedule: &Schedule, node: NodeIndex) {
    let dag = schedule.dag();
    for edge in dag.edges().iter().filter(|edge| edge.target == dag[node].id) {
        let state = schedule.state(dag.index_of(&edge.source).unwrap());
        let has_ended =
            matches!(state, NodeState::Succeeded | NodeState::Failed | NodeState::Skipped);
        assert!(has_ended, "{} begins before {}", edge.target, edge.source);
    }
}

/// Runs a graph to its end beside the model; `choices` say what happens next.
fn run(dag: Dag, ends: &Ends, choices: &[Index]) -> Run {
    let mut run = Run::new(dag.clone());
    let mut model = Model::new(&dag);
    compare(&run.schedule, &model);
    for choice in choices {
        let possible = possible(&run.schedule);
        if possible.is_empty() {
            break;
        }
        let action = possible[choice.index(possible.len())];
        if let Action::Begin(node) = action {
            assert_sources_come_first(&run.schedule, node);
            model.begin(&dag[node].id);
        }
        let seen = run.schedule.skips().len();
        run.act(action, ends);
        if let Action::Finish(node) = action {
            let id = &dag[node].id;
            model.finish(id, ends[node.get()].0, &ends[node.get()].1);
            let finished = run.history.last().unwrap();
            assert_eq!((&finished.node, finished.outcome), (id, ends[node.get()].0));
            assert_eq!(finished.satisfied, model.satisfied(id));
            let reason = match run.schedule.failure() {
                Some(_) => SkipReason::RunFailed,
                None => SkipReason::Unsatisfied,
            };
            assert!(run.schedule.skips_since(seen).iter().all(|skip| skip.reason == reason));
        }
        compare(&run.schedule, &model);
    }
    assert!(run.schedule.is_over());
    run
}

fn ends_and_choices() -> impl Strategy<Value = (Ends, Vec<Index>)> {
    let ends = prop::collection::vec((outcome(), context()), 12);
    (ends, prop::collection::vec(any::<Index>(), 24))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_run_goes_as_the_rules_say(dag in dag(), (ends, choices) in ends_and_choices()) {
        run(dag, &ends, &choices);
    }

    #[test]
    fn a_run_that_does_not_fail_ends_the_same_in_any_order(
        dag in dag(),
        (ends, choices) in ends_and_choices(),
        others in prop::collection::vec(any::<Index>(), 24),
    ) {
        let (one, other) = (run(dag.clone(), &ends, &choices), run(dag, &ends, &others));
        prop_assert_eq!(one.schedule.failure().is_some(), other.schedule.failure().is_some());
        if one.schedule.failure().is_none() {
            for node in nodes(&one.schedule) {
                prop_assert_eq!(one.schedule.state(node), other.schedule.state(node));
            }
        }
    }

    #[test]
    fn a_run_that_is_resumed_anywhere_goes_on_as_it_would_have(
        dag in dag(),
        (ends, choices) in ends_and_choices(),
    ) {
        let run = run(dag, &ends, &choices);
        for (finished, (actions, snapshot)) in run.snapshots.iter().enumerate() {
            let history = run.history[..finished].to_vec();
            let mut resumed = Schedule::resume(Arc::clone(snapshot.dag()), history).unwrap();
            for node in nodes(snapshot) {
                let expected = match (snapshot.state(node), snapshot.failure()) {
                    (NodeState::Running, None) => NodeState::Ready,
                    (NodeState::Running, Some(_)) => NodeState::Skipped,
                    (state, _) => state,
                };
                prop_assert_eq!(resumed.state(node), expected);
            }
            prop_assert_eq!(resumed.failure(), snapshot.failure());
            if snapshot.failure().is_none() {
                in_state(snapshot, NodeState::Running)
                    .into_iter()
                    .for_each(|node| resumed.begin(node).unwrap());
                prop_assert_eq!(&resumed, snapshot);
                for action in &run.actions[*actions..] {
                    act(&mut resumed, *action, &ends);
                }
                prop_assert_eq!(&resumed, &run.schedule);
            }
        }
        let whole = Schedule::resume(Arc::clone(run.schedule.dag()), run.history).unwrap();
        prop_assert_eq!(whole, run.schedule);
    }

    #[test]
    fn the_sorted_nodes_are_all_there_and_after_their_sources(dag in dag()) {
        let sorted = dag.topological_sort();
        let place = |id: &str| sorted.iter().position(|node| dag[*node].id == id).unwrap();
        prop_assert_eq!(sorted.len(), dag.nodes().len());
        for edge in dag.edges() {
            prop_assert!(place(&edge.source) < place(&edge.target));
        }
        for pair in sorted.windows(2) {
            let is_edge = dag.outgoing(pair[0]).any(|(_, target)| target == pair[1]);
            prop_assert!(pair[0] < pair[1] || is_edge, "a later one comes first without need");
        }
    }
}
