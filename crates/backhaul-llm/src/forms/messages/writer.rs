//! A streamed chat completion as the events of a message.

use serde_json::{Map, Value, json};

use super::super::blocks::{Block, Blocks, Sort, Step};
use super::super::errors;
use super::super::event_text::EventText;
use super::super::events::EventWriter;
use super::super::stamp::Stamp;
use super::answer::{content_block, message, stop_reason, usage, wants_thoughts};
use crate::chunk::StreamChunk;
use crate::error::LlmError;
use crate::finish_reason::FinishReason;

pub(in super::super) struct Writer {
    stamp: Stamp,
    blocks: Blocks,
    usage: Value,
    finish: Option<FinishReason>,
    has_begun: bool,
    has_calls: bool,
}

impl Writer {
    pub(in super::super) fn new(told: &Map<String, Value>, stamp: Stamp) -> Self {
        let blocks = Blocks::new(&stamp.id, wants_thoughts(told));
        let usage = usage(&Map::new());
        Self { stamp, blocks, usage, finish: None, has_begun: false, has_calls: false }
    }

    fn begin(&mut self, model: &str, out: &mut EventText) {
        if !self.has_begun {
            self.has_begun = true;
            let message = message(model, &self.stamp, Vec::new(), None, &self.usage);
            out.typed(&json!({ "type": "message_start", "message": message }));
            out.typed(&json!({ "type": "ping" }));
        }
    }

    fn step(&mut self, step: Step, out: &mut EventText) {
        match step {
            Step::Open(index, block) => self.open(index, &block, out),
            Step::Add(index, sort, text) => {
                let delta = delta(sort, &text);
                out.typed(
                    &json!({ "type": "content_block_delta", "index": index, "delta": delta }),
                );
            }
            Step::Close(index, _) => {
                out.typed(&json!({ "type": "content_block_stop", "index": index }));
            }
        }
    }

    fn open(&mut self, index: usize, block: &Block, out: &mut EventText) {
        self.has_calls |= block.sort == Sort::Call;
        let block = content_block(block);
        out.typed(
            &json!({ "type": "content_block_start", "index": index, "content_block": block }),
        );
    }
}

impl EventWriter for Writer {
    fn chunk(&mut self, chunk: &StreamChunk, out: &mut EventText) -> Result<(), LlmError> {
        if chunk.usage().is_some() {
            self.usage = usage(chunk.as_json());
        }
        self.begin(chunk.model().unwrap_or_default(), out);
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
        let reason = self.finish.as_ref().map(|finish| stop_reason(finish, self.has_calls));
        let delta = json!({ "stop_reason": reason, "stop_sequence": null });
        out.typed(&json!({ "type": "message_delta", "delta": delta, "usage": self.usage }));
        out.typed(&json!({ "type": "message_stop" }));
        Ok(())
    }

    fn fail(&mut self, error: &LlmError, out: &mut EventText) {
        out.typed(&errors::anthropic(error));
    }
}

fn delta(sort: Sort, text: &str) -> Value {
    match sort {
        Sort::Text | Sort::Refusal => json!({ "type": "text_delta", "text": text }),
        Sort::Thought => json!({ "type": "thinking_delta", "thinking": text }),
        Sort::Call => json!({ "type": "input_json_delta", "partial_json": text }),
    }
}
