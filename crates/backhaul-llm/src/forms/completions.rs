//! OpenAI's completions from before there were chats (`POST /v1/completions`).

use serde_json::{Map, Value, json};

use super::conversation::{refused, take, text};
use super::event_text::EventText;
use super::events::EventWriter;
use super::form::{Form, FormRequest};
use super::stamp::Stamp;
use crate::chunk::StreamChunk;
use crate::completion::CompletionResult;
use crate::error::LlmError;
use crate::message::Message;
use crate::request::ChatRequest;

pub(super) fn read(mut fields: Map<String, Value>) -> Result<FormRequest, LlmError> {
    let prompt = read_prompt(take(&mut fields, "prompt"))?;
    only_a_chat_can(&mut fields)?;
    let mut told = Map::new();
    let is_echoed = take(&mut fields, "echo") == Some(Value::Bool(true));
    told.insert("echoed".to_owned(), if is_echoed { prompt.clone() } else { String::new() }.into());
    let options = take(&mut fields, "stream_options").unwrap_or_default();
    let wants_usage = options.get("include_usage") == Some(&Value::Bool(true));
    told.insert("wants_usage".to_owned(), wants_usage.into());
    let logprobs = take(&mut fields, "logprobs").filter(|it| it.as_u64() != Some(0));
    fields.retain(|_, value| !value.is_null());
    let chat = ChatRequest { fields, ..ChatRequest::new(vec![Message::user(prompt)]) };
    let left_out = logprobs.map(|_| "logprobs".to_owned()).into_iter().collect();
    Ok(FormRequest::new(Form::Completions, chat, told, left_out))
}

fn read_prompt(prompt: Option<Value>) -> Result<String, LlmError> {
    let found = match prompt {
        Some(Value::String(text)) => return Ok(text),
        Some(Value::Array(mut prompts)) => match (prompts.pop(), prompts.len()) {
            (Some(Value::String(text)), 0) => return Ok(text),
            (Some(Value::String(_)), _) => "several texts",
            (None, _) => "an empty list",
            _ => "tokens",
        },
        None => "missing",
        _ => "no text",
    };
    let message = format!(
        "prompt is {found}: this model is asked one text at a time, expected \"prompt\": \"…\""
    );
    Err(refused("prompt", "unsupported_value", message))
}

/// Refuses what a model that only knows chat cannot do.
fn only_a_chat_can(fields: &mut Map<String, Value>) -> Result<(), LlmError> {
    let suffix = take(fields, "suffix").filter(|it| it.as_str() != Some(""));
    let best_of = take(fields, "best_of").filter(|it| it.as_u64() != Some(1));
    let n = fields.get("n").and_then(Value::as_u64).unwrap_or(1);
    // As many as are wanted: there is nothing to choose from.
    let best_of = best_of.filter(|it| it.as_u64() != Some(n));
    for (name, value) in [("suffix", suffix), ("best_of", best_of)] {
        if value.is_some() {
            let message = format!("{name} cannot be done by this model: ask without it");
            return Err(refused(name, "unsupported_parameter", message));
        }
    }
    Ok(())
}

pub(super) fn answer(told: &Map<String, Value>, answer: &CompletionResult, stamp: &Stamp) -> Value {
    let choices = answer.body().get("choices").and_then(Value::as_array);
    let choices = choices.into_iter().flatten().map(|choice| {
        let said = Message::from_json(choice.get("message").cloned().unwrap_or_default());
        let said = said.map(|message| message.text()).unwrap_or_default();
        legacy_choice(choice, format!("{}{said}", echoed(told)))
    });
    let mut body = completion(answer.model(), stamp, choices.collect());
    if let (Some(usage), Value::Object(body)) = (answer.body().get("usage"), &mut body) {
        body.insert("usage".to_owned(), usage.clone());
    }
    body
}

fn echoed(told: &Map<String, Value>) -> &str {
    told.get("echoed").and_then(Value::as_str).unwrap_or_default()
}

fn completion(model: &str, stamp: &Stamp, choices: Vec<Value>) -> Value {
    json!({
        "id": format!("cmpl-{}", stamp.id), "object": "text_completion",
        "created": stamp.created, "model": model, "choices": choices,
    })
}

fn legacy_choice(choice: &Value, text: String) -> Value {
    json!({
        "text": text, "index": choice.get("index").and_then(Value::as_u64).unwrap_or(0),
        "logprobs": null, "finish_reason": choice.get("finish_reason"),
    })
}

pub(super) struct Writer {
    told: Map<String, Value>,
    stamp: Stamp,
    /// Choices that have begun.
    begun: Vec<u64>,
}

impl Writer {
    pub(super) fn new(told: Map<String, Value>, stamp: Stamp) -> Self {
        Self { told, stamp, begun: Vec::new() }
    }

    fn choice(&mut self, choice: &Value) -> Option<Value> {
        let mut said = choice.get("delta").map_or("", |delta| text(delta, "content")).to_owned();
        let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
        if !self.begun.contains(&index) {
            self.begun.push(index);
            said.insert_str(0, echoed(&self.told));
        }
        let is_done = choice.get("finish_reason").is_some_and(|it| !it.is_null());
        (is_done || !said.is_empty()).then(|| legacy_choice(choice, said))
    }
}

impl EventWriter for Writer {
    fn chunk(&mut self, chunk: &StreamChunk, out: &mut EventText) -> Result<(), LlmError> {
        let choices = chunk.as_json().get("choices").and_then(Value::as_array);
        let choices = choices.into_iter().flatten().filter_map(|choice| self.choice(choice));
        let choices: Vec<_> = choices.collect();
        let wants_usage = self.told.get("wants_usage") == Some(&Value::Bool(true));
        let usage = chunk.as_json().get("usage").filter(|it| wants_usage && it.is_object());
        if choices.is_empty() && usage.is_none() {
            return Ok(());
        }
        let mut body = completion(chunk.model().unwrap_or_default(), &self.stamp, choices);
        if let (Some(usage), Value::Object(body)) = (usage, &mut body) {
            body.insert("usage".to_owned(), usage.clone());
        }
        out.data(&body);
        Ok(())
    }

    fn end(&mut self, out: &mut EventText) -> Result<(), LlmError> {
        out.done();
        Ok(())
    }

    fn fail(&mut self, error: &LlmError, out: &mut EventText) {
        out.data(&error.to_json());
    }
}
