//! One run of a graph: what has happened, and what may happen next.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use backhaul_agent::Context;
use serde::{Deserialize, Serialize};

use super::graph::{Dag, NodeIndex};
use super::node::Join;
use super::schedule_error::ScheduleError;

/// How far a node has come in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// An edge into it is not resolved.
    Waiting,
    /// It may begin.
    Ready,
    /// It has begun.
    Running,
    /// It has done what it is for.
    Succeeded,
    /// It has not.
    Failed,
    /// It does not run.
    Skipped,
}

/// What came of a node that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It has done what it is for.
    Succeeded,
    /// It has not, however often it was tried.
    Failed,
}

/// The end of one node, with all that was decided then: what is stored to
/// [resume](Schedule::resume) a run without the contexts of that time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// The id of the node.
    pub node: String,
    /// What came of it.
    pub outcome: Outcome,
    /// The ids of the nodes to which its satisfied edges lead.
    pub satisfied: Vec<String>,
}

/// A node that does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skip {
    /// The node.
    pub node: NodeIndex,
    /// Why.
    pub reason: SkipReason,
}

/// Why a node does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The edges into it did not satisfy its [`Join`].
    Unsatisfied,
    /// The run failed before it began.
    RunFailed,
}

/// One run of a graph, as a state machine: it says what may begin, and is told what has begun
/// and what has finished. The rules stand in the [module's page](super).
///
/// What runs and what is skipped depends on the outcomes and on the contexts at the ends of the
/// nodes, never on which of two nodes is faster; only a run that fails stops where it is.
///
/// ```
/// use std::sync::Arc;
/// use backhaul_agent::Context;
/// use backhaul_runtime::dag::{Condition, Dag, Node, Outcome, Schedule};
/// let dag = Dag::new("sensor_dag")
///     .node(Node::tool("read", "read_sensors"))
///     .node(Node::function("act", "act_on"))
///     .edge_when("read", "act", Condition::greater_than("reading", 30))
///     .build()?;
/// let mut schedule = Schedule::new(Arc::new(dag));
/// let mut context = Context::new();
/// while let Some(node) = schedule.next_ready() {
///     schedule.begin(node)?;
///     context = context.set("reading", 31.5);
///     schedule.finish(node, Outcome::Succeeded, &context)?;
/// }
/// assert!(schedule.is_over() && schedule.failure().is_none() && schedule.skips().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    dag: Arc<Dag>,
    states: Vec<NodeState>,
    incoming: Vec<Incoming>,
    ready: BTreeSet<NodeIndex>,
    running: usize,
    skips: Vec<Skip>,
    failure: Option<NodeIndex>,
}

/// The edges into a node, counted.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Incoming {
    unresolved: usize,
    unsatisfied: usize,
    satisfied: usize,
}

impl Schedule {
    /// A run that begins.
    pub fn new(dag: Arc<Dag>) -> Self {
        let count = dag.nodes.len();
        let incoming = dag.topology.indices().map(|node| dag.topology.incoming(node));
        let incoming =
            incoming.map(|unresolved| Incoming { unresolved, unsatisfied: 0, satisfied: 0 });
        let mut schedule = Self {
            incoming: incoming.collect(),
            states: vec![NodeState::Waiting; count],
            ready: BTreeSet::new(),
            running: 0,
            skips: Vec::new(),
            failure: None,
            dag,
        };
        for node in schedule.dag.topology.indices() {
            if schedule.incoming[node.0].unresolved == 0 {
                schedule.make_ready(node);
            }
        }
        schedule
    }

