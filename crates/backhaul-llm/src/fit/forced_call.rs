//! A call of a tool that a model gives as JSON.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use serde_json::{Map, Value, json};

use crate::chunk::StreamChunk;
use crate::chunk_stream::ChunkStream;
use crate::completion::CompletionResult;
use crate::error::LlmError;

/// What the answer is called as a call. One is made for each answer.
const ID: &str = "call_0";

/// A call that has to come, and comes as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ForcedCall {
    /// Of this tool: the answer is its arguments.
    Of(String),
    /// Of one of several: the answer says which.
    OfAny,
}

impl ForcedCall {
    /// Of one of these tools, of which there is at least one.
    pub(super) fn of(tools: &[Value]) -> Self {
        match tools {
            [tool] => Self::Of(name_of(tool).to_owned()),
            _ => Self::OfAny,
        }
    }

    /// What the answer has to follow.
    pub(super) fn schema(&self, tools: &[Value]) -> Value {
        match (self, tools.first()) {
            (Self::Of(_), Some(tool)) => parameters_of(tool),
            _ => {
                let call = |tool: &Value| {
                    json!({
                        "type": "object",
                        "properties": {
                            "name": { "const": name_of(tool) }, "arguments": parameters_of(tool),
                        },
                        "required": ["name", "arguments"],
                        "additionalProperties": false,
                    })
                };
                json!({ "anyOf": tools.iter().map(call).collect::<Vec<_>>() })
            }
        }
    }

    /// What the model is told of it: it sees no tools.
    pub(super) fn instruction(&self, tools: &[Value]) -> String {
        let described = tools.iter().map(|tool| {
            let about = tool.pointer("/function/description").and_then(Value::as_str);
            format!("{}: {}", name_of(tool), about.unwrap_or("no description"))
        });
        let described: Vec<String> = described.collect();
        let what = match self {
            Self::Of(_) => "Call this tool. Answer with its arguments alone, as JSON.",
            Self::OfAny => {
                "Call one of these tools. Answer with its name and arguments alone, as JSON."
            }
        };
        format!("{what}\n{}", described.join("\n"))
    }

    /// The answer as a call. What is no call, such as an answer that was cut short, stays text.
    pub(super) fn answer(&self, answer: CompletionResult) -> Result<CompletionResult, LlmError> {
        let Some((name, arguments)) = self.call_in(&answer.content()) else { return Ok(answer) };
        let (metadata, latency) = (answer.metadata.clone(), answer.latency);
        let mut body = Value::Object(answer.into_body());
        if let Some(message) = body.pointer_mut("/choices/0/message").and_then(Value::as_object_mut)
        {
            message.insert("content".to_owned(), Value::Null);
            let function = json!({ "name": name, "arguments": arguments });
            let call = json!({ "id": ID, "type": "function", "function": function });
            message.insert("tool_calls".to_owned(), json!([call]));
        }
        if let Some(finish) = body.pointer_mut("/choices/0/finish_reason") {
            rename_stop(finish);
        }
        let mut answer = CompletionResult::from_json(body, metadata)?;
        answer.latency = latency;
        Ok(answer)
    }

    /// Name and arguments, as text.
    fn call_in(&self, content: &str) -> Option<(String, String)> {
        let value: Value = serde_json::from_str(content).ok()?;
        match self {
            Self::Of(name) => Some((name.clone(), content.to_owned())),
            Self::OfAny => {
                let name = value.get("name")?.as_str()?.to_owned();
                Some((name, value.get("arguments")?.to_string()))
            }
        }
    }

    /// The pieces of the answer as pieces of a call; of several tools, as one piece.
    pub(super) fn stream(self, mut stream: ChunkStream) -> ChunkStream {
        let metadata = std::mem::take(&mut stream.metadata);
        let calling = Calling {
            forced: self,
            stream,
            content: String::new(),
            has_begun: false,
            ready: VecDeque::new(),
        };
        ChunkStream::new(calling, metadata)
    }
}

fn name_of(tool: &Value) -> &str {
    tool.pointer("/function/name").and_then(Value::as_str).unwrap_or_default()
}

fn parameters_of(tool: &Value) -> Value {
    let parameters = tool.pointer("/function/parameters").filter(|it| it.is_object());
    parameters.cloned().unwrap_or_else(|| json!({ "type": "object", "properties": {} }))
}

fn rename_stop(finish: &mut Value) {
    if finish == "stop" {
        *finish = "tool_calls".into();
    }
}

/// A stream of text that becomes one of a call.
struct Calling {
    forced: ForcedCall,
    stream: ChunkStream,
    /// What of a call of several tools has come.
    content: String,
    has_begun: bool,
    ready: VecDeque<StreamChunk>,
}

impl Calling {
    fn take(&mut self, mut chunk: StreamChunk) {
        let text = chunk.content().to_owned();
        let is_end = chunk.finish_reason().is_some();
        if let ForcedCall::OfAny = self.forced {
            self.content.push_str(&text);
        }
        let call = match &self.forced {
            ForcedCall::Of(name) if !text.is_empty() => {
                let name = (!self.has_begun).then(|| name.clone());
                Some(delta(name.as_deref(), &text))
            }
            ForcedCall::OfAny if is_end => {
                let call = self.forced.call_in(&self.content);
                call.map(|(name, arguments)| delta(Some(&name), &arguments))
            }
            _ => None,
        };
        let left = (is_end && call.is_none()).then(|| std::mem::take(&mut self.content));
        self.has_begun |= call.is_some();
        if let Some(fields) = fields_of_delta(&mut chunk) {
            match (call, left.filter(|text| !text.is_empty())) {
                (Some(call), _) => {
                    fields.remove("content");
                    fields.insert("tool_calls".to_owned(), json!([call]));
                }
                // What is no call, as where it was cut short, stays text.
                (None, Some(text)) => drop(fields.insert("content".to_owned(), text.into())),
                (None, None) => drop(fields.remove("content")),
            }
        }
        let finish = chunk.as_json_mut().get_mut("choices");
        let finish = finish.and_then(|choices| choices.get_mut(0)?.get_mut("finish_reason"));
        if let Some(finish) = finish.filter(|_| self.has_begun) {
            rename_stop(finish);
        }
        self.ready.push_back(chunk);
    }
}

fn delta(name: Option<&str>, arguments: &str) -> Value {
    match name {
        Some(name) => json!({
            "index": 0, "id": ID, "type": "function",
            "function": { "name": name, "arguments": arguments },
        }),
        None => json!({ "index": 0, "function": { "arguments": arguments } }),
    }
}

fn fields_of_delta(chunk: &mut StreamChunk) -> Option<&mut Map<String, Value>> {
    chunk.as_json_mut().get_mut("choices")?.get_mut(0)?.get_mut("delta")?.as_object_mut()
}

impl Stream for Calling {
    type Item = Result<StreamChunk, LlmError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(chunk)));
            }
            match ready!(Pin::new(&mut self.stream).poll_next(context)) {
                Some(Ok(chunk)) => self.take(chunk),
                other => return Poll::Ready(other),
            }
        }
    }
}
