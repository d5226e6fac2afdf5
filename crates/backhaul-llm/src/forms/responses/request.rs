//! A request for a response, as a chat.

use serde_json::{Map, Value, json};

use super::super::conversation::{Conversation, refused, take};
use super::super::form::{Form, FormRequest};
use super::{items, tools};
use crate::content::Part;
use crate::error::LlmError;
use crate::request::ChatRequest;

/// Fields that concern the cloud, or the answer alone: they make no difference to what a model
/// says.
const TOLD: [&str; 16] = [
    "background",
    "context_management",
    "include",
    "instructions",
    "max_tool_calls",
    "metadata",
    "moderation",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream_options",
    "truncation",
];

/// Fields that go to the model, and that the answer repeats.
const SHARED: [&str; 6] =
    ["temperature", "top_p", "top_logprobs", "parallel_tool_calls", "user", "model"];

pub(in super::super) fn read(mut fields: Map<String, Value>) -> Result<FormRequest, LlmError> {
    only_here(&fields)?;
    let mut told = Map::new();
    let mut told_of = |name: &str, value: &Value| told.insert(name.to_owned(), value.clone());
    for name in SHARED.into_iter().chain(["text", "tools", "tool_choice", "max_output_tokens"]) {
        fields.get(name).map(|value| told_of(name, value));
    }
    let mut chat = Conversation::default();
    if let Some(Value::String(text)) = fields.get("instructions") {
        chat.say("system", vec![Part::text(text)]);
    }
    items::read(take(&mut fields, "input"), &mut chat)?;
    let effort = fields.get("reasoning").and_then(|it| it.get("effort")).cloned();
    for name in TOLD {
        if let Some(value) = fields.remove(name) {
            told_of(name, &value);
        }
    }
    tools::read(&mut fields, &mut chat);
    read_text(&mut fields);
    let renamed =
        [("reasoning_effort", effort), ("max_tokens", take(&mut fields, "max_output_tokens"))];
    for (name, value) in renamed {
        if let Some(value) = value.filter(|it| !it.is_null()) {
            fields.insert(name.to_owned(), value);
        }
    }
    fields.retain(|_, value| !value.is_null());
    let request = ChatRequest { messages: chat.messages, fields, ..ChatRequest::default() };
    Ok(FormRequest::new(Form::Responses, request, told, chat.left_out))
}

/// Refuses what is a matter of the cloud's memory.
fn only_here(fields: &Map<String, Value>) -> Result<(), LlmError> {
    let is_set = |name: &str| {
        fields.get(name).is_some_and(|value| !value.is_null() && *value != Value::Bool(false))
    };
    // The code is OpenAI's own: agents that know it send the conversation again, whole.
    for (name, code) in [
        ("previous_response_id", "previous_response_not_found"),
        ("conversation", "conversation_not_found"),
        ("prompt", "prompt_not_found"),
        ("background", "background_not_supported"),
    ] {
        if is_set(name) {
            let kept = match name {
                "background" => "work in the background is done by the cloud alone".to_owned(),
                _ => format!("what {name} names is kept by the cloud, which is not asked now"),
            };
            let todo = match name {
                "background" => "ask without it",
                _ => "send the whole conversation as input, without it",
            };
            return Err(refused(name, code, format!("{kept}: {todo}, or ask again later")));
        }
    }
    Ok(())
}

/// The form of the text that the model writes.
fn read_text(fields: &mut Map<String, Value>) {
    let Some(Value::Object(mut text)) = take(fields, "text") else { return };
    if let Some(verbosity) = take(&mut text, "verbosity") {
        fields.insert("verbosity".to_owned(), verbosity);
    }
    let Some(Value::Object(mut format)) = take(&mut text, "format") else { return };
    let response_format = match format.remove("type").as_ref().and_then(Value::as_str) {
        Some("json_schema") => json!({ "type": "json_schema", "json_schema": format }),
        Some("json_object") => json!({ "type": "json_object" }),
        _ => return,
    };
    fields.insert("response_format".to_owned(), response_format);
}
