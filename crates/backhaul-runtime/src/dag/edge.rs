//! What one node waits for of another.

use backhaul_agent::Context;

use super::condition::Condition;
use super::schedule::Outcome;

/// The target waits for the source. There is at most one edge from one node to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// The id of the node that comes first.
    pub source: String,
    /// The id of the node that waits.
    pub target: String,
    /// What satisfies the edge.
    pub condition: EdgeCondition,
}

/// What satisfies an edge, decided once, when its source has finished.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum EdgeCondition {
    /// The source succeeded.
    #[default]
    OnSuccess,
    /// The source failed. A satisfied edge of this kind handles the failure: the run goes on.
    OnFailure,
    /// The source ran, whatever came of it. A satisfied edge of this kind handles a failure.
    Always,
    /// The source succeeded, and the context it left behind is like this. A source that failed
    /// does not satisfy it: what the context holds then may be the decision of another day.
    When(Condition),
}

impl EdgeCondition {
    /// Whether the edge is satisfied, its source having come to this end with this context.
    pub fn is_satisfied(&self, outcome: Outcome, context: &Context) -> bool {
        match self {
            Self::OnSuccess => outcome == Outcome::Succeeded,
            Self::OnFailure => outcome == Outcome::Failed,
            Self::Always => true,
            Self::When(condition) => outcome == Outcome::Succeeded && condition.holds(context),
        }
    }

    /// Whether it handles a failure of its source when it is satisfied.
    pub(super) fn handles_failure(&self) -> bool {
        matches!(self, Self::OnFailure | Self::Always)
    }
}
