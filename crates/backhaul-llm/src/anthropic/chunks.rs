//! Events of Anthropic's messages as chunks of chat completions.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::answer::usage_of;
use super::stop_reason::finish_reason;

/// Makes chunks of the events of one answer.
///
/// The chunk with the reason to stop comes with the last event of all, so that an answer which
/// breaks off never has one.
#[derive(Debug)]
pub(crate) struct ChunkMaker {
    id: Value,
    model: Value,
    created: u64,
    /// The calls of tools, by their blocks.
    calls: BTreeMap<u64, Call>,
    stop_reason: Value,
    usage: Map<String, Value>,
}

#[derive(Debug)]
struct Call {
    index: usize,
    has_arguments: bool,
}

/// What comes of an event.
#[derive(Debug, PartialEq)]
pub(crate) enum Made {
    /// Nothing that a chunk could say.
    Nothing,
    /// A chunk.
    Chunk(Value),
    /// The last chunk: the answer is whole.
    Last(Value),
}

impl ChunkMaker {
    /// For an answer that began at `created`, in seconds since 1970.
    pub(crate) fn new(created: u64) -> Self {
        let (id, model, stop_reason) = (Value::Null, Value::Null, Value::Null);
        let (calls, usage) = (BTreeMap::new(), Map::new());
        Self { id, model, created, calls, stop_reason, usage }
    }

    /// Takes an event. One that is not known says nothing; errors are for the caller to see.
    pub(crate) fn take(&mut self, event: &Value) -> Made {
        let delta = match event.get("type").and_then(Value::as_str).unwrap_or_default() {
            "message_start" => Some(self.start(event.get("message").unwrap_or(&Value::Null))),
            "content_block_start" => self.block_start(event),
            "content_block_delta" => self.block_delta(event),
            "content_block_stop" => self.block_stop(event),
            "message_delta" => {
                self.note_usage(event);
                let stop = event.pointer("/delta/stop_reason");
                self.stop_reason = stop.cloned().unwrap_or(Value::Null);
                None
            }
            "message_stop" => return Made::Last(self.last()),
            _ => None,
        };
        delta.map_or(Made::Nothing, |delta| Made::Chunk(self.chunk(delta, None)))
    }

    fn start(&mut self, message: &Value) -> Value {
        let of = |name: &str| message.get(name).cloned().unwrap_or(Value::Null);
        (self.id, self.model) = (of("id"), of("model"));
        self.note_usage(message);
        json!({ "role": "assistant", "content": "" })
    }

    fn note_usage(&mut self, event: &Value) {
        let usage = event.get("usage").and_then(Value::as_object);
        self.usage.extend(usage.into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
    }

    fn block_start(&mut self, event: &Value) -> Option<Value> {
        let block = event.get("content_block")?;
        if block.get("type")? != "tool_use" {
            let text = block.get("text").and_then(Value::as_str).filter(|text| !text.is_empty());
            return text.map(|text| json!({ "content": text }));
        }
        let index = self.calls.len();
        self.calls.insert(block_of(event), Call { index, has_arguments: false });
        Some(json!({ "tool_calls": [{
            "index": index, "id": block.get("id"), "type": "function",
            "function": { "name": block.get("name"), "arguments": "" },
        }]}))
    }

    fn block_delta(&mut self, event: &Value) -> Option<Value> {
        let delta = event.get("delta")?;
        let text = |name: &str| delta.get(name).and_then(Value::as_str).unwrap_or_default();
        match delta.get("type")?.as_str()? {
            "text_delta" => Some(json!({ "content": text("text") })),
            "thinking_delta" => Some(json!({ "reasoning_content": text("thinking") })),
            "input_json_delta" => {
                let arguments = text("partial_json");
                let call = self.calls.get_mut(&block_of(event))?;
                call.has_arguments |= !arguments.is_empty();
                Some(arguments_of(call.index, arguments))
            }
            _ => None,
        }
    }

    /// A call without arguments has none at all here, where others expect an object.
    fn block_stop(&mut self, event: &Value) -> Option<Value> {
        let call = self.calls.get(&block_of(event))?;
        (!call.has_arguments).then(|| arguments_of(call.index, "{}"))
    }

    fn last(&self) -> Value {
        let reason = self.stop_reason.as_str().map(finish_reason);
        let mut chunk = self.chunk(json!({}), reason.as_ref().map(|reason| reason.name()));
        if let Some(chunk) = chunk.as_object_mut() {
            let usage = usage_of(&Value::Object(self.usage.clone()));
            chunk.insert("usage".to_owned(), usage);
        }
        chunk
    }

    fn chunk(&self, delta: Value, finish_reason: Option<&str>) -> Value {
        json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created,
            "model": self.model,
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }],
        })
    }
}

