//! Chat requests as Anthropic's messages have them.

use serde_json::{Map, Value, json};

use crate::error::{LlmError, LlmErrorKind};
use crate::message::{Message, Role};
use crate::request::ChatRequest;

/// The most tokens of an answer where the request does not say: Anthropic asks for a number.
const MAX_TOKENS: u64 = 4_096;
/// For `response_format: json_object`, which has no other counterpart.
const JSON_WANTED: &str = "Answer with one JSON object and with nothing else.";

/// Fields of chat completions that are said differently, or that have no counterpart. All
/// others go out as they are: they are Anthropic's own, such as `thinking`.
const NOT_PASSED: [&str; 28] = [
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "reasoning_effort",
    "response_format",
    "seed",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "user",
    "verbosity",
    "web_search_options",
];

/// A chat request as one for a message, of `model`.
///
/// # Errors
/// [`LlmErrorKind::Unsupported`] where it says something that a message cannot.
pub(crate) fn messages_request(request: &ChatRequest, model: &str) -> Result<Value, LlmError> {
    let fields = &request.fields;
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    set("model", model.into());
    set("max_tokens", request.most_tokens().unwrap_or(MAX_TOKENS).into());
    if let Some(system) = system_of(request) {
        set("system", system.into());
    }
    set("messages", Value::Array(turns(&request.messages)?));
    if let Some(tools) = fields.get("tools").and_then(Value::as_array) {
        set("tools", tools.iter().map(tool).collect());
    }
    if let Some(choice) = tool_choice(fields) {
        set("tool_choice", choice);
    }
    match fields.get("stop") {
        Some(Value::String(stop)) => drop(set("stop_sequences", json!([stop]))),
        Some(Value::Array(stops)) => drop(set("stop_sequences", stops.clone().into())),
        _ => {}
    }
    if let Some(temperature) = fields.get("temperature").and_then(Value::as_f64) {
        // There it goes from 0 to 1, elsewhere to 2.
        set("temperature", temperature.min(1.0).into());
    }
    if let Some(user) = fields.get("user").filter(|user| user.is_string()) {
        set("metadata", json!({ "user_id": user }));
    }
    if let Some(schema) =
        fields.get("response_format").and_then(|it| it.pointer("/json_schema/schema"))
    {
        set("output_config", json!({ "format": { "type": "json_schema", "schema": schema } }));
    }
    let passed = fields.iter().filter(|(name, _)| !NOT_PASSED.contains(&name.as_str()));
    body.extend(passed.map(|(name, value)| (name.clone(), value.clone())));
    Ok(Value::Object(body))
}

/// All that says what the model is told to be, wherever it stands.
fn system_of(request: &ChatRequest) -> Option<String> {
    let told = request.messages.iter().filter(|message| message.role().is_instruction());
    let mut told: Vec<String> = told.map(Message::text).filter(|text| !text.is_empty()).collect();
    let format = request.fields.get("response_format").and_then(|format| format.get("type"));
    if format.is_some_and(|format| format == "json_object") {
        told.push(JSON_WANTED.to_owned());
    }
    (!told.is_empty()).then(|| told.join("\n\n"))
}

/// The conversation: results of tools are what a user says, and one who says several things
/// says them at once.
fn turns(messages: &[Message]) -> Result<Vec<Value>, LlmError> {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages {
        let (role, blocks) = match message.role() {
            Role::System | Role::Developer => continue,
            Role::Assistant => ("assistant", said(message)?),
            Role::Tool => ("user", vec![tool_result(message)?]),
            Role::User | Role::Other => ("user", blocks(message)?),
        };
        match turns.last_mut() {
            Some((last, all)) if *last == role => all.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    let turns = turns.into_iter().filter(|(_, blocks)| !blocks.is_empty());
    Ok(turns.map(|(role, content)| json!({ "role": role, "content": content })).collect())
}

/// What a model said: text, then its calls.
fn said(message: &Message) -> Result<Vec<Value>, LlmError> {
    let mut all = blocks(message)?;
    all.extend(message.tool_calls().into_iter().map(|call| {
        json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments })
    }));
    Ok(all)
}

fn tool_result(message: &Message) -> Result<Value, LlmError> {
    let id = message.tool_call_id().unwrap_or_default();
    Ok(json!({ "type": "tool_result", "tool_use_id": id, "content": blocks(message)? }))
}

/// The content of a message. Empty texts are left out: they are an error there.
fn blocks(message: &Message) -> Result<Vec<Value>, LlmError> {
    let text = |text: &str| json!({ "type": "text", "text": text });
    match message.as_json().get("content") {
        Some(Value::String(said)) if !said.is_empty() => Ok(vec![text(said)]),
        Some(Value::Array(parts)) => {
            let is_empty = |part: &&Value| part.get("text").is_some_and(|text| text == "");
            parts.iter().filter(|part| !is_empty(part)).map(block).collect()
        }
        _ => Ok(Vec::new()),
    }
}

fn block(part: &Value) -> Result<Value, LlmError> {
    let class = part.get("type").and_then(Value::as_str).unwrap_or_default();
    match class {
        "image_url" => {
            let url = part.pointer("/image_url/url").and_then(Value::as_str).unwrap_or_default();
            Ok(json!({ "type": "image", "source": image_source(url) }))
        }
        "refusal" => Ok(json!({ "type": "text", "text": part.get("refusal") })),
        "input_audio" | "file" => Err(LlmError::new(
            LlmErrorKind::Unsupported,
            format!("a message has a part of type {class:?}: Anthropic's messages have none such"),
        )),
        _ => Ok(part.clone()),
    }
}

fn image_source(url: &str) -> Value {
    let data = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    match data {
        Some((media_type, data)) => {
            json!({ "type": "base64", "media_type": media_type, "data": data })
        }
        None => json!({ "type": "url", "url": url }),
    }
}

