//! Where the values of arguments come from.

use std::borrow::Borrow;

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
            Input::Path(path) => look_up(context, path).ok_or_else(|| {
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

/// What the context has at a path.
pub(super) fn look_up(context: &Context, path: &str) -> Option<Value> {
    owned(context.get(path))
}

fn owned(found: Option<impl Borrow<Value>>) -> Option<Value> {
    found.map(|value| value.borrow().clone())
}
