//! Where the values of arguments come from.

use backhaul_agent::Context;
use serde_json::{Map, Value};

use super::node_error::NodeError;
use crate::dag::{Input, Node};

/// The arguments of a node.
pub(super) fn resolve(node: &Node, context: &Context) -> Result<Map<String, Value>, NodeError> {
    let mut inputs = Map::new();
    for (argument, input) in &node.input_mapping {
        let value = match input {
            Input::Value(value) => value.clone(),
            Input::Path(path) => context.get(path).ok_or_else(|| {
                NodeError::fatal(format!(
                    "the argument `{argument}` of the node `{}` is taken from `{path}`, which the \
                     context does not have",
                    node.id
                ))
            })?,
        };
        inputs.insert(argument.clone(), value);
    }
    Ok(inputs)
}
