//! A run by definition: the rules of the module, asked again for each node at each moment.

use std::collections::HashSet;

use backhaul_agent::Context;
use backhaul_runtime::dag::{
    Condition, Dag, Edge, EdgeCondition, Join, NodeState, Operator, Outcome,
};
use serde_json::Value;

/// What has happened so far.
pub(super) struct Model<'a> {
    dag: &'a Dag,
    begun: HashSet<String>,
    ended: Vec<(String, Outcome, Context)>,
}

impl<'a> Model<'a> {
    pub(super) fn new(dag: &'a Dag) -> Self {
        Self { dag, begun: HashSet::new(), ended: Vec::new() }
    }

    pub(super) fn begin(&mut self, id: &str) {
        assert_eq!(self.state(id), NodeState::Ready);
        self.begun.insert(id.to_owned());
    }

    pub(super) fn finish(&mut self, id: &str, outcome: Outcome, context: &Context) {
        assert_eq!(self.state(id), NodeState::Running);
        self.ended.push((id.to_owned(), outcome, context.clone()));
    }

    pub(super) fn state(&self, id: &str) -> NodeState {
        match self.end_of(id) {
            Some((_, Outcome::Succeeded, _)) => NodeState::Succeeded,
            Some((_, Outcome::Failed, _)) => NodeState::Failed,
            None if self.begun.contains(id) => NodeState::Running,
            None if self.failure().is_some() || self.is_left_out(id) => NodeState::Skipped,
            None if self.into(id).all(|edge| self.is_resolved(edge)) => NodeState::Ready,
            None => NodeState::Waiting,
        }
    }

    /// The first failed node with no edge for that.
    pub(super) fn failure(&self) -> Option<&str> {
        let failed = self.ended.iter().filter(|(_, outcome, _)| *outcome == Outcome::Failed);
        let mut unhandled = failed.filter(|(id, ..)| {
            let handles =
                |c: &EdgeCondition| matches!(c, EdgeCondition::OnFailure | EdgeCondition::Always);
            !self.dag.edges().iter().any(|edge| edge.source == *id && handles(&edge.condition))
        });
        unhandled.next().map(|(id, ..)| id.as_str())
    }

    /// The targets of the satisfied edges of a node that has ended.
    pub(super) fn satisfied(&self, id: &str) -> Vec<String> {
        let edges = self.dag.edges().iter().filter(|edge| edge.source == id);
        edges.filter(|edge| self.is_satisfied(edge)).map(|edge| edge.target.clone()).collect()
    }

    fn end_of(&self, id: &str) -> Option<&(String, Outcome, Context)> {
        self.ended.iter().find(|(ended, ..)| ended == id)
    }

    fn into(&self, id: &str) -> impl Iterator<Item = &Edge> {
        self.dag.edges().iter().filter(move |edge| edge.target == id)
    }

    fn is_resolved(&self, edge: &Edge) -> bool {
        self.end_of(&edge.source).is_some() || self.is_left_out(&edge.source)
    }

    fn is_satisfied(&self, edge: &Edge) -> bool {
        let Some((_, outcome, context)) = self.end_of(&edge.source) else {
            return false;
        };
        match (&edge.condition, outcome) {
            (EdgeCondition::Always, _)
            | (EdgeCondition::OnSuccess, Outcome::Succeeded)
            | (EdgeCondition::OnFailure, Outcome::Failed) => true,
            (EdgeCondition::When(condition), Outcome::Succeeded) => holds(condition, context),
            _ => false,
        }
    }

    /// Whether a node is skipped, the run not having failed.
    fn is_left_out(&self, id: &str) -> bool {
        let is_joined = match self.dag.node(id).unwrap().join {
            Join::All => self.into(id).all(|edge| self.is_satisfied(edge)),
            Join::Any => {
                self.into(id).any(|edge| self.is_satisfied(edge)) || self.into(id).count() == 0
            }
        };
        !self.begun.contains(id) && !is_joined && self.into(id).all(|edge| self.is_resolved(edge))
    }
}

fn holds(condition: &Condition, context: &Context) -> bool {
    let data = context.to_value();
    let found = &data.pointer(&format!("/{}", condition.field.replace('.', "/")));
    let found = found.cloned().unwrap_or(Value::Null);
    let wanted = &condition.value;
    match condition.operator {
        Operator::Equals => equal(&found, wanted),
        Operator::NotEquals => !equal(&found, wanted),
        Operator::GreaterThan => greater(&found, wanted),
        Operator::LessThan => greater(wanted, &found),
        Operator::Contains => match &found {
            Value::String(text) => wanted.as_str().is_some_and(|part| text.contains(part)),
            Value::Array(items) => items.iter().any(|item| equal(item, wanted)),
            Value::Object(map) => wanted.as_str().is_some_and(|key| map.contains_key(key)),
            _ => false,
        },
        Operator::IsNone => found == Value::Null,
        Operator::IsNotNone => found != Value::Null,
    }
}

/// The small numbers of these tests are exact as floats.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or(value.as_bool().map(|flag| if flag { 1.0 } else { 0.0 }))
}

fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| equal(l, r))
        }
        _ => match (number(left), number(right)) {
            (Some(left), Some(right)) => left == right,
            _ => left == right,
        },
    }
}

fn greater(left: &Value, right: &Value) -> bool {
    match (left.as_str(), right.as_str()) {
        (Some(left), Some(right)) => left > right,
        _ => number(left).zip(number(right)).is_some_and(|(left, right)| left > right),
    }
}