/// A tool. What is no function is Anthropic's own.
fn tool(tool: &Value) -> Value {
    let Some(function) = tool.get("function") else { return tool.clone() };
    let schema = function.get("parameters").cloned();
    let schema = schema.unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
    let mut tool = json!({ "name": function.get("name"), "input_schema": schema });
    if let (Some(description), Some(tool)) = (function.get("description"), tool.as_object_mut()) {
        tool.insert("description".to_owned(), description.clone());
    }
    tool
}

fn tool_choice(fields: &Map<String, Value>) -> Option<Value> {
    let one_at_a_time = fields.get("parallel_tool_calls").and_then(Value::as_bool) == Some(false);
    let mut choice = match fields.get("tool_choice") {
        Some(Value::String(choice)) if choice == "required" => json!({ "type": "any" }),
        Some(Value::String(choice)) => json!({ "type": choice }),
        Some(choice @ Value::Object(_)) => match choice.pointer("/function/name") {
            Some(name) => json!({ "type": "tool", "name": name }),
            None => choice.clone(),
        },
        _ if one_at_a_time && fields.contains_key("tools") => json!({ "type": "auto" }),
        _ => return None,
    };
    let calls = choice.get("type").is_some_and(|class| class != "none");
    if let (true, true, Some(choice)) = (one_at_a_time, calls, choice.as_object_mut()) {
        choice.insert("disable_parallel_tool_use".to_owned(), true.into());
    }
    Some(choice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Part, ToolCall, ToolDefinition};

    fn translated(request: &ChatRequest) -> Value {
        messages_request(request, "claude-x").unwrap()
    }

    fn with(fields: Value) -> Value {
        let mut request = json!({ "messages": [{ "role": "user", "content": "?" }] });
        let (Value::Object(all), Value::Object(fields)) = (&mut request, fields) else { panic!() };
        all.extend(fields);
        translated(&ChatRequest::from_json(request).unwrap())
    }

    #[test]
    fn a_conversation_keeps_its_order_and_results_follow_their_calls() {
        let call = |id: &str| ToolCall::new(id, "look", Map::new());
        let request = ChatRequest::new(vec![
            Message::system("Be brief."),
            Message::user(vec![Part::text("What is this?"), Part::image("image/png", b"png")]),
            Message::assistant("").with_tool_calls(&[call("t1"), call("t2")]),
            Message::tool_result("t1", "a cat"),
            Message::tool_result("t2", "a dog"),
            Message::user("Well?"),
            Message::system("Be kind."),
        ]);
        assert_eq!(
            translated(&request),
            json!({
                "model": "claude-x", "max_tokens": 4_096, "system": "Be brief.\n\nBe kind.",
                "messages": [
                    { "role": "user", "content": [
                        { "type": "text", "text": "What is this?" },
                        { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "cG5n" } },
                    ]},
                    { "role": "assistant", "content": [
                        { "type": "tool_use", "id": "t1", "name": "look", "input": {} },
                        { "type": "tool_use", "id": "t2", "name": "look", "input": {} },
                    ]},
                    { "role": "user", "content": [
                        { "type": "tool_result", "tool_use_id": "t1", "content": [{ "type": "text", "text": "a cat" }] },
                        { "type": "tool_result", "tool_use_id": "t2", "content": [{ "type": "text", "text": "a dog" }] },
                        { "type": "text", "text": "Well?" },
                    ]},
                ],
            })
        );
    }

    #[test]
    fn fields_are_said_in_the_other_words() {
        let tool = ToolDefinition::new("look", "Looks.");
        let body = with(json!({
            "tools": [tool.to_openai()], "tool_choice": { "type": "function", "function": { "name": "look" } },
            "parallel_tool_calls": false, "stop": "END", "max_completion_tokens": 5,
            "temperature": 1.5, "user": "u", "thinking": { "type": "disabled" }, "seed": 1,
            "stream_options": {}, "model": "theirs",
            "response_format": { "type": "json_schema", "json_schema": { "name": "x", "schema": { "type": "object" } } },
        }));
        let Value::Object(mut body) = body else { panic!() };
        body.remove("messages");
        assert_eq!(
            Value::Object(body),
            json!({
                "model": "claude-x", "max_tokens": 5, "tools": [tool.to_anthropic()],
                "tool_choice": { "type": "tool", "name": "look", "disable_parallel_tool_use": true },
                "stop_sequences": ["END"], "temperature": 1.0, "metadata": { "user_id": "u" },
                "output_config": { "format": { "type": "json_schema", "schema": { "type": "object" } } },
                "thinking": { "type": "disabled" },
            })
        );
        for (choice, expected) in [
            (json!("auto"), json!({ "type": "auto" })),
            (json!("none"), json!({ "type": "none" })),
            (json!("required"), json!({ "type": "any" })),
        ] {
            assert_eq!(with(json!({ "tool_choice": choice }))["tool_choice"], expected);
        }
        let json_wanted = with(json!({ "response_format": { "type": "json_object" } }));
        assert_eq!(json_wanted["system"], JSON_WANTED);
    }

    #[test]
    fn images_by_address_stay_where_they_are_and_sound_has_no_place() {
        let image = json!({ "type": "image_url", "image_url": { "url": "https://a/b.png" } });
        let source = json!({ "type": "url", "url": "https://a/b.png" });
        assert_eq!(block(&image).unwrap()["source"], source);
        let error = block(&json!({ "type": "input_audio" })).unwrap_err();
        assert_eq!(error.kind(), LlmErrorKind::Unsupported);
        let own = json!({ "type": "document", "source": {} });
        assert_eq!(block(&own).unwrap(), own);
    }
}
