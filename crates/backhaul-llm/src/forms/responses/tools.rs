//! The tools of a request, and which of them the model has to call.

use serde_json::{Map, Value, json};

use super::super::conversation::{Conversation, function, take, text};

/// Rewrites the tools as chat has them. Those that OpenAI runs itself are left out.
pub(super) fn read(fields: &mut Map<String, Value>, chat: &mut Conversation) {
    let mut tools = Vec::new();
    for tool in take(fields, "tools").as_ref().and_then(Value::as_array).into_iter().flatten() {
        match text(tool, "type") {
            "function" => tools.push(function(tool, "parameters")),
            kind => chat.leave_out(format!("the tool {kind}")),
        }
    }
    let choice = take(fields, "tool_choice").and_then(|it| read_choice(&it, &mut tools, chat));
    if tools.is_empty() {
        fields.remove("parallel_tool_calls");
        return;
    }
    fields.insert("tools".to_owned(), Value::Array(tools));
    if let Some(choice) = choice {
        fields.insert("tool_choice".to_owned(), choice);
    }
}

fn read_choice(choice: &Value, tools: &mut Vec<Value>, chat: &mut Conversation) -> Option<Value> {
    match text(choice, "type") {
        _ if choice.is_string() => Some(choice.clone()),
        "function" => {
            Some(json!({ "type": "function", "function": { "name": text(choice, "name") } }))
        }
        "allowed_tools" => {
            let allowed = choice.get("tools").and_then(Value::as_array);
            tools.retain(|tool| {
                let name = tool.get("function").and_then(|it| it.get("name"));
                allowed.into_iter().flatten().any(|it| it.get("name") == name)
            });
            choice.get("mode").cloned()
        }
        kind => {
            chat.leave_out(format!("the choice of the tool {kind}"));
            None
        }
    }
}
