//! What a model cannot do, taken out of a request or put in another way.

use serde_json::{Value, json};

use super::changes::Changes;
use super::forced_call::ForcedCall;
use super::images::{self, Sort};
use crate::capabilities::ModelCapabilities;
use crate::message::Message;
use crate::request::ChatRequest;

const TOOLS: &str = "tools";
const TOOL_CHOICE: &str = "tool_choice";
const RESPONSE_FORMAT: &str = "response_format";

/// Returns the call that the answer stands for, where it is to be made one again.
pub(super) fn downgrade(
    request: &mut ChatRequest,
    capabilities: ModelCapabilities,
    changes: &mut Changes,
) -> Option<ForcedCall> {
    if !capabilities.vision {
        let images = images::replace(&mut request.messages, Sort::Image);
        changes.count(images, "image", "images", "replaced by text");
    }
    let others = images::replace(&mut request.messages, Sort::Other);
    changes.count(others, "file or sound", "files or sounds", "replaced by text");
    let forced = force(request, capabilities, changes);
    if !capabilities.tools && remove(request, TOOLS) {
        remove(request, TOOL_CHOICE);
        remove(request, "parallel_tool_calls");
        changes.note("tools left out: this model calls none");
    }
    if !capabilities.json_schema && remove(request, RESPONSE_FORMAT) {
        changes.note("the form of the answer is not bound: this model cannot");
    }
    forced
}

/// A tool that has to be called: as the schema of an answer, where the model follows one.
fn force(
    request: &mut ChatRequest,
    capabilities: ModelCapabilities,
    changes: &mut Changes,
) -> Option<ForcedCall> {
    if capabilities.tools && capabilities.forced_tools {
        return None;
    }
    let choice = request.fields.get(TOOL_CHOICE)?;
    let named = choice.pointer("/function/name").and_then(Value::as_str).map(ToOwned::to_owned);
    if named.is_none() && choice != "required" {
        return None;
    }
    let tools: Vec<Value> = request.fields.get(TOOLS)?.as_array()?.clone();
    let is_wanted = |tool: &&Value| {
        let name = tool.pointer("/function/name").and_then(Value::as_str);
        name.is_some() && named.as_deref().is_none_or(|wanted| name == Some(wanted))
    };
    let wanted: Vec<Value> = tools.iter().filter(is_wanted).cloned().collect();
    if wanted.is_empty() {
        return None;
    }
    remove(request, TOOL_CHOICE);
    if capabilities.json_schema && !request.fields.contains_key(RESPONSE_FORMAT) {
        let forced = ForcedCall::of(&wanted);
        remove(request, TOOLS);
        remove(request, "parallel_tool_calls");
        let format = json!({ "name": "call", "strict": true, "schema": forced.schema(&wanted) });
        let format = json!({ "type": "json_schema", "json_schema": format });
        request.fields.insert(RESPONSE_FORMAT.to_owned(), format);
        let place = request.messages.iter().take_while(|it| it.role().is_instruction()).count();
        request.messages.insert(place, Message::system(forced.instruction(&wanted)));
        changes.note("the call of a tool was asked for as JSON");
        return Some(forced);
    }
    if capabilities.tools {
        request.fields.insert(TOOLS.to_owned(), Value::Array(wanted));
        changes.note("a tool was offered, and not forced: this model cannot be");
    }
    None
}

fn remove(request: &mut ChatRequest, field: &str) -> bool {
    request.fields.remove(field).is_some_and(|value| !value.is_null())
}
