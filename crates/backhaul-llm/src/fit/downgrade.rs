//! What a model cannot do, taken out of a request or put in another way.

use serde_json::{Map, Value};

use super::changes::Changes;
use super::forced_call::ForcedCall;
use super::images::{self, Sort};
use super::past_calls;
use super::phrasing::Phrasing;
use crate::capabilities::ModelCapabilities;
use crate::request::ChatRequest;

const TOOLS: &str = "tools";
const TOOL_CHOICE: &str = "tool_choice";
const RESPONSE_FORMAT: &str = "response_format";
/// All that says something of tools; the last two are their names of old.
pub(super) const OF_TOOLS: [&str; 5] =
    [TOOLS, TOOL_CHOICE, "parallel_tool_calls", "functions", "function_call"];

/// Returns how what is left is put to the model.
pub(super) fn downgrade(
    request: &mut ChatRequest,
    capabilities: ModelCapabilities,
    changes: &mut Changes,
) -> Phrasing {
    if !capabilities.vision {
        let images = images::replace(&mut request.messages, Sort::Image, usize::MAX);
        changes.count(images, "image", "images", "replaced by text");
        let others = images::replace(&mut request.messages, Sort::Other, usize::MAX);
        changes.count(others, "file or sound", "files or sounds", "replaced by text");
    }
    if !capabilities.choices {
        let count = request.fields.get("n").and_then(Value::as_u64).unwrap_or(1);
        if count > 1 {
            request.fields.remove("n");
            changes.note(format!("1 answer in place of {count}: this model gives no more"));
        }
    }
    let forced =
        if capabilities.forced_tools { None } else { force(request, capabilities, changes) };
    if !capabilities.tools && forced.is_none() && remove_tools(&mut request.fields) {
        changes.note("tools left out: this model calls none");
    }
    if !capabilities.json_schema {
        let format = request.fields.remove(RESPONSE_FORMAT);
        if format.is_some_and(|it| it.get("type").is_some_and(|it| it != "text")) {
            changes.note("the form of the answer is not bound: this model cannot");
        }
    }
    let calls_as_text = !capabilities.tools && past_calls::are_in(&request.messages);
    if calls_as_text {
        changes.note("calls of tools and their results put as text");
    }
    Phrasing { forced, calls_as_text }
}

/// A tool that has to be called: as the schema of an answer, where the model follows one. Else
/// no other is offered.
fn force(
    request: &mut ChatRequest,
    capabilities: ModelCapabilities,
    changes: &mut Changes,
) -> Option<ForcedCall> {
    let choice = Choice::of(request.fields.get(TOOL_CHOICE)?)?;
    let mut tools = request.fields.get(TOOLS)?.as_array()?.clone();
    tools.retain(|tool| choice.is_meant(tool));
    if tools.is_empty() {
        return None;
    }
    request.fields.remove(TOOL_CHOICE);
    let are_functions = tools.iter().all(|tool| tool.pointer("/function/name").is_some());
    request.fields.insert(TOOLS.to_owned(), tools.into());
    if choice.is_forced && capabilities.json_schema && are_functions {
        changes.note("the call of a tool was asked for as JSON");
        return ForcedCall::in_place_of(request);
    }
    if capabilities.tools {
        changes.note(choice.not_bound());
    }
    None
}

/// What `tool_choice` asks for beyond `auto` and `none`.
struct Choice {
    /// The tools that are meant. `None`: any.
    names: Option<Vec<String>>,
    /// Whether one has to be called.
    is_forced: bool,
}

impl Choice {
    fn of(choice: &Value) -> Option<Self> {
        if choice == "required" {
            return Some(Self { names: None, is_forced: true });
        }
        let choice = choice.as_object()?;
        let Some(allowed) = choice.get("allowed_tools") else {
            let named = name_in(choice)?.to_owned();
            return Some(Self { names: Some(vec![named]), is_forced: true });
        };
        let tools = allowed.get(TOOLS)?.as_array()?.iter().filter_map(Value::as_object);
        let names = tools.filter_map(name_in).map(ToOwned::to_owned).collect();
        let is_forced = allowed.get("mode").is_some_and(|mode| mode == "required");
        Some(Self { names: Some(names), is_forced })
    }

    /// What is said where the model is only offered tools.
    fn not_bound(&self) -> &'static str {
        match (self.is_forced, &self.names) {
            (true, None) => "no call of a tool was asked for: this model cannot be told to",
            (true, Some(_)) => "a tool was offered, and not forced: this model cannot be told to",
            (false, _) => "tools that are not allowed were not offered",
        }
    }

    fn is_meant(&self, tool: &Value) -> bool {
        let name = tool.as_object().and_then(name_in);
        let is_meant = |names: &Vec<String>| names.iter().any(|it| Some(it.as_str()) == name);
        self.names.as_ref().is_none_or(is_meant)
    }
}

/// The name of a tool, as a list of tools and a choice have it.
fn name_in(tool: &Map<String, Value>) -> Option<&str> {
    let of = |kind: &str| tool.get(kind)?.get("name")?.as_str();
    of("function").or_else(|| of("custom"))
}

/// Whether there were any.
fn remove_tools(fields: &mut Map<String, Value>) -> bool {
    let removed = OF_TOOLS.map(|name| (name, fields.remove(name)));
    let lists = removed.iter().filter(|(name, _)| matches!(*name, "tools" | "functions"));
    lists.filter_map(|(_, list)| list.as_ref()?.as_array()).any(|list| !list.is_empty())
}
