//! A request for a message, as a chat.

use serde_json::{Map, Value, json};

use super::super::conversation::{Conversation, function, invalid, take, text};
use super::super::form::{Form, FormRequest};
use super::blocks;
use crate::content::Part;
use crate::error::LlmError;
use crate::request::ChatRequest;

/// Fields that concern Anthropic's servers alone, and what they are for.
const CLOUD: [&str; 6] = [
    "cache_control",
    "container",
    "context_management",
    "inference_geo",
    "mcp_servers",
    "service_tier",
];

pub(in super::super) fn read(mut fields: Map<String, Value>) -> Result<FormRequest, LlmError> {
    let mut chat = Conversation::default();
    let mut told = Map::new();
    read_system(take(&mut fields, "system"), &mut chat);
    let Some(Value::Array(messages)) = take(&mut fields, "messages") else {
        return Err(invalid("the request has no list of messages: expected \"messages\": […]"));
    };
    messages.iter().try_for_each(|message| blocks::read(message, &mut chat))?;
    if let Some(thinking) = take(&mut fields, "thinking") {
        told.insert("thinking".to_owned(), thinking);
    }
    for name in CLOUD {
        if take(&mut fields, name).is_some() && name != "cache_control" {
            chat.leave_out(name.to_owned());
        }
    }
    read_tools(&mut fields, &mut chat);
    read_output_config(&mut fields);
    if let Some(user) = take(&mut fields, "metadata").and_then(|it| it.get("user_id").cloned()) {
        fields.insert("user".to_owned(), user);
    }
    if let Some(stop) = take(&mut fields, "stop_sequences") {
        fields.insert("stop".to_owned(), stop);
    }
    fields.retain(|_, value| !value.is_null());
    let request = ChatRequest { messages: chat.messages, fields, ..ChatRequest::default() };
    Ok(FormRequest::new(Form::Messages, request, told, chat.left_out))
}

/// What the model is told to be: a text, or blocks of it.
fn read_system(system: Option<Value>, chat: &mut Conversation) {
    let said = match system {
        Some(Value::String(text)) => text,
        Some(Value::Array(blocks)) => {
            let texts: Vec<_> = blocks.iter().map(|block| text(block, "text")).collect();
            texts.join("\n\n")
        }
        _ => return,
    };
    chat.say("system", vec![Part::text(said)]);
}

/// Rewrites the tools as chat has them. Those that Anthropic defines itself are left out.
fn read_tools(fields: &mut Map<String, Value>, chat: &mut Conversation) {
    let mut tools = Vec::new();
    for tool in take(fields, "tools").as_ref().and_then(Value::as_array).into_iter().flatten() {
        match text(tool, "type") {
            "" | "custom" => tools.push(function(tool, "input_schema")),
            kind => chat.leave_out(format!("the tool {kind}")),
        }
    }
    let choice = take(fields, "tool_choice");
    if tools.is_empty() {
        return;
    }
    fields.insert("tools".to_owned(), Value::Array(tools));
    let Some(choice) = choice else { return };
    let chosen = match text(&choice, "type") {
        "any" => "required".into(),
        "tool" => json!({ "type": "function", "function": { "name": text(&choice, "name") } }),
        kind => kind.into(),
    };
    fields.insert("tool_choice".to_owned(), chosen);
    if choice.get("disable_parallel_tool_use") == Some(&Value::Bool(true)) {
        fields.insert("parallel_tool_calls".to_owned(), Value::Bool(false));
    }
}

/// The form of the text that the model writes, and how much it thinks.
fn read_output_config(fields: &mut Map<String, Value>) {
    let mut config = match take(fields, "output_config") {
        Some(Value::Object(config)) => config,
        _ => Map::new(),
    };
    let format = take(fields, "output_format").or_else(|| take(&mut config, "format"));
    if let Some(schema) = format.as_ref().and_then(|it| it.get("schema")) {
        let form = json!({ "name": "answer", "strict": true, "schema": schema });
        let format = json!({ "type": "json_schema", "json_schema": form });
        fields.insert("response_format".to_owned(), format);
    }
    if let Some(effort) = take(&mut config, "effort") {
        fields.insert("reasoning_effort".to_owned(), effort);
    }
}
