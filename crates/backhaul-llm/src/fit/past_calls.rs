//! Calls of tools that were made, for a model that knows none.

use std::collections::BTreeMap;

use serde_json::Value;

use super::instructions::append;
use crate::message::{Message, Role};

/// Whether there is a call, or a result.
pub(super) fn are_in(messages: &[Message]) -> bool {
    messages.iter().any(|message| message.role() == Role::Tool || !calls_of(message).is_empty())
}

/// Puts calls and their results as text: a template that knows no tools drops them or fails,
/// and the model would answer as if nobody had called anything.
pub(super) fn put_as_text(messages: &mut Vec<Message>) {
    let mut names = BTreeMap::new();
    let mut put: Vec<Message> = Vec::new();
    let mut are_results = false;
    for mut message in messages.drain(..) {
        if message.role() == Role::Tool {
            let result = result(&message, &names);
            match put.last_mut().filter(|_| are_results) {
                Some(results) => append(results, result),
                None => put.push(Message::user("").with("content", result)),
            }
            are_results = true;
            continue;
        }
        are_results = false;
        let calls = calls_of(&message);
        if !calls.is_empty() {
            let said: Vec<String> = calls.iter().map(|call| format!("[called {call}]")).collect();
            names.extend(calls.into_iter().map(|call| (call.id, call.name)));
            say(&mut message, said.join("\n"));
        }
        put.push(message);
    }
    *messages = put;
}

struct Call {
    id: String,
    name: String,
    arguments: String,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.arguments)
    }
}

/// Those of tools, and the one of a function, as it was before there were tools.
fn calls_of(message: &Message) -> Vec<Call> {
    let fields = message.as_json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let call = |id: String, called: &Value| {
        let input = called.get("arguments").or_else(|| called.get("input")).map(text);
        let name = called.get("name").map(text).unwrap_or_default();
        Call { id, name, arguments: input.unwrap_or_default() }
    };
    let function = fields.get("function_call").filter(|it| it.is_object());
    let function = function.map(|called| call(String::new(), called));
    let tools = fields.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
    let tools = tools.map(|tool| {
        let id = tool.get("id").map(text).unwrap_or_default();
        let called = tool.get("function").or_else(|| tool.get("custom"));
        call(id, called.unwrap_or(&Value::Null))
    });
    tools.chain(function).collect()
}

fn say(message: &mut Message, calls: String) {
    let fields = message.as_json_mut();
    fields.remove("tool_calls");
    fields.remove("function_call");
    append(message, calls.into());
}

fn result(message: &Message, names: &BTreeMap<String, String>) -> Value {
    let fields = message.as_json();
    let name = message.tool_call_id().and_then(|id| names.get(id)).map(String::as_str);
    let name = name.or_else(|| fields.get("name")?.as_str()).unwrap_or("a tool");
    let mut result = Message::user(format!("[{name} gave:]"));
    append(&mut result, fields.get("content").cloned().unwrap_or_default());
    result.as_json_mut().remove("content").unwrap_or_default()
}
