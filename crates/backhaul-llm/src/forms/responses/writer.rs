//! A streamed chat completion as the events of a response.

use serde_json::{Map, Value, json};

use super::super::blocks::{Block, Blocks, Sort, Step};
use super::super::event_text::EventText;
use super::super::events::EventWriter;
use super::super::stamp::Stamp;
use super::answer::{Response, item, item_id, part, status, usage};
use crate::chunk::StreamChunk;
use crate::error::LlmError;
use crate::finish_reason::FinishReason;

pub(in super::super) struct Writer {
    response: Response,
    stamp: Stamp,
    blocks: Blocks,
    finish: Option<FinishReason>,
    has_begun: bool,
    /// The number of the next event.
    number: u64,
}

impl Writer {
    pub(in super::super) fn new(told: Map<String, Value>, stamp: Stamp) -> Self {
        let (response, blocks) = (Response::new(&told, &stamp), Blocks::new(&stamp.id, false));
        Self { response, stamp, blocks, finish: None, has_begun: false, number: 0 }
    }

    fn event(&mut self, mut event: Value, out: &mut EventText) {
        if let Value::Object(fields) = &mut event {
            fields.insert("sequence_number".to_owned(), self.number.into());
        }
        self.number += 1;
        out.typed(&event);
    }

    /// The response as it is, with the first piece: only then is it known which model answers.
    fn begin(&mut self, out: &mut EventText) {
        if self.has_begun {
            return;
        }
        self.has_begun = true;
        for kind in ["response.created", "response.in_progress"] {
            let response = self.response.in_progress();
            self.event(json!({ "type": kind, "response": response }), out);
        }
    }

    fn step(&mut self, step: Step, out: &mut EventText) {
        match step {
            Step::Open(index, block) => self.open(index, &block, out),
            Step::Add(index, sort, text) => {
                let mut event = self.place(index, sort, "delta");
                event.insert("delta".to_owned(), text.into());
                self.event(Value::Object(event), out);
            }
            Step::Close(index, block) => self.close(index, block, out),
        }
    }

    fn open(&mut self, index: usize, block: &Block, out: &mut EventText) {
        let item = item(block, index, &self.stamp, "in_progress");
        let added = "response.output_item.added";
        self.event(json!({ "type": added, "output_index": index, "item": item }), out);
        self.part_event("added", index, block, out);
    }

    fn close(&mut self, index: usize, block: Block, out: &mut EventText) {
        let mut event = self.place(index, block.sort, "done");
        let whole = match block.sort {
            Sort::Call => {
                event.insert("name".to_owned(), block.name.clone().into());
                "arguments"
            }
            Sort::Refusal => "refusal",
            Sort::Text | Sort::Thought => "text",
        };
        event.insert(whole.to_owned(), block.text.clone().into());
        self.event(Value::Object(event), out);
        self.part_event("done", index, &block, out);
        let item = item(&block, index, &self.stamp, status(self.finish.as_ref()));
        let done = "response.output_item.done";
        self.event(json!({ "type": done, "output_index": index, "item": item }), out);
        self.response.output.push(item);
    }

    /// The one part of a message begins or ends. A call has none.
    fn part_event(&mut self, what: &str, index: usize, block: &Block, out: &mut EventText) {
        let Some(part) = part(block.sort, &block.text) else { return };
        let item_id = item_id(block.sort, index, &self.stamp);
        let event = json!({
            "type": format!("response.content_part.{what}"), "item_id": item_id,
            "output_index": index, "content_index": 0, "part": part,
        });
        self.event(event, out);
    }

    /// An event of what a block says: of which sort, and where.
    fn place(&self, index: usize, sort: Sort, what: &str) -> Map<String, Value> {
        let of = match sort {
            Sort::Call => "function_call_arguments",
            Sort::Refusal => "refusal",
            Sort::Text | Sort::Thought => "output_text",
        };
        let mut event = Map::new();
        event.insert("type".to_owned(), format!("response.{of}.{what}").into());
        event.insert("item_id".to_owned(), item_id(sort, index, &self.stamp).into());
        event.insert("output_index".to_owned(), index.into());
        if sort != Sort::Call {
            event.insert("content_index".to_owned(), 0.into());
        }
        if of == "output_text" {
            event.insert("logprobs".to_owned(), Value::Array(Vec::new()));
        }
        event
    }
}

impl EventWriter for Writer {
    fn chunk(&mut self, chunk: &StreamChunk, out: &mut EventText) -> Result<(), LlmError> {
        if let Some(model) = chunk.model().filter(|model| !model.is_empty()) {
            model.clone_into(&mut self.response.model);
        }
        if chunk.usage().is_some() {
            self.response.usage = usage(chunk.as_json());
        }
        self.begin(out);
        if let Some(delta) = chunk.delta() {
            for step in self.blocks.take(delta)? {
                self.step(step, out);
            }
        }
        if let Some(finish) = chunk.finish_reason() {
            self.finish = Some(finish);
        }
        Ok(())
    }

    fn end(&mut self, out: &mut EventText) -> Result<(), LlmError> {
        for step in self.blocks.close() {
            self.step(step, out);
        }
        let response = self.response.ended(self.finish.as_ref());
        let kind = format!("response.{}", status(self.finish.as_ref()));
        self.event(json!({ "type": kind, "response": response }), out);
        Ok(())
    }

    /// The response has failed; then an error, on which clients raise that read no types.
    fn fail(&mut self, error: &LlmError, out: &mut EventText) {
        self.begin(out);
        let response = self.response.failed(error);
        self.event(json!({ "type": "response.failed", "response": response }), out);
        let said = error.to_json();
        let of = |name: &str| said.get("error").and_then(|it| it.get(name)).cloned();
        let event = json!({
            "type": "error", "code": of("code"), "message": error.message(), "param": of("param"),
            "error": said.get("error"),
        });
        self.event(event, out);
    }
}
