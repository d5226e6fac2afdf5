//! What a node gives.

use backhaul_agent::ContextPatch;
use serde::Serialize;
use serde_json::{Map, Value};

use super::node_error::NodeError;

/// What a node gives: a value, which goes to the node's `output_key`, and changes of the context
/// beside it. Made of anything that is JSON.
///
/// ```
/// use backhaul_agent::ContextPatch;
/// use backhaul_runtime::executor::NodeOutput;
/// let output = NodeOutput::from(31.5).patch(ContextPatch::append("seen", "roof"));
/// assert_eq!((output.value, output.patches.len()), (31.5.into(), 1));
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct NodeOutput {
    /// The value. A null is put nowhere.
    pub value: Value,
    /// Changes of the context, made before the value is put there.
    pub patches: Vec<ContextPatch>,
    /// Whatever else is to be known of how it came about, such as which model answered.
    pub metadata: Map<String, Value>,
}

impl NodeOutput {
    /// The JSON of a value.
    ///
    /// # Errors
    /// Where it has none, such as a map whose keys are no text.
    pub fn of(value: &impl Serialize) -> Result<Self, NodeError> {
        Ok(Self::from(serde_json::to_value(value)?))
    }

    /// With a change of the context.
    #[must_use]
    pub fn patch(mut self, patch: ContextPatch) -> Self {
        self.patches.push(patch);
        self
    }

    /// With an entry of [`metadata`](Self::metadata).
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }
}

impl<T: Into<Value>> From<T> for NodeOutput {
    fn from(value: T) -> Self {
        Self { value: value.into(), ..Self::default() }
    }
}