    /// A run that was interrupted after these nodes had finished, in the order in which they
    /// did. It equals the one that was interrupted, except that what was running then may begin
    /// again, or is skipped if the run had failed.
    ///
    /// # Errors
    /// When the history is not one of this graph.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use backhaul_agent::Context;
    /// use backhaul_runtime::dag::{Dag, Node, Outcome, Schedule};
    /// let dag = Dag::new("d").node(Node::llm("a")).node(Node::llm("b")).edge("a", "b").build()?;
    /// let dag = Arc::new(dag);
    /// let mut schedule = Schedule::new(Arc::clone(&dag));
    /// let first = schedule.dag().index_of("a").unwrap();
    /// schedule.begin(first)?;
    /// let finished = schedule.finish(first, Outcome::Succeeded, &Context::new())?;
    /// assert_eq!(Schedule::resume(dag, [finished])?, schedule);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resume(
        dag: Arc<Dag>,
        history: impl IntoIterator<Item = Finished>,
    ) -> Result<Self, ScheduleError> {
        let mut schedule = Self::new(dag);
        let steps = history.into_iter().map(|finished| schedule.recalled(&finished));
        let steps = steps.collect::<Result<Vec<_>, _>>()?;
        for (position, (node, outcome, is_satisfied)) in steps.iter().enumerate() {
            // What finished after the failure of the run had begun before it.
            let fails = schedule.fails_the_run(*node, *outcome, is_satisfied);
            let begun = if fails { &steps[position..] } else { &steps[position..=position] };
            for (node, ..) in begun {
                if schedule.ready.contains(node) {
                    schedule.begin(*node)?;
                }
            }
            schedule.expect_running(*node)?;
            schedule.settle(*node, *outcome, is_satisfied);
        }
        Ok(schedule)
    }

    /// The graph.
    pub fn dag(&self) -> &Arc<Dag> {
        &self.dag
    }

    /// The nodes that may begin now, in the order of their declaration.
    pub fn ready(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        self.ready.iter().copied()
    }

    /// The first of them.
    pub fn next_ready(&self) -> Option<NodeIndex> {
        self.ready.first().copied()
    }

    /// How many nodes have begun and not finished.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Notes that a node begins.
    ///
    /// # Errors
    /// When it is not ready.
    pub fn begin(&mut self, node: NodeIndex) -> Result<(), ScheduleError> {
        if !self.ready.remove(&node) {
            let (node, state) = (self.dag[node].id.clone(), self.state(node));
            return Err(ScheduleError::NotReady { node, state });
        }
        self.states[node.0] = NodeState::Running;
        self.running += 1;
        Ok(())
    }

    /// Notes what came of a node, and decides the edges out of it by the context as it is now.
    ///
    /// # Errors
    /// When it is not running.
    pub fn finish(
        &mut self,
        node: NodeIndex,
        outcome: Outcome,
        context: &Context,
    ) -> Result<Finished, ScheduleError> {
        self.expect_running(node)?;
        let edges = self.dag.outgoing(node);
        let is_satisfied: Vec<bool> =
            edges.map(|(edge, _)| edge.condition.is_satisfied(outcome, context)).collect();
        let finished = self.recorded(node, outcome, &is_satisfied);
        self.settle(node, outcome, &is_satisfied);
        Ok(finished)
    }

    /// Whether nothing runs and nothing may begin.
    pub fn is_over(&self) -> bool {
        self.running == 0 && self.ready.is_empty()
    }

    /// How far a node has come.
    pub fn state(&self, node: NodeIndex) -> NodeState {
        self.states[node.0]
    }

    /// The first failed node that no edge handled: the run has failed.
    pub fn failure(&self) -> Option<NodeIndex> {
        self.failure
    }

    /// Every node that was skipped, in the order in which that was decided. It only grows.
    pub fn skips(&self) -> &[Skip] {
        &self.skips
    }

    /// Those that were skipped after the first `seen`.
    pub fn skips_since(&self, seen: usize) -> &[Skip] {
        self.skips.get(seen..).unwrap_or_default()
    }

    fn expect_running(&self, node: NodeIndex) -> Result<(), ScheduleError> {
        match self.state(node) {
            NodeState::Running => Ok(()),
            state => {
                let node = self.dag[node].id.clone();
                Err(ScheduleError::NotRunning { node, state })
            }
        }
    }

    fn recorded(&self, node: NodeIndex, outcome: Outcome, is_satisfied: &[bool]) -> Finished {
        let edges = self.dag.outgoing(node).zip(is_satisfied).filter(|(_, is)| **is);
        let satisfied = edges.map(|((edge, _), _)| edge.target.clone()).collect();
        Finished { node: self.dag[node].id.clone(), outcome, satisfied }
    }

    /// What a record says, by the places of this graph: the inverse of [`Schedule::recorded`].
    fn recalled(
        &self,
        finished: &Finished,
    ) -> Result<(NodeIndex, Outcome, Vec<bool>), ScheduleError> {
        let id = &finished.node;
        let unknown = || ScheduleError::UnknownNode { node: id.clone() };
        let node = self.dag.index_of(id).ok_or_else(unknown)?;
        let mut satisfied: HashSet<&str> = finished.satisfied.iter().map(String::as_str).collect();
        let edges = self.dag.outgoing(node);
        let is_satisfied = edges.map(|(edge, _)| satisfied.remove(edge.target.as_str())).collect();
        match satisfied.into_iter().min() {
            Some(target) => {
                Err(ScheduleError::UnknownEdge { source: id.clone(), target: target.to_owned() })
            }
            None => Ok((node, finished.outcome, is_satisfied)),
        }
    }

    /// Ends a running node, with its edges decided.
    fn settle(&mut self, node: NodeIndex, outcome: Outcome, is_satisfied: &[bool]) {
        self.running -= 1;
        self.states[node.0] = match outcome {
            Outcome::Succeeded => NodeState::Succeeded,
            Outcome::Failed => NodeState::Failed,
        };
        if self.fails_the_run(node, outcome, is_satisfied) {
            self.fail(node);
        } else if self.failure.is_none() {
            self.resolve_edges(node, is_satisfied);
        }
    }

    fn fails_the_run(&self, node: NodeIndex, outcome: Outcome, is_satisfied: &[bool]) -> bool {
        let mut edges = self.dag.outgoing(node).zip(is_satisfied);
        let mut is_handled =
            || edges.any(|((edge, _), is)| *is && edge.condition.handles_failure());
        self.failure.is_none() && outcome == Outcome::Failed && !is_handled()
    }

    /// Ends the run but for what is running.
    fn fail(&mut self, node: NodeIndex) {
        self.failure = Some(node);
        self.ready.clear();
        for node in self.dag.topology.indices() {
            if matches!(self.state(node), NodeState::Waiting | NodeState::Ready) {
                self.skip(node, SkipReason::RunFailed);
            }
        }
    }

    /// Resolves the edges out of a node that ran, and then those out of each node that is
    /// skipped for it. Without recursion: chains are as long as graphs are large.
    fn resolve_edges(&mut self, node: NodeIndex, is_satisfied: &[bool]) {
        let dag = Arc::clone(&self.dag);
        let mut skipped = VecDeque::new();
        for (target, is) in dag.topology.targets(node).zip(is_satisfied) {
            skipped.extend(self.resolve_edge(target, *is));
        }
        while let Some(node) = skipped.pop_front() {
            for target in dag.topology.targets(node) {
                skipped.extend(self.resolve_edge(target, false));
            }
        }
    }

    /// Resolves one edge into a node; gives the node if it is skipped for that.
    fn resolve_edge(&mut self, target: NodeIndex, is_satisfied: bool) -> Option<NodeIndex> {
        let incoming = &mut self.incoming[target.0];
        incoming.unresolved -= 1;
        incoming.satisfied += usize::from(is_satisfied);
        incoming.unsatisfied += usize::from(!is_satisfied);
        if incoming.unresolved > 0 {
            return None;
        }
        let runs = match self.dag[target].join {
            Join::All => incoming.unsatisfied == 0,
            Join::Any => incoming.satisfied > 0,
        };
        if runs {
            self.make_ready(target);
            return None;
        }
        self.skip(target, SkipReason::Unsatisfied);
        Some(target)
    }

    fn make_ready(&mut self, node: NodeIndex) {
        self.states[node.0] = NodeState::Ready;
        self.ready.insert(node);
    }

    fn skip(&mut self, node: NodeIndex, reason: SkipReason) {
        self.states[node.0] = NodeState::Skipped;
        self.skips.push(Skip { node, reason });
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        })
    }
}
