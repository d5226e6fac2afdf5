//! Chat completions: the form that all others are translated to.

use super::event_text::EventText;
use super::events::EventWriter;
use crate::chunk::StreamChunk;
use crate::error::LlmError;

pub(super) struct Writer;

impl EventWriter for Writer {
    fn chunk(&mut self, chunk: &StreamChunk, out: &mut EventText) -> Result<(), LlmError> {
        out.data(chunk);
        Ok(())
    }

    fn end(&mut self, out: &mut EventText) -> Result<(), LlmError> {
        out.done();
        Ok(())
    }

    /// OpenAI's clients raise on it.
    fn fail(&mut self, error: &LlmError, out: &mut EventText) {
        out.data(&error.to_json());
    }
}
