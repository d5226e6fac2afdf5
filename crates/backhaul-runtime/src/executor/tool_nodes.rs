//! Nodes that call tools.

use backhaul_llm::ToolDefinition;

use super::node_call::NodeCall;
use super::node_error::NodeError;
use super::node_executor::{NodeExecutor, NodeFuture};
use super::node_output::NodeOutput;
use crate::dag::{Node, NodeKind};
use crate::tools::{ToolErrorKind, ToolRequest, ToolResult, ToolRunner};

/// Nodes of kind tool are called with the node's arguments, as the tool's policy says. What a
/// node gives is what the tool gave; of a call that waits or was left out, null, and the
/// metadata of the node says so.
///
/// The key of the effect is made of the run, the node, the tool and its arguments: an attempt
/// that comes after a crash asks for the same effect.
impl NodeExecutor for ToolRunner {
    fn execute_node<'a>(&'a self, call: &'a NodeCall) -> NodeFuture<'a> {
        Box::pin(async move {
            let NodeKind::Tool { tool } = &call.node().kind else {
                return Err(NodeError::fatal("this node calls no tool"));
            };
            let request = ToolRequest::new(tool, call.inputs.clone(), &call.step)
                .run(&*call.run_id)
                .node(&call.node().id);
            let attempts = if call.may_have_happened { call.attempt - 1 } else { 0 };
            let (result, recorded) = self.call_recorded(&request, attempts).await;
            call.recorder().record_tool_call(recorded);
            output_of(result)
        })
    }

    fn check(&self, node: &Node) -> Result<(), String> {
        let NodeKind::Tool { tool } = &node.kind else { return Ok(()) };
        let Some(found) = self.tools().get(tool) else {
            let known = self.tools().list_tools().join(", ");
            return Err(format!("there is no tool `{tool}`; registered are: {known}"));
        };
        unknown_arguments(node, found.definition())
    }
}

fn output_of(result: ToolResult) -> Result<NodeOutput, NodeError> {
    if let ToolResult::Failed(error) = result {
        let is_final = !matches!(
            error.kind(),
            ToolErrorKind::Failed | ToolErrorKind::Unreachable | ToolErrorKind::Unclear
        );
        let may_have_happened = error.kind() == ToolErrorKind::Unclear;
        return Err(NodeError { message: error.to_string(), is_final, may_have_happened });
    }
    let output = NodeOutput::from(result.data().cloned().unwrap_or_default());
    let metadata = result.metadata().into_iter();
    Ok(metadata.fold(output, |output, (key, value)| output.metadata(key, value)))
}

/// Arguments that the tool does not have are found before a run begins.
fn unknown_arguments(node: &Node, definition: &ToolDefinition) -> Result<(), String> {
    let properties = definition.parameters.get("properties").and_then(|it| it.as_object());
    let Some(properties) = properties else { return Ok(()) };
    let unknown = node.input_mapping.keys().find(|name| !properties.contains_key(*name));
    unknown.map_or(Ok(()), |name| {
        let known: Vec<&str> = properties.keys().map(String::as_str).collect();
        let known = if known.is_empty() {
            "it takes none".into()
        } else {
            format!("it takes: {}", known.join(", "))
        };
        Err(format!("the tool `{}` has no argument `{name}`; {known}", definition.name))
    })
}