fn block_of(event: &Value) -> u64 {
    event.get("index").and_then(Value::as_u64).unwrap_or(0)
}

fn arguments_of(index: usize, arguments: &str) -> Value {
    json!({ "tool_calls": [{ "index": index, "function": { "arguments": arguments } }] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(events: &[Value]) -> (Vec<Value>, Option<Value>) {
        let mut maker = ChunkMaker::new(7);
        let mut chunks = Vec::new();
        for event in events {
            match maker.take(event) {
                Made::Nothing => {}
                Made::Chunk(chunk) => chunks.push(chunk["choices"][0]["delta"].clone()),
                Made::Last(chunk) => return (chunks, Some(chunk)),
            }
        }
        (chunks, None)
    }

    fn block(index: u64, of: Value) -> Value {
        json!({ "type": "content_block_start", "index": index, "content_block": of })
    }

    fn delta(index: u64, of: Value) -> Value {
        json!({ "type": "content_block_delta", "index": index, "delta": of })
    }

    fn end(index: u64) -> Value {
        json!({ "type": "content_block_stop", "index": index })
    }

    #[test]
    fn events_become_chunks_and_the_reason_to_stop_comes_last() {
        let events = [
            json!({ "type": "message_start", "message": {
                "id": "msg_1", "model": "claude-x", "usage": { "input_tokens": 9, "output_tokens": 1 },
            }}),
            json!({ "type": "ping" }),
            block(0, json!({ "type": "thinking", "thinking": "" })),
            delta(0, json!({ "type": "thinking_delta", "thinking": "hm" })),
            delta(0, json!({ "type": "signature_delta", "signature": "s" })),
            end(0),
            block(1, json!({ "type": "text", "text": "" })),
            delta(1, json!({ "type": "text_delta", "text": "I look." })),
            end(1),
            block(2, json!({ "type": "tool_use", "id": "t1", "name": "look", "input": {} })),
            delta(2, json!({ "type": "input_json_delta", "partial_json": "{\"at\":" })),
            delta(2, json!({ "type": "input_json_delta", "partial_json": "1}" })),
            end(2),
            block(3, json!({ "type": "tool_use", "id": "t2", "name": "wait", "input": {} })),
            end(3),
            json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" }, "usage": { "output_tokens": 4 } }),
            json!({ "type": "message_stop" }),
        ];
        let call = |index: usize, id: &str, name: &str| {
            json!({ "tool_calls": [{ "index": index, "id": id, "type": "function",
                "function": { "name": name, "arguments": "" } }] })
        };
        let (said, last) = chunks(&events);
        assert_eq!(
            said,
            [
                json!({ "role": "assistant", "content": "" }),
                json!({ "reasoning_content": "hm" }),
                json!({ "content": "I look." }),
                call(0, "t1", "look"),
                arguments_of(0, "{\"at\":"),
                arguments_of(0, "1}"),
                call(1, "t2", "wait"),
                arguments_of(1, "{}"),
            ]
        );
        let last = last.unwrap();
        assert_eq!(last["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!((&last["id"], &last["model"]), (&json!("msg_1"), &json!("claude-x")));
        assert_eq!(last["usage"]["prompt_tokens"], json!(9));
        assert_eq!(last["usage"]["completion_tokens"], json!(4));
        let (all_but_one, none) = chunks(&events[..events.len() - 1]);
        assert_eq!((all_but_one, none), (said, None));
    }
}
