//! A call of a tool that a model gives as JSON.

use serde_json::{Map, Value, json};

use super::call_stream::CallStream;
use super::downgrade::OF_TOOLS;
use super::instructions;
use crate::chunk_stream::ChunkStream;
use crate::completion::CompletionResult;
use crate::error::LlmError;
use crate::request::ChatRequest;

/// A call that has to come, and comes as JSON: the arguments of the one tool that there is, or
/// the name of one of several and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ForcedCall {
    names: Vec<String>,
    /// How long the conversation was: no two calls in it have the same id.
    messages: usize,
}

impl ForcedCall {
    /// Of the tools of a request, which stay in it until it is put. `None`: there are none.
    pub(super) fn in_place_of(request: &ChatRequest) -> Option<Self> {
        let names: Vec<String> = tools(request).map(|tool| name_of(tool).to_owned()).collect();
        let messages = request.messages.len();
        (!names.is_empty()).then_some(Self { names, messages })
    }

    /// Asks for it in place of offering the tools, which the model then does not see: it is
    /// told of them.
    pub(super) fn ask(&self, request: &mut ChatRequest) {
        let tools: Vec<Value> = tools(request).cloned().collect();
        for field in OF_TOOLS {
            request.fields.remove(field);
        }
        let (schema, asked) = match tools.as_slice() {
            [tool] => (parameters_of(tool), "Call this tool. Answer with its arguments alone"),
            tools => (
                one_of(tools),
                "Call one of these tools. Answer with its `name` and `arguments` alone",
            ),
        };
        let told: Vec<String> = tools.iter().map(told_of).collect();
        let text = format!("{asked}, as JSON.\n\n{}", told.join("\n\n"));
        instructions::add(&mut request.messages, text);
        *request = std::mem::take(request).json_schema("call", schema);
    }

    /// The tool whose arguments the answer is, where there is one.
    pub(super) fn only(&self) -> Option<&str> {
        match self.names.as_slice() {
            [name] => Some(name),
            _ => None,
        }
    }

    /// The id of the call that a choice makes.
    pub(super) fn id(&self, choice: u64) -> String {
        format!("call_{}_{choice}", self.messages)
    }

    /// The call that a choice makes with its whole text. `None`: it makes none, such as where
    /// it was cut off before it had said of which tool.
    pub(super) fn call(&self, choice: u64, text: &str) -> Option<Value> {
        let (name, arguments) = match self.only() {
            Some(name) => (name.to_owned(), Some(text).filter(|it| begins(it))?.to_owned()),
            None => {
                let said: Value = serde_json::from_str(text).ok()?;
                let name = self.names.iter().find(|name| said.get("name") == Some(&json!(name)))?;
                (name.clone(), said.get("arguments")?.to_string())
            }
        };
        let function = json!({ "name": name, "arguments": arguments });
        Some(json!({ "id": self.id(choice), "type": "function", "function": function }))
    }

    /// An answer with calls in place of their text.
    pub(super) fn answer(&self, answer: CompletionResult) -> Result<CompletionResult, LlmError> {
        let (metadata, latency) = (answer.metadata.clone(), answer.latency);
        let mut body = answer.into_body();
        let choices = body.get_mut("choices").and_then(Value::as_array_mut);
        for (choice, place) in choices.into_iter().flatten().zip(0..) {
            self.put_call(choice, place);
        }
        let mut answer = CompletionResult::from_json(Value::Object(body), metadata)?;
        answer.latency = latency;
        Ok(answer)
    }

    fn put_call(&self, choice: &mut Value, place: u64) {
        let text = choice.pointer("/message/content").and_then(Value::as_str);
        let Some(call) = text.and_then(|text| self.call(place, text)) else { return };
        if let Some(message) = choice.get_mut("message").and_then(Value::as_object_mut) {
            message.insert("content".to_owned(), Value::Null);
            message.insert("tool_calls".to_owned(), json!([call]));
        }
        finish(choice);
    }

    /// The pieces of the answer as pieces of a call.
    pub(super) fn stream(self, mut stream: ChunkStream) -> ChunkStream {
        let metadata = std::mem::take(&mut stream.metadata);
        ChunkStream::new(CallStream::new(stream, self), metadata)
    }
}

/// Whether a text begins as arguments do. A model that is bound by no schema after all may say
/// something else, which is no call.
pub(super) fn begins(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// Who has made its call stops for that; who was cut off was cut off.
pub(super) fn finish(choice: &mut Value) {
    if let Some(reason) = choice.get_mut("finish_reason").filter(|it| *it == "stop") {
        *reason = "tool_calls".into();
    }
}

fn tools(request: &ChatRequest) -> impl Iterator<Item = &Value> {
    request.fields.get("tools").and_then(Value::as_array).into_iter().flatten()
}

fn name_of(tool: &Value) -> &str {
    tool.pointer("/function/name").and_then(Value::as_str).unwrap_or_default()
}

/// A schema without a word in it would let the model answer with anything.
fn parameters_of(tool: &Value) -> Value {
    let stated = tool.pointer("/function/parameters").and_then(Value::as_object);
    match stated.filter(|fields| !fields.is_empty()) {
        Some(fields) => Value::Object(fields.clone()),
        None => json!({ "type": "object", "properties": {} }),
    }
}

fn told_of(tool: &Value) -> String {
    let about = tool.pointer("/function/description").and_then(Value::as_str).unwrap_or_default();
    format!("{}: {about}\nArguments: {}", name_of(tool), parameters_of(tool))
}

/// The schema of a call of one of several tools. Their parameters stand under `$defs`, by
/// number: a name may be none that a reference can have in it.
fn one_of(tools: &[Value]) -> Value {
    let call = |(place, tool): (usize, &Value)| {
        json!({
            "type": "object",
            "properties": {
                "name": { "const": name_of(tool) },
                "arguments": { "$ref": format!("#/$defs/{place}") },
            },
            "required": ["name", "arguments"],
            "additionalProperties": false,
        })
    };
    let calls: Vec<Value> = tools.iter().enumerate().map(call).collect();
    let parameters = tools.iter().enumerate().map(|(place, tool)| {
        let mut parameters = parameters_of(tool);
        move_references(&mut parameters, place);
        (place.to_string(), parameters)
    });
    json!({ "anyOf": calls, "$defs": parameters.collect::<Map<_, _>>() })
}

/// References of a schema to itself, for one that stands under `$defs`.
fn move_references(schema: &mut Value, place: usize) {
    match schema {
        Value::Object(fields) => {
            for (field, value) in fields {
                let to = value.as_str().filter(|_| field == "$ref");
                match to.and_then(|to| to.strip_prefix('#')) {
                    Some(to) => *value = format!("#/$defs/{place}{to}").into(),
                    None => move_references(value, place),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| move_references(item, place)),
        _ => {}
    }
}
